//! Whatever is sent, the server answers or closes, and goes on.
use std::{net::Shutdown, ops::Range};

use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::*;

/// A request of known parts, some of them wrong.
fn request_of_parts() -> impl Strategy<Value = Vec<u8>> {
    let method = prop_oneof![Just("GET"), Just("HEAD"), Just("POST"), Just("OPTIONS"), Just("get"), Just("")];
    let path = prop_oneof![
        Just("/metrics".to_owned()),
        Just("/".to_owned()),
        Just("/api/v1/advice?since=60&port=80".to_owned()),
        Just("*".to_owned()),
        Just("http://[::1/x".to_owned()),
        "/[ -~]{0,40}",
        "/api/v1/advice\\?[a-z=&%0-9]{0,30}",
    ];
    let version = prop_oneof![Just("HTTP/1.1"), Just("HTTP/1.0"), Just("HTTP/2.0"), Just("HTTP/9"), Just("")];
    let header = prop_oneof![
        Just("Host: probe".to_owned()),
        Just("Accept-Encoding: gzip;q=0.5, *;q=0".to_owned()),
        Just("Transfer-Encoding: chunked".to_owned()),
        Just("Connection: close, upgrade".to_owned()),
        Just("Expect: 100-continue".to_owned()),
        Just("Authorization: Basic AAAA".to_owned()),
        "Content-Length: [0-9+-]{1,20}",
        "[A-Za-z-]{0,12}:[ -~]{0,40}",
        "[ -~]{0,20}",
    ];
    let end = prop_oneof![Just("\r\n\r\n"), Just("\n\n"), Just("\r\n"), Just("")];
    (method, path, version, vec(header, 0..5), end, vec(any::<u8>(), 0..40)).prop_map(
        |(method, path, version, headers, end, body)| {
            let head = format!("{method} {path} {version}\r\n{}{end}", headers.join("\r\n"));
            [head.into_bytes(), body].concat()
        },
    )
}

/// Several of them in one, whole or cut, or no request at all.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    const LENGTHS: Range<usize> = 0..200;
    let requests = vec(request_of_parts(), 1..4).prop_map(|parts| parts.concat()).boxed();
    prop_oneof![
        4 => requests.clone(),
        2 => (requests, any::<prop::sample::Index>()).prop_map(|(mut bytes, at)| {
            bytes.truncate(at.index(bytes.len() + 1));
            bytes
        }),
        1 => vec(any::<u8>(), LENGTHS),
    ]
}

/// The time in which a wrong server would be found to hang: far less than the limits of a right one.
const PATIENCE: Duration = Duration::from_secs(8);

#[test]
fn whatever_is_sent_the_next_request_is_answered() {
    let limits = Limits { connections: 4, request: Duration::from_secs(60), ..Limits::default() };
    let (_running, address) = start(Always(Ok(())), limits);
    let mut runner = TestRunner::new(Config { cases: 300, failure_persistence: None, ..Config::default() });
    let checked = runner.run(&bytes(), |bytes| {
        let mut stream = connect(address);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // It may have hung up before all is sent.
        let _ = stream.write_all(&bytes).and_then(|()| stream.shutdown(Shutdown::Write));
        let mut answer = Vec::new();
        let ended = stream.read_to_end(&mut answer);
        let hangs = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        prop_assert!(!hangs, "neither answered nor closed");
        let answer = String::from_utf8_lossy(&answer);
        prop_assert!(answer.is_empty() || answer.starts_with("HTTP/1."), "{answer}");
        prop_assert!(!answer.contains("HTTP/1.1 500"), "{answer}");
        let (head, _) = request(address, "GET", "/healthz");
        prop_assert!(head.starts_with("http/1.1 200 "), "{head}");
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}
