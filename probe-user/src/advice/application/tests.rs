//! Every row is well formed, and real servers are found.
use std::collections::BTreeSet;

use super::*;

const TEXT: &str = include_str!("../applications.toml");

fn rows() -> Vec<Application> {
    parse(TEXT).unwrap()
}

/// The row of a process with this name, command and application; `""` for what is not known.
#[track_caller]
fn check(process: &str, command: &str, application: &str, expected: &str) {
    let known = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let owner = OwnerSample {
        process: process.to_owned(),
        command: known(command),
        application: known(application),
        ..OwnerSample::default()
    };
    let found = application_of(&owner).map_or("", |row| row.id.as_str());
    assert_eq!(found, expected, "{process:?} {command:?} {application:?}");
}

#[test]
fn java_servers_are_known_by_what_their_command_line_says() {
    check("java", "org.apache.catalina.startup.Bootstrap", "tomcat", "tomcat");
    check("jsvc", "org.apache.catalina.startup.Bootstrap", "tomcat", "tomcat");
    check("java", "shop.jar", "spring-boot", "spring-boot");
    check("java", "start.jar", "jetty", "jetty");
    check("java", "jboss-modules.jar", "wildfly", "wildfly");
    check("java", "quarkus-run.jar", "quarkus", "quarkus");
    check("java", "io.vertx.core.Launcher", "", "netty");
    check("java", "kafka.Kafka", "", "kafka");
    check("java", "com.example.Server", "", "java");
    check("java", "", "", "java");
}

#[test]
fn scripts_are_known_by_their_names_and_else_by_their_interpreter() {
    check("gunicorn", "gunicorn", "", "gunicorn");
    check("python3", "gunicorn", "", "gunicorn");
    check("python3.11", "uvicorn", "", "uvicorn");
    check("python3", "http.server", "", "python-http-server");
    check("python3", "serve.py", "", "python");
    check("node", "server.js", "", "node");
    check("node-MainThread", "server.js", "", "node");
    check("PM2 v5.4.2: God", "PM2", "", "node");
    check("ruby", "puma", "", "puma");
}

#[test]
fn programs_are_known_by_the_names_of_their_processes() {
    check("nginx", "nginx", "", "nginx");
    check("apache2", "apache2", "", "httpd");
    check("httpd", "httpd", "", "httpd");
    check("haproxy", "haproxy", "", "haproxy");
    check("php-fpm8.2", "php-fpm", "", "php-fpm");
    check("redis-server", "redis-server", "", "redis");
    check("postgres", "postgres", "", "postgresql");
    check("mariadbd", "mariadbd", "", "mysql");
    check("memcached", "memcached", "", "memcached");
    check("envoy", "envoy", "", "envoy");
    check("caddy", "caddy", "", "go");
    check("systemd", "init", "", "systemd");
    check("systemd", "systemd", "", "systemd");
}

#[test]
fn what_only_reminds_of_a_server_is_none() {
    check("nginx-exporter", "", "", "");
    check("systemd-resolve", "systemd-resolved", "", "");
    check("my-server", "server", "", "");
    check("", "", "", "");
}

#[test]
fn a_setting_has_the_number_in_it() {
    let setting =
        |id: &str, backlog| rows().iter().find(|row| row.id == id).unwrap().setting_for(backlog, 8080);
    assert_eq!(setting("nginx", 4_096), "listen 8080 backlog=4096;");
    assert_eq!(setting("node", 1_024), "server.listen({ port, backlog: 1024 })");
    assert_eq!(setting("tomcat", 512), r#"acceptCount="512""#);
    assert_eq!(
        setting("wildfly", 512),
        "/subsystem=undertow/server=default-server/http-listener=default:\
         write-attribute(name=tcp-backlog,value=512)"
    );
}

#[test]
fn every_row_says_all_that_is_needed_in_one_line_each() {
    for row in rows() {
        let id = &row.id;
        let is_word = |character: char| character.is_ascii_lowercase() || "-0123456789".contains(character);
        assert!(!id.is_empty() && id.chars().all(is_word), "{id:?}");
        for text in [&row.name, &row.setting, &row.place, &row.note] {
            assert!(!text.is_empty() && text.trim() == text, "{id}: {text:?}");
            assert!(!text.contains(|character: char| character.is_control()), "{id}: {text:?}");
            assert!(!text.contains("  "), "{id}: {text:?}");
        }
        assert_eq!(row.setting.matches(PLACEHOLDER).count(), 1, "{id}: {}", row.setting);
        assert!(row.note.ends_with('.'), "{id}: {}", row.note);
    }
}

#[test]
fn every_row_can_be_found_and_none_hides_another() {
    let rows = rows();
    let patterns: Vec<_> = rows
        .iter()
        .flat_map(|row| {
            [("application", &row.applications), ("command", &row.commands), ("process", &row.processes)]
        })
        .flat_map(|(kind, patterns)| patterns.iter().map(move |pattern| (kind, pattern)))
        .collect();
    let different: BTreeSet<_> = patterns.iter().collect();
    assert_eq!(different.len(), patterns.len(), "the same pattern twice");
    for (kind, pattern) in patterns {
        assert!(pattern.trim_matches(['*', '?']).len() > 1, "{kind} {pattern:?} fits too much");
        // TASK_COMM_LEN, less the NUL.
        assert!(kind != "process" || pattern.len() <= 15, "{pattern:?} is longer than a process name");
    }
    let ids: BTreeSet<_> = rows.iter().map(|row| &row.id).collect();
    assert_eq!(ids.len(), rows.len(), "the same id twice");
    let unfindable = |row: &&Application| {
        row.applications.is_empty() && row.commands.is_empty() && row.processes.is_empty()
    };
    assert_eq!(rows.iter().find(unfindable), None);
}

#[test]
fn every_application_that_command_lines_tell_has_a_row() {
    let known: BTreeSet<_> = rows().into_iter().flat_map(|row| row.applications).collect();
    assert_eq!(known, ["jetty", "quarkus", "spring-boot", "tomcat", "wildfly"].map(String::from).into());
}

#[test]
fn defaults_are_numbers_that_a_server_may_ask_for() {
    for row in rows() {
        for default in &row.defaults {
            let sane = |number| number == -1 || (1..=65_535).contains(&number);
            assert!(!matches!(default, DefaultBacklog::Number(number) if !sane(*number)), "{}", row.id);
        }
    }
}

#[test]
fn the_file_is_no_wider_than_100_columns() {
    let wide = TEXT.lines().find(|line| line.chars().count() > 100);
    assert_eq!(wide, None);
}

#[test]
fn a_row_with_a_misspelt_key_is_refused() {
    let check = |right: &str, wrong: &str| {
        assert!(TEXT.contains(right) && parse(&TEXT.replacen(right, wrong, 1)).is_err(), "{wrong}");
    };
    check("processes =", "process =");
    check("\"reload\"", "\"reboot\"");
    check("\"somaxconn\"", "\"somaxcon\"");
}
