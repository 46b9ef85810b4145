//! What a file may say, and what is said of one that is wrong.
use tempfile::TempDir;

use super::*;

/// A folder with a certificate for `localhost`, its key, and an authority.
pub(in crate::web) fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["elsewhere".to_owned()]).unwrap();
    let files = [
        ("server.crt", made.cert.pem()),
        ("server.key", made.signing_key.serialize_pem()),
        ("other.key", other.signing_key.serialize_pem()),
        ("empty.crt", String::new()),
    ];
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn load(folder: &TempDir, text: &str) -> Result<Access, AccessError> {
    let path = folder.path().join("web.yml");
    fs::write(&path, text).unwrap();
    Access::load(&path)
}

const CERTIFICATE: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

#[track_caller]
fn check(text: &str, tls: bool, users: bool, headers: usize) {
    let access = load(&folder(), text).unwrap_or_else(|error| panic!("{error}"));
    let actual = (access.has_tls(), access.has_users(), access.headers.len());
    assert_eq!(actual, (tls, users, headers), "{text}");
}

#[test]
fn a_file_in_the_format_of_exporters_is_understood() {
    let hash = format!("$2y$10${}", ".".repeat(53));
    check("", false, false, 0);
    check("tls_server_config:\nhttp_server_config: {}\nbasic_auth_users: ~\n", false, false, 0);
    check(CERTIFICATE, true, false, 0);
    check(&format!("{CERTIFICATE}  min_version: TLS13\n  client_auth_type: NoClientCert\n"), true, false, 0);
    check(&format!("{CERTIFICATE}  max_version: TLS12\n  client_ca_file: ''\n"), true, false, 0);
    let authority = "  client_ca_file: server.crt\n  client_auth_type:";
    check(&format!("{CERTIFICATE}{authority} RequireAndVerifyClientCert\n"), true, false, 0);
    check(&format!("{CERTIFICATE}{authority} VerifyClientCertIfGiven\n"), true, false, 0);
    let suites = "  cipher_suites:\n  - TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256\n  - TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305\n";
    check(&format!("{CERTIFICATE}{suites}  prefer_server_cipher_suites: false\n"), true, false, 0);
    check(&format!("{CERTIFICATE}  curve_preferences: [X25519, CurveP256]\n"), true, false, 0);
    check(&format!("basic_auth_users:\n  alice: {hash}\n  007: '{hash}'\n"), false, true, 0);
    check(
        "http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\n    X-XSS-Protection: '0'\n",
        false,
        false,
        2,
    );
}

#[test]
fn certificate_and_key_may_stand_in_the_file_itself() {
    let folder = folder();
    let indented = |name: &str| {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        text.lines().map(|line| format!("    {line}\n")).collect::<String>()
    };
    let (certificate, key) = (indented("server.crt"), indented("server.key"));
    let text = format!("tls_server_config:\n  cert: |\n{certificate}  key: |\n{key}");
    assert!(load(&folder, &text).unwrap().has_tls());
}

/// One line: the file, the line in it, the key, and what there is to know.
#[track_caller]
fn check_refused(text: &str, place: &str, expected: &str) {
    let folder = folder();
    let error = load(&folder, text).unwrap_err().to_string();
    let path = folder.path().join("web.yml");
    assert!(error.starts_with(&format!("{}{place}: ", path.display())), "{error}");
    assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
}

#[test]
fn a_key_that_is_not_known_is_named_with_the_nearest() {
    check_refused("tls_server_confg:\n", ", line 1: tls_server_confg", "is \"tls_server_config\" meant?");
    let misspelt = "tls_server_config:\n  cert_fil: x\n";
    check_refused(misspelt, ", line 2: tls_server_config.cert_fil", "is \"cert_file\" meant?");
    let header = "http_server_config:\n  headers:\n    X-Frame-Option: deny\n";
    check_refused(
        header,
        ", line 3: http_server_config.headers.X-Frame-Option",
        "is \"X-Frame-Options\" meant?",
    );
    check_refused("rate_limit:\n  burst: 1\n", ", line 1: rate_limit", "limits of its own");
    let names = format!("{CERTIFICATE}  client_allowed_sans: [a]\n");
    check_refused(&names, ", line 4: tls_server_config.client_allowed_sans", "not supported");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let tls = "tls_server_config";
    check_refused("- a\n", ", line 1", "has to be a mapping");
    check_refused("a: [b\n", ", line 2", "is no YAML");
    check_refused("basic_auth_users:\n  alice: secret\n", ", line 2: basic_auth_users.alice", "htpasswd");
    check_refused("basic_auth_users:\n  alice:\n", ", line 2: basic_auth_users.alice", "has no value");
    let frame = "http_server_config:\n  headers:\n    X-Frame-Options: allow\n";
    check_refused(frame, ", line 3: http_server_config.headers.X-Frame-Options", "deny or sameorigin");
    check_refused(
        "http_server_config:\n  http2: maybe\n",
        ", line 2: http_server_config.http2",
        "true or false",
    );
    let without = "tls_server_config:\n  min_version: TLS12\n";
    check_refused(without, &format!(", line 1: {tls}"), "cert_file is lacking");
    let in_tls = |more: &str, key: &str, expected: &str| {
        check_refused(&format!("{CERTIFICATE}  {more}\n"), &format!(", line 4: {tls}.{key}"), expected);
    };
    in_tls("min_version: TLS11", "min_version", "TLS12 and TLS13 are");
    in_tls("max_version: SSL3", "max_version", "TLS12 and TLS13 are");
    in_tls("cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]", "cipher_suites", "not supported");
    in_tls("cipher_suites: TLS_X", "cipher_suites", "has to be a list");
    in_tls("curve_preferences: [CurveP521]", "curve_preferences", "CurveP384 are");
    in_tls("client_auth_type: RequireAnyClientCert", "client_auth_type", "proves nothing");
    in_tls("client_auth_type: Always", "client_auth_type", "RequireAndVerifyClientCert");
    in_tls("cert: x", "cert", "remove one of them");
    in_tls("client_ca_file: empty.crt", "client_ca_file", "holds no certificate");
    in_tls("min_version: TLS13\n  max_version: TLS12", "min_version", "is more than max_version");
    let with = |more: &str, expected: &str| {
        check_refused(&format!("{CERTIFICATE}{more}"), &format!(", line 1: {tls}"), expected);
    };
    with("  client_auth_type: RequireAndVerifyClientCert\n", "client_ca_file is lacking");
    with("  client_ca_file: server.crt\n", "client_ca_file is of no effect");
}

#[test]
fn a_file_that_is_named_has_to_be_what_it_is_named_for() {
    let check = |certificate: &str, key: &str, place: &str, expected: &str| {
        let text = format!("tls_server_config:\n  cert_file: {certificate}\n  key_file: {key}\n");
        check_refused(&text, place, expected);
    };
    check("no.crt", "server.key", ", line 2: tls_server_config.cert_file", "no.crt cannot be read");
    check("server.key", "server.key", ", line 2: tls_server_config.cert_file", "holds no certificate");
    check("server.crt", "server.crt", ", line 3: tls_server_config.key_file", "private key");
    check("server.crt", "other.key", ", line 1: tls_server_config", "cannot be used");
    check(
        "server.crt",
        "/nowhere/server.key",
        ", line 3: tls_server_config.key_file",
        "/nowhere/server.key cannot",
    );
}
