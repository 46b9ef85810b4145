//! A server from bind to stop, over loopback. The server has a thread of its own, so a test may
//! block.
use std::{
    future::pending,
    io::{Read, Write},
    net::TcpStream,
    os::{linux::net::SocketAddrExt, unix},
    sync::mpsc::sync_channel,
    time::Instant,
};

use tokio::task::JoinHandle;

use super::*;
use crate::daemon::ReadModel;

const PATIENCE: Duration = Duration::from_secs(10);

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// A collector whose every reading takes until the sender sends, and then fails.
fn failing_at(gate: std::sync::mpsc::Receiver<()>) -> Collector {
    let read: ReadModel = Box::new(move || {
        let _ = gate.recv();
        Err(anyhow!("no kernel here"))
    });
    Collector::start(read, None).unwrap()
}

async fn start(
    collector: Collector,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> (SocketAddr, JoinHandle<anyhow::Result<()>>) {
    let mut server = Server::bind(loopback(0)).await.unwrap();
    server.grace = Duration::from_millis(500);
    let address = server.local_addr().unwrap();
    let build = BuildInfo { version: "1.2.3".to_owned(), kernel: "6.1".to_owned() };
    (address, tokio::spawn(server.run(collector, build, shutdown)))
}

fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: probe\r\n\r\n").unwrap();
    stream
}

/// The first line of an answer; empty when the server has hung up.
fn first_line(stream: &mut TcpStream) -> String {
    let mut bytes = [0; 4096];
    let length = stream.read(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes[..length]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_listening_socket_is_inherited_with_its_address_and_any_other_is_refused() {
    let socket = std::net::TcpListener::bind(loopback(0)).unwrap();
    let address = socket.local_addr().unwrap();
    let connected = TcpStream::connect(address).unwrap();
    assert_eq!(Server::inherit(socket.into()).unwrap().local_addr().unwrap(), address);
    let error = Server::inherit(connected.into()).unwrap_err().to_string();
    assert!(error.contains("`http`"), "{error}");
    let nowhere_else = unix::net::SocketAddr::from_abstract_name(format!("probe-{address}")).unwrap();
    let unix = unix::net::UnixListener::bind_addr(&nowhere_else).unwrap();
    assert!(Server::inherit(unix.into()).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_address_in_use_is_one_line_with_a_remedy() {
    let server = Server::bind(loopback(0)).await.unwrap();
    let address = server.local_addr().unwrap();
    let error = Server::bind(address).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {address}: Address already in use")));
    assert!(error.ends_with("; choose another address with --listen"), "{error}");
    assert_eq!(error.lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_answer_under_way_is_finished_and_an_idle_connection_does_not_hold_up_the_end() {
    let (open, gate) = sync_channel(10);
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { stopped.await.unwrap_or_default() };
    let (address, server) = start(failing_at(gate), shutdown).await;
    let mut idle = ask(address, "/healthz");
    assert_eq!(first_line(&mut idle), "HTTP/1.1 200 OK");
    let mut under_way = ask(address, "/metrics");
    // Healthz answers after the request above was accepted: both are in the server's hands now.
    let mut after = ask(address, "/healthz");
    assert_eq!(first_line(&mut after), "HTTP/1.1 200 OK");
    stop.send(()).unwrap();
    for _ in 0..3 {
        open.send(()).unwrap();
    }
    assert_eq!(first_line(&mut under_way), "HTTP/1.1 503 Service Unavailable");
    timeout(PATIENCE, server).await.unwrap().unwrap().unwrap();
    assert_eq!(first_line(&mut idle), "", "the idle connection is closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_reading_that_never_ends_holds_up_the_end_for_the_grace_period_only() {
    let (open, gate) = sync_channel(10);
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async { stopped.await.unwrap_or_default() };
    let (address, server) = start(failing_at(gate), shutdown).await;
    let _stuck = ask(address, "/metrics");
    let mut after = ask(address, "/healthz");
    assert_eq!(first_line(&mut after), "HTTP/1.1 200 OK");
    let since = Instant::now();
    stop.send(()).unwrap();
    timeout(PATIENCE, server).await.unwrap().unwrap().unwrap();
    assert!(since.elapsed() >= Duration::from_millis(500), "{:?}", since.elapsed());
    drop(open);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_end_of_the_collector_is_the_end_of_the_server() {
    let collector = Collector::start(Box::new(|| panic!("on purpose")), None).unwrap();
    let (_, server) = start(collector, pending()).await;
    let error = timeout(PATIENCE, server).await.unwrap().unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the collector has ended; nothing is measured any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn the_end_waits_until_the_reader_has_saved_what_it_owns() {
    /// Takes its time when it goes.
    struct Saves(std::sync::mpsc::Sender<()>);
    impl Drop for Saves {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_millis(200));
            self.0.send(()).unwrap();
        }
    }
    let (sender, saved) = std::sync::mpsc::channel();
    let saves = Saves(sender);
    let read: ReadModel = Box::new(move || {
        let _owned = &saves;
        Err(anyhow!("no kernel here"))
    });
    let (_, server) = start(Collector::start(read, None).unwrap(), std::future::ready(())).await;
    timeout(PATIENCE, server).await.unwrap().unwrap().unwrap();
    assert_eq!(saved.try_recv(), Ok(()));
}
