//! Real requests over loopback, written and read byte by byte.
mod fuzz;
mod tls;

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{net::TcpListener, runtime::Runtime, sync::watch};

use super::{access::SharedAccess, limits::Limits, *};

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

/// A server on a free port for as long as the runtime lives, and the stop that is never given.
fn start(source: impl SnapshotSource, limits: Limits) -> (Running, SocketAddr) {
    start_with(source, limits, SharedAccess::open())
}

type Running = (watch::Sender<()>, Runtime);

fn start_with(source: impl SnapshotSource, limits: Limits, access: SharedAccess) -> (Running, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let build = BuildInfo { version: "1.2.3".to_owned(), kernel: "6.1".to_owned() };
    let (stop, stopped) = watch::channel(());
    runtime.spawn(server::serve(listener, router(Arc::new(source), build), access, limits, stopped));
    ((stop, runtime), address)
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
    let (_running, address) = start(Always(source.map_err(str::to_owned)), Limits::default());
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
    let (_running, address) = start(Always(Ok(())), Limits::default());
    let (head, _) = request(address, "DELETE", "/metrics");
    assert!(head.contains("allow: get,head"), "{head}");
}

#[test]
fn one_connection_takes_many_requests() {
    let (_running, address) = start(Always(Ok(())), Limits::default());
    let mut stream = connect(address);
    for _ in 0..3 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n").unwrap();
        read_until(&mut stream, "alive\n");
    }
}

#[test]
fn half_a_request_sent_byte_by_byte_is_cut_off() {
    let limits = Limits { request: Duration::from_millis(300), ..Limits::default() };
    let (_running, address) = start(Always(Ok(())), limits);
    let mut slow = connect(address);
    let since = Instant::now();
    for byte in b"GET /healthz HTTP/1.1\r\nHost: probe\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaa".iter().cycle() {
        // The daemon has hung up once a write is answered by a reset.
        if slow.write_all(&[*byte]).is_err() || since.elapsed() > Duration::from_secs(5) {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(since.elapsed() < Duration::from_secs(5), "never cut off");
    assert!(since.elapsed() >= limits.request, "cut off early");
}

/// With the answer to come after these bytes on a connection that is kept.
#[track_caller]
fn check_closed_after(silence: Duration, limits: Limits, sent: &str, answered: bool) {
    let (_running, address) = start(Always(Ok(())), limits);
    let mut stream = connect(address);
    stream.write_all(sent.as_bytes()).unwrap();
    let since = Instant::now();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.starts_with("HTTP/1.1 200"), answered, "{sent:?}: {answer}");
    let took = since.elapsed();
    assert!(took >= silence && took < silence + Duration::from_secs(5), "{sent:?}: {took:?}");
}

#[test]
fn what_is_waited_for_decides_how_long() {
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(20));
    let strict = Limits { request: short, silence: long, ..Limits::default() };
    let whole = "GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n";
    check_closed_after(short, strict, "", false);
    check_closed_after(short, strict, "GET /healthz HTTP/1.1\r\n", false);
    let patient = Limits { request: long, silence: short, ..Limits::default() };
    check_closed_after(short, patient, whole, true);
}

/// More slow connections than places, for as long as they are let.
#[test]
fn slow_clients_make_room_for_those_that_ask() {
    let (_running, address) = start(Always(Ok(())), Limits { connections: 4, ..Limits::default() });
    let slow: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = connect(address);
            stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: ").unwrap();
            stream
        })
        .collect();
    let since = Instant::now();
    let (head, _) = request(address, "GET", "/metrics");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    drop(slow);
}

/// Sends this, and the answer has to begin with that.
#[track_caller]
fn check_answer(sent: &[u8], expected: &str) -> String {
    let (_running, address) = start(Always(Ok(())), Limits::default());
    let mut stream = connect(address);
    stream.write_all(sent).unwrap();
    let mut bytes = Vec::new();
    // A reset after the answer is as good as its end.
    let _ = stream.read_to_end(&mut bytes);
    let answer = String::from_utf8_lossy(&bytes).into_owned();
    assert!(answer.starts_with(expected), "{}: {answer}", String::from_utf8_lossy(sent));
    answer
}

#[test]
fn a_request_has_a_size() {
    let ask = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n{headers}\r\n").into_bytes()
    };
    check_answer(&ask(&format!("/{}", "x".repeat(2047)), ""), "HTTP/1.1 404 ");
    check_answer(&ask(&format!("/{}", "x".repeat(2048)), ""), "HTTP/1.1 414 ");
    check_answer(&ask("/healthz", &format!("X: {}\r\n", "x".repeat(12 << 10))), "HTTP/1.1 200 ");
    check_answer(&ask("/healthz", &format!("X: {}\r\n", "x".repeat(17 << 10))), "HTTP/1.1 431 ");
    check_answer(&ask("/healthz", &"X: y\r\n".repeat(62)), "HTTP/1.1 200 ");
    check_answer(&ask("/healthz", &"X: y\r\n".repeat(63)), "HTTP/1.1 431 ");
}

/// What follows an answer must not take it away.
#[test]
fn answers_come_through_though_more_is_sent_than_is_read() {
    let (_running, address) = start(Always(Ok(())), Limits::default());
    for _ in 0..50 {
        let mut stream = connect(address);
        let whole = "GET /healthz HTTP/1.1\r\nHost: probe\r\n\r\n".repeat(20);
        let excess = format!("{whole}GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(60_000));
        stream.write_all(excess.as_bytes()).unwrap();
        let mut answers = String::new();
        stream.read_to_string(&mut answers).unwrap();
        assert_eq!((answers.matches("200 OK").count(), answers.matches(" 431 ").count()), (20, 1));
    }
}

#[test]
fn no_body_is_ever_asked_for_or_read() {
    let with = |method: &str, headers: &str, body: &str| {
        format!("{method} /metrics HTTP/1.1\r\nHost: probe\r\n{headers}\r\n{body}").into_bytes()
    };
    let expects = with("POST", "Expect: 100-continue\r\nContent-Length: 1000000\r\n", "");
    let answer = check_answer(&expects, "HTTP/1.1 405 ");
    assert!(!answer.contains("100 Continue"), "{answer}");
    // The connection is closed without the rest having come.
    check_answer(&with("POST", "Content-Length: 1000000\r\n", &"x".repeat(100_000)), "HTTP/1.1 405 ");
    check_answer(&with("GET", "Transfer-Encoding: chunked\r\n", "5\r\nabcde\r\n"), "HTTP/1.1 200 ");
}

#[test]
fn a_long_answer_is_compressed_for_those_who_want_that() {
    let (_running, address) = start(Always(Ok(())), Limits::default());
    let ask = |encoding: &str, path: &str| {
        let mut stream = connect(address);
        write!(stream, "GET {path} HTTP/1.0\r\nAccept-Encoding: {encoding}\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
        let body = answer.split_off(head + 4);
        (String::from_utf8(answer).unwrap().to_lowercase(), body)
    };
    let (head, plain) = ask("identity", "/api/v1/snapshot");
    assert!(head.contains("vary: accept-encoding\r\n") && !head.contains("content-encoding"), "{head}");
    let (head, packed) = ask("gzip", "/api/v1/snapshot");
    assert!(
        head.contains("vary: accept-encoding\r\n") && head.contains("content-encoding: gzip\r\n"),
        "{head}"
    );
    assert!(head.contains(&format!("content-length: {}\r\n", packed.len())), "{head}");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain);
    assert!(packed.len() < plain.len());
    let (head, _) = ask("gzip", "/healthz");
    assert!(!head.contains("content-encoding"), "{head}");
}

#[test]
fn every_answer_means_its_type_and_is_not_kept() {
    let (_running, address) = start(Always(Ok(())), Limits::default());
    for path in ["/", "/metrics", "/api/v1/snapshot", "/api/v1/advice", "/healthz", "/readyz", "/nowhere"] {
        let (head, _) = request(address, "GET", path);
        assert!(head.contains("x-content-type-options: nosniff") && head.contains("cache-control: no-store"));
        assert_eq!(
            head.contains("content-security-policy: default-src 'none'"),
            path == "/",
            "{path}: {head}"
        );
        let length =
            |head: &str| head.lines().find(|line| line.starts_with("content-length")).map(str::to_owned);
        let (without_body, body) = request(address, "HEAD", path);
        assert_eq!((length(&without_body), body.as_str()), (length(&head), ""), "{path}");
    }
}

/// A source with a defect.
struct Panics;

impl SnapshotSource for Panics {
    fn snapshot(&self) -> SnapshotFuture<'_> {
        Box::pin(async { panic!("on purpose") })
    }

    fn ready(&self) -> Result<(), String> {
        panic!("on purpose")
    }
}

#[test]
fn a_panic_is_an_answer_and_the_connection_goes_on() {
    let (_running, address) = start(Panics, Limits { connections: 1, ..Limits::default() });
    let mut stream = connect(address);
    for path in ["/metrics", "/readyz", "/metrics"] {
        write!(stream, "GET {path} HTTP/1.1\r\nHost: probe\r\n\r\n").unwrap();
        let answer = read_until(&mut stream, "could not be made\n");
        assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    }
    drop(stream);
    let (head, _) = request(address, "GET", "/healthz");
    assert!(head.starts_with("http/1.1 200 "), "{head}");
}

/// What comes, up to this end.
fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = String::new();
    while !answer.ends_with(end) {
        let mut bytes = [0; 512];
        let length = stream.read(&mut bytes).unwrap();
        assert_ne!(length, 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&bytes[..length]).unwrap());
    }
    answer
}
