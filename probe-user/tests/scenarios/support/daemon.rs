//! The daemon under test, as a process.
use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

use super::{
    metrics::Metrics,
    namespace::{Namespace, bring_loopback_up},
    trials::report_log_on_failure,
    wait::{PATIENCE, ensure, wait_until},
};

/// The binary under test: `TCP_BACKLOG_PROBE_BINARY`, else the one that cargo built.
pub(crate) fn binary() -> PathBuf {
    env::var_os("TCP_BACKLOG_PROBE_BINARY")
        .map_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_tcp-backlog-probe")), PathBuf::from)
}

/// The arguments of a daemon that serves on a free port of the loopback interface.
pub(crate) fn run_arguments(more: &[&str]) -> Vec<String> {
    let always = ["run", "--listen", "127.0.0.1:0", "--log-format", "json"];
    always.iter().chain(more).map(ToString::to_string).collect()
}

/// A running daemon; killed, by its own process id, when it goes out of scope.
pub(crate) struct Daemon {
    process: Child,
    log: Log,
    /// Where it serves.
    pub(crate) address: SocketAddr,
}

impl Daemon {
    /// Starts one with these arguments after [`run_arguments`]'s, and waits until it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        // The smallest of the matrix' systems comes up without. Where it is up nothing changes.
        bring_loopback_up();
        let mut command = Command::new(binary());
        command.args(run_arguments(arguments));
        Self::start_command(command)
    }

    /// The same in another network namespace. Scrape it with [`Daemon::scrape_in`].
    pub(crate) fn start_in(namespace: &Namespace, mut command: Command) -> Self {
        namespace.run(move || Self::spawn(&mut command)).ready()
    }

    /// Starts a command that becomes the daemon, and waits until it is ready.
    pub(crate) fn start_command(mut command: Command) -> Self {
        Self::spawn(&mut command).ready()
    }

    fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        let stderr = process.stderr.take().expect("the daemon's standard error");
        let log = Log::default();
        let writer = log.clone();
        // Ends with the process: its standard error is closed then.
        thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| writer.append(&line));
        });
        Self { process, log, address: SocketAddr::from(([127, 0, 0, 1], 0)) }
    }

    fn ready(mut self) -> Self {
        report_log_on_failure(&self.log);
        self.address = wait_until("the daemon is ready", || {
            if let Ok(Some(status)) = self.process.try_wait() {
                panic!("the daemon ended before it was ready: {status}");
            }
            self.log.ready_address().ok_or_else(|| "no line of its log says so".into())
        });
        self
    }

    /// One scrape.
    pub(crate) fn scrape(&self) -> Metrics {
        scrape(self.address)
    }

    /// Everything that it knows, as JSON.
    pub(crate) fn snapshot(&self) -> Value {
        self.json("/api/v1/snapshot")
    }

    /// What it finds wrong, as JSON.
    pub(crate) fn diagnosis(&self) -> Value {
        self.json("/api/v1/advice")
    }

    fn json(&self, path: &str) -> Value {
        let answer = get(self.address, path);
        let (_, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    /// One scrape of a daemon that runs in this namespace.
    pub(crate) fn scrape_in(&self, namespace: &Namespace) -> Metrics {
        let address = self.address;
        namespace.run(move || scrape(address))
    }

    /// What it has logged so far.
    pub(crate) const fn log(&self) -> &Log {
        &self.log
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal.
    pub(crate) fn send(&self, signal: Signal) {
        let id = Pid::from_raw(self.id().try_into().expect("a process id"));
        kill(id, signal).expect("a signal to the daemon");
    }

    /// Sends a signal and waits for the end.
    pub(crate) fn end_with(&mut self, signal: Signal) -> ExitStatus {
        self.send(signal);
        wait_until("the daemon ends", || match self.process.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}")),
        })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Standard error of a process, as far as it has come.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<String>>);

impl Log {
    pub(crate) fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether both are the log of one daemon.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn append(&self, line: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
    }

    /// The address in the line that says "ready".
    fn ready_address(&self) -> Option<SocketAddr> {
        let text = self.text();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let field = |line: &Value, name: &str| {
            // The fields of an event stand beside, or in an object beside, its time and level.
            let fields = line.get("fields").unwrap_or(line);
            Some(fields.get(name)?.as_str()?.to_owned())
        };
        let ready = lines.find(|line| field(line, "message").as_deref() == Some("ready"))?;
        field(&ready, "address")?.parse().ok()
    }
}

/// Scrapes until the answer is 200: on an emulated machine a reading can take longer than the
/// daemon lets its clients wait, which it says with a 503.
fn scrape(address: SocketAddr) -> Metrics {
    wait_until("an answer to GET /metrics", || {
        let answer = get(address, "/metrics");
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no HTTP answer")?;
        ensure(head.split(' ').nth(1) == Some("200"), || answer.clone())?;
        Ok(Metrics::parse(body))
    })
}

/// The answer to `GET path`, head and body.
fn get(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection to the daemon");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time limit");
    // HTTP/1.0: the answer is neither chunked nor kept alive, so it ends where the stream ends.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}
