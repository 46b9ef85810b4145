//! The notable part of a command line: what tells one `java` from another.
//!
//! Arguments are never shown as they are: they may hold passwords. What is shown is the name of a program, of a
//! script, of a module, of a jar file or of a main class, and of these only the last part of a path.
use super::text::clean;

/// What a command line says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Command {
    /// The main class or jar file of a JVM, the script of an interpreter, else the program's name.
    pub(super) notable: Option<String>,
    /// The application server or framework, where it is one of those that are known here.
    pub(super) application: Option<&'static str>,
}

/// Reads `/proc/PID/cmdline` (proc_pid_cmdline_read() of fs/proc/base.c): arguments that end with a NUL each, or
/// the title that the process has put in their place.
pub(super) fn decode(command_line: &[u8]) -> Command {
    let text = String::from_utf8_lossy(command_line);
    let mut arguments: Vec<&str> = text.split('\0').collect();
    while arguments.last().is_some_and(|last| last.is_empty()) {
        arguments.pop();
    }
    let Some((first, rest)) = arguments.split_first() else { return Command::default() };
    let program = program(first);
    if is_jvm(program) {
        return jvm(program, rest);
    }
    let notable = interpreted(program, rest).unwrap_or(program);
    Command { notable: clean(notable.as_bytes()), application: None }
}

/// The last part of a path, or the first word of a title: the rest of a title may change from day to day
/// (`sshd: ... [listener] 0 of 10-100 startups`), and with it a label.
fn program(first: &str) -> &str {
    let path = first.starts_with('/') || first.starts_with("./") || first.starts_with("../");
    if path {
        return file_name(first);
    }
    let word = first.split_whitespace().next().unwrap_or_default();
    // A login shell is called with a dash.
    file_name(word.trim_end_matches(':').trim_start_matches('-'))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').find(|part| !part.is_empty()).unwrap_or_default()
}

/// The JDK's launcher, and the one by which Tomcat runs as a daemon of its own (commons-daemon).
fn is_jvm(program: &str) -> bool {
    matches!(program, "java" | "jsvc" | "jsvc.exec")
}

fn jvm(program: &str, arguments: &[&str]) -> Command {
    let start = start_of_java(arguments);
    let notable = match start {
        Some(Start::Jar(file)) => file_name(file),
        // `java -m module/class`, or a source file.
        Some(Start::Class(class)) => file_name(class),
        None => program,
    };
    Command { notable: clean(notable.as_bytes()), application: application(notable, arguments) }
}

/// What a JVM starts.
enum Start<'a> {
    Jar(&'a str),
    Class(&'a str),
}

/// The first argument that is no option, or what `-jar` or `-m` has (the java(1) launcher's CheckJvmType() and
/// ParseArguments() of libjli/java.c).
fn start_of_java<'a>(arguments: &[&'a str]) -> Option<Start<'a>> {
    let mut arguments = arguments.iter().copied();
    while let Some(argument) = arguments.next() {
        match argument {
            "-jar" => return arguments.next().map(Start::Jar),
            "-m" | "--module" => return arguments.next().map(Start::Class),
            option if takes_a_value(option) => drop(arguments.next()),
            // `@file` holds more options.
            option if option.starts_with(['-', '@']) => {
                if let Some(module) = option.strip_prefix("--module=") {
                    return Some(Start::Class(module));
                }
            }
            class => return Some(Start::Class(class)),
        }
    }
    None
}

/// Options of java(1) and jsvc(1) whose value is the next argument.
fn takes_a_value(option: &str) -> bool {
    const OPTIONS: [&str; 21] = [
        "-cp",
        "-classpath",
        "--class-path",
        "-p",
        "--module-path",
        "--upgrade-module-path",
        "--add-modules",
        "--limit-modules",
        "--add-exports",
        "--add-opens",
        "--add-reads",
        "--patch-module",
        "--enable-native-access",
        "--source",
        "-home",
        "-java-home",
        "-user",
        "-pidfile",
        "-outfile",
        "-errfile",
        "-wait",
    ];
    OPTIONS.contains(&option)
}

/// What an application is known by: its main class or jar file, or a property that its scripts set.
const APPLICATIONS: [(&str, &[&str], &[&str]); 5] = [
    (
        "tomcat",
        &["org.apache.catalina.startup.", "org.apache.tomcat."],
        &["-Dcatalina.base=", "-Dcatalina.home="],
    ),
    ("spring-boot", &["org.springframework.boot."], &["-Dspring.", "--spring.", "--server.port="]),
    (
        "jetty",
        &["org.eclipse.jetty.", "jetty-"],
        &["-Djetty.home=", "-Djetty.base=", "jetty.home=", "jetty.base="],
    ),
    (
        "wildfly",
        &["jboss-modules.jar", "org.jboss.modules."],
        &["-Djboss.home.dir=", "-Djboss.server.base.dir="],
    ),
    ("quarkus", &["quarkus-run.jar", "io.quarkus."], &["-Dquarkus."]),
];

/// The main class or jar file says more than any property.
fn application(notable: &str, arguments: &[&str]) -> Option<&'static str> {
    let begins =
        |text: &str, beginnings: &[&str]| beginnings.iter().any(|beginning| text.starts_with(beginning));
    let started = APPLICATIONS.iter().find(|(_, starts, _)| begins(notable, starts));
    let configured = || {
        let has = |properties: &[&str]| arguments.iter().any(|argument| begins(argument, properties));
        APPLICATIONS.iter().find(|(_, _, properties)| has(properties))
    };
    started.or_else(configured).map(|(name, _, _)| *name)
}

/// The script or module that an interpreter runs.
fn interpreted<'a>(program: &str, arguments: &[&'a str]) -> Option<&'a str> {
    const INTERPRETERS: [&str; 15] = [
        "python", "pypy", "node", "nodejs", "ruby", "perl", "php", "deno", "bun", "dotnet", "mono", "lua",
        "sh", "bash", "dash",
    ];
    const SCRIPTS: [&str; 13] =
        [".py", ".pyz", ".js", ".mjs", ".cjs", ".ts", ".rb", ".ru", ".pl", ".php", ".dll", ".lua", ".sh"];
    let family = program.trim_end_matches(|character: char| character.is_ascii_digit() || character == '.');
    if !INTERPRETERS.contains(&family) {
        return None;
    }
    let first = arguments.first().filter(|first| !first.starts_with('-')).copied();
    // Past an option a name that looks like a script is one: anything else may be an option's value.
    let is_script = |argument: &&&str| SCRIPTS.iter().any(|script| argument.ends_with(script));
    // What follows these is code, and names in it mean nothing.
    let is_code =
        |argument: &&&str| matches!(**argument, "-c" | "-e" | "-r" | "-E" | "--eval" | "--print" | "-p");
    let before_code = || arguments.iter().take_while(|argument| !is_code(argument));
    let module = || {
        let mut arguments = before_code().skip_while(|argument| **argument != "-m").skip(1);
        arguments.next().filter(|_| matches!(family, "python" | "pypy")).copied()
    };
    let script = first.or_else(module).or_else(|| before_code().find(is_script).copied())?;
    Some(file_name(script)).filter(|name| !name.contains(char::is_whitespace))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A command line with blanks for NULs, and its notable part and application.
    #[track_caller]
    fn check(command_line: &str, notable: &str, application: Option<&str>) {
        let bytes = format!("{command_line} ").replace(' ', "\0");
        let found = decode(bytes.as_bytes());
        let expected = (notable, application);
        assert_eq!(
            (found.notable.as_deref().unwrap_or_default(), found.application),
            expected,
            "{command_line}"
        );
    }

    #[test]
    fn a_jvm_is_known_by_its_main_class_or_its_jar_file() {
        check("java Main", "Main", None);
        check(
            "/usr/lib/jvm/java-17/bin/java -Xmx2g -cp /a.jar:/b.jar -ea com.example.Server 8080",
            "com.example.Server",
            None,
        );
        check(
            "java -server -classpath x --add-opens java.base/java.lang=ALL-UNNAMED com.example.A -jar b.jar",
            "com.example.A",
            None,
        );
        check("java -Dx=y -jar /srv/releases/77/shop.jar --port 80", "shop.jar", None);
        check("java @/etc/java.options -p mods -m shop/com.example.Shop", "com.example.Shop", None);
        check("java --module=shop/com.example.Shop", "com.example.Shop", None);
        check("java -version", "java", None);
        check("java -jar", "java", None);
        check("java -cp", "java", None);
    }

    #[test]
    fn application_servers_are_known_by_what_starts_them_or_by_their_properties() {
        let tomcat = "org.apache.catalina.startup.Bootstrap";
        check(
            &format!("java -Dcatalina.home=/opt/tomcat -classpath /x {tomcat} start"),
            tomcat,
            Some("tomcat"),
        );
        check(
            &format!("jsvc.exec -java-home /jdk -user tomcat -pidfile /run/t.pid -cp /x {tomcat}"),
            tomcat,
            Some("tomcat"),
        );
        check("java -jar app.jar --spring.profiles.active=live", "app.jar", Some("spring-boot"));
        check("java -Dspring.config.location=/etc/app/ -jar app.jar", "app.jar", Some("spring-boot"));
        let launcher = "org.springframework.boot.loader.launch.JarLauncher";
        check(&format!("java -cp /app {launcher}"), launcher, Some("spring-boot"));
        check("java -Djetty.base=/srv/jetty -jar /opt/jetty/start.jar", "start.jar", Some("jetty"));
        check("java -jar /opt/jetty-runner-9.4.jar shop.war", "jetty-runner-9.4.jar", Some("jetty"));
        check(
            "java -Djboss.home.dir=/opt -jar /opt/jboss-modules.jar -mp m",
            "jboss-modules.jar",
            Some("wildfly"),
        );
        check("java -jar quarkus-app/quarkus-run.jar", "quarkus-run.jar", Some("quarkus"));
        // What it starts counts, and not what its classpath or another's name reminds of.
        check(
            "java -Dspring.x=y -cp /opt/tomcat org.eclipse.jetty.start.Main",
            "org.eclipse.jetty.start.Main",
            Some("jetty"),
        );
        check("java -cp org.apache.catalina.startup.jar com.example.A", "com.example.A", None);
    }

    #[test]
    fn an_interpreter_is_known_by_its_script() {
        check("/usr/bin/python3.11 /usr/bin/gunicorn -w 4 shop:app", "gunicorn", None);
        check("python3 -u /srv/serve.py", "serve.py", None);
        check("python3 -m http.server 8000", "http.server", None);
        check("python3 -c import os.py", "python3", None);
        check("node --inspect=0.0.0.0 /srv/server.js --password x.js", "server.js", None);
        check("node --require secret /srv/app", "node", None);
        check("node /srv/app", "app", None);
        check("ruby bin/rails server", "rails", None);
        check("dotnet Shop.dll", "Shop.dll", None);
        check("bash -c serve.sh", "bash", None);
    }

    #[test]
    fn any_other_program_is_known_by_its_name_and_never_by_its_arguments() {
        check("/usr/sbin/nginx -g daemon off;", "nginx", None);
        check("redis-server --requirepass secret", "redis-server", None);
        check("./server", "server", None);
        check("-bash", "bash", None);
        check("/", "", None);
        check("", "", None);
    }

    #[test]
    fn of_a_title_only_the_part_that_does_not_change_is_shown() {
        let check = |title: &str, expected: &str| {
            assert_eq!(decode(title.as_bytes()).notable.as_deref(), Some(expected), "{title}");
        };
        check("nginx: master process /usr/sbin/nginx -g daemon on;", "nginx");
        check("sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups", "sshd");
        check("puma 6.4.2 (tcp://0.0.0.0:9292) [shop]\0\0\0", "puma");
        check("/opt/my server/bin/my server\0x", "my server");
    }

    #[test]
    fn hostile_bytes_are_made_harmless() {
        let check = |bytes: &[u8], expected: &str| {
            assert_eq!(decode(bytes).notable.as_deref(), Some(expected), "{bytes:?}");
        };
        check(b"java\0-jar\0/x/\x1b[2Ja\nb.jar\0", "\u{fffd}[2Ja\u{fffd}b.jar");
        check(b"\xff\xfe\0", "\u{fffd}\u{fffd}");
        let long = [b"java\0".as_slice(), &[b'A'; 100_000]].concat();
        assert_eq!(decode(&long).notable.unwrap().chars().count(), 120);
    }

    proptest! {
        #[test]
        fn no_command_line_makes_the_decoder_panic(bytes: Vec<u8>, text in "(java|node|python3)?[\0 a-c/.:@-]{0,30}") {
            for line in [bytes.as_slice(), text.as_bytes()] {
                let notable = decode(line).notable.unwrap_or_default();
                prop_assert!(notable.chars().count() <= 120 && !notable.chars().any(char::is_control));
            }
        }
    }
}
