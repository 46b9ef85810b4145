//! Encrypted and with passwords, with a client that is as strict as a scraper.
use std::{fs, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;

use super::*;

/// What clients of this authority show, beside the server's certificate and its key.
fn folder() -> TempDir {
    let folder = access::tests::folder();
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut authority = rcgen::CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&authority_key).unwrap();
    let issuer = rcgen::Issuer::new(authority, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let client = rcgen::CertificateParams::new(vec!["scraper".to_owned()]).unwrap();
    let client = client.signed_by(&key, &issuer).unwrap();
    let files =
        [("ca.crt", certificate.pem()), ("client.crt", client.pem()), ("client.key", key.serialize_pem())];
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

const CERTIFICATE: &str = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

fn shared(folder: &TempDir, text: &str) -> SharedAccess {
    let path = folder.path().join("web.yml");
    fs::write(&path, text).unwrap();
    SharedAccess::load(Some(&path)).unwrap()
}

fn certificates(path: &Path) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
}

/// A connection that trusts the server's certificate, and shows one of its own if it has one.
fn connect_tls(
    address: SocketAddr,
    folder: &TempDir,
    with_certificate: bool,
) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates(&folder.path().join("server.crt")));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = if with_certificate {
        let key = PrivateKeyDer::from_pem_file(folder.path().join("client.key")).unwrap();
        builder.with_client_auth_cert(certificates(&folder.path().join("client.crt")), key).unwrap()
    } else {
        builder.with_no_client_auth()
    };
    let connection = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    StreamOwned::new(connection, connect(address))
}

/// The status line, or nothing if there is no answer.
fn ask(stream: &mut (impl Read + Write), headers: &str) -> String {
    let sent = write!(stream, "GET /healthz HTTP/1.1\r\nHost: probe\r\n{headers}\r\n");
    let mut bytes = [0; 4096];
    let length = sent.and_then(|()| stream.read(&mut bytes)).unwrap_or_default();
    String::from_utf8_lossy(&bytes[..length]).lines().next().unwrap_or_default().to_owned()
}

const OK: &str = "HTTP/1.1 200 OK";

#[test]
fn tls_is_spoken_and_plain_http_is_told_so() {
    let folder = folder();
    let (_running, address) = start_with(Always(Ok(())), Limits::default(), shared(&folder, CERTIFICATE));
    let mut kept = connect_tls(address, &folder, false);
    assert_eq!(ask(&mut kept, ""), OK);
    assert_eq!(ask(&mut kept, ""), OK, "a second request");
    let (head, body) = request(address, "GET", "/metrics");
    assert!(head.starts_with("http/1.1 400 "), "{head}");
    assert_eq!(body, format!("{}\n", server::TLS_ONLY));
}

#[test]
fn a_client_shows_a_certificate_where_that_is_wanted() {
    let check = |wish: &str, with_certificate: bool, expected: &str| {
        let folder = folder();
        let text = format!("{CERTIFICATE}{wish}");
        let (_running, address) = start_with(Always(Ok(())), Limits::default(), shared(&folder, &text));
        let answer = ask(&mut connect_tls(address, &folder, with_certificate), "");
        assert_eq!(answer, expected, "{wish:?} {with_certificate}");
    };
    let authority = "  client_ca_file: ca.crt\n  client_auth_type:";
    check("", true, OK);
    check(&format!("{authority} RequireAndVerifyClientCert\n"), true, OK);
    check(&format!("{authority} RequireAndVerifyClientCert\n"), false, "");
    check(&format!("{authority} VerifyClientCertIfGiven\n"), false, OK);
    let strangers = "  client_ca_file: server.crt\n  client_auth_type:";
    check(&format!("{strangers} VerifyClientCertIfGiven\n"), true, "");
    check("  min_version: TLS13\n", false, OK);
    check("  max_version: TLS12\n", false, OK);
}

/// What alice says.
fn credential(password: &str) -> String {
    format!("Authorization: Basic {}\r\n", STANDARD.encode(format!("alice:{password}")))
}

fn user(password: &str) -> String {
    format!("basic_auth_users:\n  alice: {}\n", bcrypt::hash(password, 4).unwrap())
}

#[test]
fn nothing_is_answered_without_a_password_where_one_is_wanted() {
    let folder = folder();
    let text = format!("{}http_server_config:\n  headers:\n    X-Frame-Options: deny\n", user("secret"));
    let (_running, address) = start_with(Always(Ok(())), Limits::default(), shared(&folder, &text));
    for path in ["/", "/metrics", "/api/v1/snapshot", "/healthz", "/readyz", "/nowhere"] {
        let (head, _) = request(address, "GET", path);
        assert!(head.starts_with("http/1.1 401 "), "{path}: {head}");
        assert!(head.contains("www-authenticate: basic realm=") && head.contains("x-frame-options: deny"));
    }
    assert_eq!(ask(&mut connect(address), &credential("secret")), OK);
    assert!(ask(&mut connect(address), &credential("wrong")).starts_with("HTTP/1.1 401"));
}

#[test]
fn a_reload_is_in_force_for_the_next_request() {
    let folder = folder();
    let access = shared(&folder, &user("old"));
    let (_running, address) = start_with(Always(Ok(())), Limits::default(), access.clone());
    let mut kept = connect(address);
    assert_eq!(ask(&mut kept, &credential("old")), OK);
    fs::write(folder.path().join("web.yml"), user("new")).unwrap();
    assert_eq!(ask(&mut kept, &credential("old")), OK, "not before");
    access.replace(access::Access::load(&folder.path().join("web.yml")).unwrap());
    // The kept connection is closed, or tells that it is.
    assert_ne!(ask(&mut kept, &credential("old")), OK);
    assert!(ask(&mut connect(address), &credential("old")).starts_with("HTTP/1.1 401"));
    assert_eq!(ask(&mut connect(address), &credential("new")), OK);
}

#[test]
fn a_certificate_that_was_renewed_is_shown_after_a_reload() {
    let (folder, renewed) = (folder(), folder());
    let access = shared(&folder, CERTIFICATE);
    let (_running, address) = start_with(Always(Ok(())), Limits::default(), access.clone());
    assert_eq!(ask(&mut connect_tls(address, &folder, false), ""), OK);
    for name in ["server.crt", "server.key"] {
        fs::copy(renewed.path().join(name), folder.path().join(name)).unwrap();
    }
    assert_eq!(ask(&mut connect_tls(address, &folder, false), ""), "", "the old one is still shown");
    access.replace(access::Access::load(&folder.path().join("web.yml")).unwrap());
    assert_eq!(ask(&mut connect_tls(address, &folder, false), ""), OK);
}

#[test]
fn a_handshake_has_a_place_and_a_time_like_a_request() {
    let folder = folder();
    let limits = Limits { connections: 2, request: Duration::from_secs(30), ..Limits::default() };
    let (_running, address) = start_with(Always(Ok(())), limits, shared(&folder, CERTIFICATE));
    // The beginning of a handshake record, and nothing.
    let mut slow: Vec<TcpStream> = (0..20).map(|_| connect(address)).collect();
    slow.iter_mut().step_by(2).for_each(|stream| stream.write_all(&[22, 3, 1]).unwrap());
    assert_eq!(ask(&mut connect_tls(address, &folder, false), ""), OK);
    let strict = Limits { request: Duration::from_millis(200), ..limits };
    let (_running, address) = start_with(Always(Ok(())), strict, shared(&folder, CERTIFICATE));
    for begun in [&[][..], &[22, 3, 1]] {
        let mut stream = connect(address);
        stream.write_all(begun).unwrap();
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or_default(), 0, "closed in time");
    }
}
