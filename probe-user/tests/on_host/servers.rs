//! Servers for the daemon to find the owners of: this very binary, started under other names, and told line by line
//! what to do with its listening socket.
//!
//! They end when their standard input does, so also when the test is killed; what they have started ends with them.
use std::{
    env, fs,
    io::{BufRead, BufReader, Write, stdin, stdout},
    net::TcpListener,
    os::fd::OwnedFd,
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    thread,
};

use rustix::process::{Signal, set_parent_process_death_signal};

use crate::scenarios::support::namespace::Namespace;

/// Says that this binary is to be a server, and under which name.
const NAME_VARIABLE: &str = "TCP_BACKLOG_PROBE_TEST_SERVER";
/// Says that it only has to hold what it was given as its standard input.
const HOLDER: &str = "holder";

/// Lives as a server if this process was started as one.
pub(crate) fn live() -> Option<ExitCode> {
    let name = env::var(NAME_VARIABLE).ok()?;
    fs::write("/proc/self/comm", &name).expect("a name");
    if env::args().nth(1).as_deref() == Some(HOLDER) {
        set_parent_process_death_signal(Some(Signal::KILL)).expect("PR_SET_PDEATHSIG");
        answer(0);
        loop {
            thread::park();
        }
    }
    obey();
    Some(ExitCode::SUCCESS)
}

/// Answers each line with a number.
fn obey() {
    let mut listener = None;
    let mut children: Vec<Child> = Vec::new();
    for line in stdin().lines().map_while(Result::ok) {
        let number = match line.split_once(' ').unwrap_or((&line, "")) {
            ("listen", _) => {
                let socket = TcpListener::bind("127.0.0.1:0").expect("a listener");
                let port = socket.local_addr().expect("its address").port();
                listener = Some(socket);
                u32::from(port)
            }
            ("close", _) => {
                listener = None;
                0
            }
            ("give", name) => {
                let socket: &TcpListener = listener.as_ref().expect("a listener");
                let child = start_holder(name, socket.try_clone().expect("another descriptor").into());
                let id = child.id();
                children.push(child);
                id
            }
            ("end", _) => {
                children.drain(..).for_each(end);
                0
            }
            other => panic!("not a command: {other:?}"),
        };
        answer(number);
    }
    children.into_iter().for_each(end);
}

fn answer(number: u32) {
    let mut stdout = stdout();
    writeln!(stdout, "{number}").and_then(|()| stdout.flush()).expect("an answer");
}

/// Starts a child that holds the socket, once it has its name.
fn start_holder(name: &str, socket: OwnedFd) -> Child {
    let mut command = Command::new(env::current_exe().expect("this binary"));
    command.arg(HOLDER).env(NAME_VARIABLE, name).stdin(socket).stdout(Stdio::piped());
    let mut child = command.spawn().expect("a child");
    let mut line = String::new();
    let said = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
    assert_eq!(line, "0\n", "{said:?}");
    child
}

fn end(mut child: Child) {
    // Both fail only when it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// A server under the command of the test.
pub(crate) struct Server {
    process: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Server {
    /// Starts one that does nothing yet.
    pub(crate) fn start(namespace: &Namespace, name: &'static str) -> Self {
        let mut process = namespace.run(move || {
            let mut command = Command::new(env::current_exe().expect("this binary"));
            command.env(NAME_VARIABLE, name).stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().expect("a server")
        });
        let commands = process.stdin.take();
        let answers = BufReader::new(process.stdout.take().expect("its standard output"));
        Self { process, commands, answers }
    }

    /// Its process number.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Listens on a port of the kernel's choice.
    pub(crate) fn listen(&mut self) -> u16 {
        self.tell("listen").try_into().expect("a port")
    }

    /// Starts a child of this name that holds the socket as well; returns its process number.
    pub(crate) fn give(&mut self, name: &str) -> u32 {
        self.tell(&format!("give {name}"))
    }

    /// Closes the socket.
    pub(crate) fn close(&mut self) {
        self.tell("close");
    }

    /// Ends its children.
    pub(crate) fn end_children(&mut self) {
        self.tell("end");
    }

    fn tell(&mut self, command: &str) -> u32 {
        let commands = self.commands.as_mut().expect("it runs");
        writeln!(commands, "{command}").expect("a command");
        let mut answer = String::new();
        self.answers.read_line(&mut answer).expect("an answer");
        answer.trim().parse().unwrap_or_else(|_| panic!("{command}: {answer:?}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its input ends, it ends its children, and then itself.
        self.commands = None;
        let _ = self.process.wait();
    }
}
