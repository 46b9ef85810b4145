//! Files as somebody might write them.
use super::*;
use crate::model::series::{DEFAULT_LIMIT, PortRule};

fn read(text: &str) -> Result<Config, ConfigError> {
    parse(Path::new("/etc/probe.toml"), text, Overrides::default())
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

#[test]
fn flags_come_before_the_file_and_the_file_before_what_holds_without() {
    let check = |text: &str, ports_limit: Option<usize>, expected: usize| {
        let config = parse(Path::new("f"), text, Overrides { ports_limit }).unwrap();
        assert_eq!(config.series.limit, expected, "{text:?} {ports_limit:?}");
    };
    check("", None, DEFAULT_LIMIT);
    check("", Some(3), 3);
    check("ports.limit = 7", None, 7);
    check("ports.limit = 7", Some(0), 0);
    assert_eq!(load(None, Overrides::default()), Ok(Config::default()));
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
        ", line 1: port: unknown key \"port\": is \"ports\" meant? Known here: ports, state",
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
    check("[ports\n", ", line 1: unclosed table, expected `]`");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let check = |path: &str, expected: &str| {
        let message = load(Some(Path::new(path)), Overrides::default()).unwrap_err().to_string();
        assert!(message.starts_with(path) && message.contains(expected), "{message}");
        assert!(!message.contains('\n'), "{message}");
    };
    check("/nonexistent/probe.toml", "No such file");
    check("/", "is no file");
}
