//! Real requests over loopback, written and read byte by byte.
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, runtime::Runtime};

use super::*;

/// A source that always says the same.
struct Always(Result<(), String>);

impl SnapshotSource for Always {
    fn snapshot(&self) -> SnapshotFuture<'_> {
        Box::pin(async { self.ready().map(|()| Arc::new(Model::empty())) })
    }

    fn ready(&self) -> Result<(), String> {
        self.0.clone()
    }
}

/// A server on a free port for as long as the runtime lives.
fn start(source: Always, limits: limits::Limits) -> (Runtime, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let build = BuildInfo { version: "1.2.3".to_owned(), kernel: "6.1".to_owned() };
    let listener = limits::LimitedListener::new(listener, limits);
    let router = router(Arc::new(source), build);
    runtime.spawn(async move { axum::serve(listener, router).await });
    (runtime, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

/// Status line and headers in lower case, and the body.
fn request(address: SocketAddr, method: &str, path: &str) -> (String, String) {
    let mut stream = connect(address);
    write!(stream, "{method} {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_lowercase(), body.to_owned())
}

#[track_caller]
fn check(source: Result<(), &str>, (method, path): (&str, &str), status: u16, content: &str, body: &str) {
    let (_runtime, address) = start(Always(source.map_err(str::to_owned)), limits::Limits::default());
    let (head, actual) = request(address, method, path);
    assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
    assert!(head.contains(&format!("content-type: {content}")), "{head}");
    assert!(actual.contains(body), "{actual}");
    assert_eq!(actual.is_empty(), body.is_empty(), "{actual}");
}

const TEXT: &str = "text/plain; charset=utf-8";
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

#[test]
fn metrics_are_served_as_prometheus_wants_them() {
    let info = "tcp_backlog_build_info{version=\"1.2.3\",kernel=\"6.1\"} 1\n";
    check(Ok(()), ("GET", "/metrics"), 200, EXPOSITION, info);
}

#[test]
fn the_snapshot_is_json_with_a_version() {
    check(Ok(()), ("GET", "/api/v1/snapshot"), 200, "application/json", "\"version\": 1,");
}

#[test]
fn a_head_request_gets_the_head_only() {
    check(Ok(()), ("HEAD", "/metrics"), 200, EXPOSITION, "");
}

#[test]
fn the_landing_page_names_the_version_and_links_to_the_metrics() {
    check(Ok(()), ("GET", "/"), 200, "text/html; charset=utf-8", "tcp-backlog-probe 1.2.3");
    check(Ok(()), ("GET", "/"), 200, "text/html; charset=utf-8", "<a href=\"/metrics\">");
}

#[test]
fn a_failed_reading_is_503_and_one_line() {
    let reason = Err("bpf map HANDSHAKE: gone");
    check(reason, ("GET", "/metrics"), 503, TEXT, "bpf map HANDSHAKE: gone\n");
    check(reason, ("GET", "/api/v1/snapshot"), 503, TEXT, "bpf map HANDSHAKE: gone\n");
}

#[test]
fn health_does_not_depend_on_readiness() {
    check(Ok(()), ("GET", "/healthz"), 200, TEXT, "alive\n");
    check(Err("not yet"), ("GET", "/healthz"), 200, TEXT, "alive\n");
    check(Ok(()), ("GET", "/readyz"), 200, TEXT, "ready\n");
    check(Err("not yet"), ("GET", "/readyz"), 503, TEXT, "not yet\n");
}

#[test]
fn an_unknown_path_is_404() {
    check(Ok(()), ("GET", "/metric?x=1"), 404, TEXT, "nothing is at /metric\n");
}

#[test]
fn a_wrong_method_is_405_and_says_what_is_allowed() {
    check(Ok(()), ("POST", "/metrics"), 405, TEXT, "only GET and HEAD are answered\n");
    let (_runtime, address) = start(Always(Ok(())), limits::Limits::default());
    let (head, _) = request(address, "DELETE", "/metrics");
    assert!(head.contains("allow: get,head"), "{head}");
}

#[test]
fn one_connection_takes_many_requests() {
    let (_runtime, address) = start(Always(Ok(())), limits::Limits::default());
    let mut stream = connect(address);
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n").unwrap();
        let mut answer = String::new();
        while !answer.ends_with("alive\n") {
            let mut bytes = [0; 512];
            let length = stream.read(&mut bytes).unwrap();
            assert_ne!(length, 0, "closed after {answer:?}");
            answer.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
        }
    }
}

#[test]
fn half_a_request_sent_byte_by_byte_is_cut_off_and_makes_room_for_the_next_client() {
    let limits = limits::Limits { connections: 1, silence: Duration::from_millis(300) };
    let (_runtime, address) = start(Always(Ok(())), limits);
    let mut slow = connect(address);
    let since = Instant::now();
    let waiting = std::thread::spawn(move || request(address, "GET", "/healthz"));
    for byte in b"GET /healthz HTTP/1.1\r\nHost: probe\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa".iter().cycle() {
        // The daemon has hung up once a write is answered by a reset.
        if slow.write_all(&[*byte]).is_err() || since.elapsed() > Duration::from_secs(5) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(since.elapsed() < Duration::from_secs(5), "never cut off");
    let (head, _) = waiting.join().unwrap();
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(since.elapsed() >= limits.silence, "the limit of connections was not kept");
}
