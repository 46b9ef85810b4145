//! Files as somebody might write them.
use super::*;
use crate::model::series::PortRule;

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(Path::new("/etc/probe.toml"), text, &Overrides::default()).map(|loaded| loaded.config)
}

#[test]
fn a_file_says_what_the_daemon_does() {
    let text = r#"
        [ports]
        limit = 100
        [[ports.include]]
        port = "8000-8999"
        address = "10.0.0.0/8"
        netns = 4026531840
        process = "java*"
        [[ports.include]]
        address = "::1"
        [[ports.exclude]]
        port = 22
        [state]
        file = "/var/lib/probe/state.json"
    "#;
    let config = read(text).unwrap();
    assert_eq!(config.series.limit, 100);
    let all = PortRule {
        port: Some(8_000..=8_999),
        address: Some("10.0.0.0/8".parse().unwrap()),
        netns: Some(4_026_531_840),
        process: Some(wildmatch::WildMatch::new("java*")),
    };
    let one = PortRule { address: Some("::1/128".parse().unwrap()), ..PortRule::default() };
    assert_eq!(config.series.include, [all, one]);
    assert_eq!(config.series.exclude, [PortRule { port: Some(22..=22), ..PortRule::default() }]);
    assert_eq!(config.state_file.as_deref(), Some(Path::new("/var/lib/probe/state.json")));
}

/// `text` as a file, with one flag and one variable.
fn with_flags(text: &str) -> Loaded {
    let overrides = Overrides {
        ports_limit: Some(3),
        plan: Some(PlanWish::Kprobe),
        origins: Origins::from([("ports.limit", Origin::Flag), ("hooks.plan", Origin::Environment)]),
        ..Overrides::default()
    };
    parse(Path::new("/etc/probe.toml"), text, &overrides).unwrap()
}

#[test]
fn flags_come_before_the_file_and_the_file_before_what_holds_without() {
    let text = "[ports]\nlimit = 7\n[hooks]\nplan = \"none\"\naccounting = \"conditions\"\n";
    let config = with_flags(text).config;
    assert_eq!((config.series.limit, config.wishes.plan), (3, PlanWish::Kprobe));
    assert_eq!(config.wishes.accounting, AccountingWish::Conditions);
    assert_eq!(config.listen, Config::default().listen);
    let nowhere = ConfigFile::Standard("/nonexistent/config.toml".into());
    let loaded = Source { file: nowhere, overrides: Overrides::default() }.load().unwrap();
    assert_eq!((loaded.config, loaded.file), (Config::default(), None));
}

#[test]
fn what_is_in_force_is_shown_with_its_origin_and_can_be_read_again() {
    let text = "[ports]\nlimit = 7\n[[ports.exclude]]\nport = 22\n[log]\nlevel = \"debug\"\n[state]\nfile = \"/x/y\"\n";
    let loaded = with_flags(text);
    let shown = show::effective(&loaded);
    for (value, origin) in [
        ("limit = 3", "flag --ports-limit"),
        ("plan = \"kprobe\"", "environment TCP_BACKLOG_PROBE_PLAN"),
        ("level = \"debug\"", "file"),
        ("[[ports.exclude]]", "file"),
        ("listen = \"127.0.0.1:10511\"", "default"),
    ] {
        let line =
            shown.lines().find(|line| line.starts_with(value)).unwrap_or_else(|| panic!("{value}: {shown}"));
        assert!(line.ends_with(&format!("# {origin}")), "{line}");
    }
    assert_eq!(read(&shown).unwrap(), loaded.config);
}

#[test]
fn the_sample_says_nothing_and_every_line_of_it_could_be_said() {
    let sample = show::sample();
    assert_eq!(read(&sample).unwrap(), Config::default());
    let every_line: String = sample
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(value) if !value.starts_with(' ') => format!("{value}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let said = read(&every_line).unwrap();
    assert_eq!((said.series.include.len(), said.series.exclude.len()), (1, 1));
    let series = SeriesWishes::default();
    let wishes = Wishes { listeners: None, ..said.wishes };
    assert_eq!(Config { series, wishes, state_file: None, web_config_file: None, ..said }, Config::default());
    for key in &keys::KEYS {
        assert!(every_line.contains(&format!("{} = ", key.parts().1)) || key.is_rules(), "{}", key.path);
        assert!(key.help.lines().all(|line| line.len() <= 110), "{}", key.path);
    }
}

#[test]
fn a_change_is_told_by_its_key_and_by_when_it_takes_effect() {
    let check = |text: &str, effect: keys::Effect, expected: &[&str]| {
        assert_eq!(Config::default().changed(&read(text).unwrap(), effect), expected, "{text}");
    };
    check("", keys::Effect::Reload, &[]);
    check("ports.limit = 9\nhttp.listen = \"[::1]:1\"", keys::Effect::Reload, &["ports.limit"]);
    check("ports.limit = 9\nhttp.listen = \"[::1]:1\"", keys::Effect::Restart, &["http.listen"]);
    check("[[ports.exclude]]\nport = 1", keys::Effect::Reload, &["ports.exclude"]);
}

#[test]
fn what_is_wrong_is_one_line_with_file_line_key_and_remedy() {
    let check = |text: &str, expected: &str| {
        let message = read(text).unwrap_err().to_string();
        assert_eq!(message, format!("/etc/probe.toml{expected}"));
    };
    check(
        "[ports]\nlimt = 3\n",
        ", line 2: ports.limt: unknown key \"limt\": is \"limit\" meant? Known here: limit, include, exclude",
    );
    check(
        "[state]\npath = \"/x\"\n",
        ", line 2: state.path: unknown key \"path\": is \"file\" meant? Known here: file",
    );
    check(
        "port.limit = 3\n",
        ", line 1: port: unknown key \"port\": is \"ports\" meant? Known here: http, hooks, ports, state, log",
    );
    check(
        "[[ports.exclude]]\nport = 22\n[[ports.exclude]]\nport = 70000\n",
        ", line 4: ports.exclude[1].port: 70000 is not a port number from 0 to 65535 or a range such as \"8000-8999\"",
    );
    check(
        "[[ports.include]]\nport = \"9000-8000\"\n",
        ", line 2: ports.include[0].port: \"9000-8000\" ends before it begins: swap the two",
    );
    check(
        "[[ports.include]]\naddress = \"10.0.0.0/33\"\n",
        ", line 2: ports.include[0].address: \"10.0.0.0/33\" is not an address or a network such as \"10.0.0.0/8\"",
    );
}

#[test]
fn what_fits_no_key_says_what_would() {
    let check = |text: &str, expected: &str| {
        let message = read(text).unwrap_err().to_string();
        assert_eq!(message, format!("/etc/probe.toml{expected}"));
    };
    check(
        "[ports]\nlimit = -1\n",
        ", line 2: ports.limit: -1 is not a whole number from 0 to 4294967295, without quotes",
    );
    check(
        "[ports]\nlimit = \"3\"\n",
        ", line 2: ports.limit: invalid type: string \"3\", expected a whole number from 0 to 4294967295, without quotes",
    );
    check(
        "[[ports.exclude]]\n",
        ": ports.exclude[0]: a rule without a key would match every port: give it port, address, netns or process",
    );
    check("[state]\nfile = \"state.json\"\n", ": state.file: state.json is no absolute path: begin with /");
    check(
        "[hooks]\nplan = \"trampolin\"\n",
        ", line 2: hooks.plan: \"trampolin\" is unknown: is \"trampoline\" meant? Known here: auto, trampoline, kprobe, tracepoint, none",
    );
    check(
        "[http]\nlisten = \"localhost\"\n",
        ", line 2: http.listen: \"localhost\" is not an address with a port such as \"127.0.0.1:10511\" or \"[::1]:10511\"",
    );
    check(
        "[hooks]\naccept_wait_connections = 0\n",
        ": hooks.accept_wait_connections: 0 is not a number from 1 to 4194304",
    );
    check("[hooks]\nlisteners = 16384\n", ": hooks.listeners: 16384 is not a number from 1 to 16383");
    check("[ports\n", ", line 1: unclosed table, expected `]`");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let check = |path: &str, expected: &str| {
        let source = Source { file: ConfigFile::Named(path.into()), overrides: Overrides::default() };
        let message = source.load().unwrap_err().to_string();
        assert!(message.starts_with(path) && message.contains(expected), "{message}");
        assert!(!message.contains('\n'), "{message}");
    };
    check("/nonexistent/probe.toml", "No such file");
    check("/", "is no file");
}
