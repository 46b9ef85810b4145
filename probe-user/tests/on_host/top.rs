//! `top` as its user sees it, in a terminal.
use std::{
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
};

use libtest_mimic::Trial;
use nix::sys::signal::Signal;

use crate::{
    command_line::{command, complaint, output},
    scenarios::support::{
        daemon::Daemon,
        namespace::Namespace,
        sockets::{IPV4, Listener, connect_all},
        trials::trials_of,
        wait::{ensure, wait_until},
    },
    terminal::Terminal,
};

/// Every trial of this file.
pub(crate) fn trials() -> Vec<Trial> {
    trials_of!(
        "top":
        an_overflow_is_watched_until_q,
        a_daemon_that_comes_back_is_asked_again,
        without_a_daemon_it_looks_for_itself,
        the_terminal_is_given_back_at_a_signal,
        where_it_cannot_be_one_line_says_why
    )
}

fn top(arguments: &[&str]) -> Terminal {
    Terminal::start(top_with(arguments))
}

fn top_with(arguments: &[&str]) -> Command {
    let mut command = command();
    command.arg("top").args(arguments).env("TERM", "xterm");
    command
}

/// Waits for a line with all of these words.
fn wait_for_line(terminal: &Terminal, words: &[&str]) {
    wait_until("a line of the screen", || {
        let text = terminal.text();
        let is_there = text.lines().any(|line| words.iter().all(|word| line.contains(word)));
        ensure(is_there, || format!("no line with {words:?}:\n{text}"))
    });
}

#[track_caller]
fn check_end(mut terminal: Terminal) {
    let (status, complaint) = terminal.end();
    assert_eq!((status.code(), complaint.as_str()), (Some(0), ""));
    wait_until("the terminal is as it was", || ensure(terminal.is_restored(), || terminal.text()));
}

fn an_overflow_is_watched_until_q() {
    let namespace = Namespace::new();
    let daemon = Daemon::start(&[]);
    let alone = Listener::open(&namespace, IPV4, 4);
    let first = Listener::open_shared(&namespace, (IPV4, 0).into(), 8);
    let _second = Listener::open_shared(&namespace, first.address, 8);
    let mut terminal = top(&["--daemon", &daemon.address.to_string(), "--interval", "0.2"]);
    let netns = namespace.inode().to_string();
    // What is typed before the terminal is its own becomes other keys.
    wait_for_line(&terminal, &["ports", "audit"]);
    terminal.press(&format!("/{netns}\r"));
    wait_for_line(&terminal, &[&alone.address.to_string(), "0/4"]);
    // Each listener of a shared port has a line of its own.
    wait_for_line(&terminal, &["▾", &first.address.to_string(), "0/16"]);
    wait_for_line(&terminal, &["└ socket", "0/8"]);
    assert!(terminal.is_taken());

    let _clients = connect_all(&namespace, alone.address, 12);
    wait_for_line(&terminal, &[&alone.address.to_string(), "5/4", "██████", "accept queue full"]);
    terminal.press("g\r");
    wait_for_line(&terminal, &["socket", "accept queue 5/4", "backlog 4,"]);
    terminal.press("q");
    check_end(terminal);
}

fn a_daemon_that_comes_back_is_asked_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("probe.sock");
    let start = |socket: &Path| Daemon::start(&["--plan", "none", "--socket", &socket.display().to_string()]);
    let mut daemon = start(&socket);
    let terminal = top(&["--socket", &socket.display().to_string(), "--interval", "0.2"]);
    wait_for_line(&terminal, &["ports", "audit"]);
    daemon.end_with(Signal::SIGTERM);
    wait_for_line(&terminal, &["the figures are", "s old", "nobody can be asked on"]);
    let _daemon = start(&socket);
    wait_until("the daemon is asked again", || {
        let text = terminal.text();
        ensure(text.contains("audit") && !text.contains("s old"), || text)
    });
    terminal.send(Signal::SIGTERM);
    check_end(terminal);
}

fn without_a_daemon_it_looks_for_itself() {
    let namespace = Namespace::new();
    let listener = Listener::open(&namespace, IPV4, 4);
    let command = top_with(&["--plan", "none", "--interval", "0.2", "--socket", "none"]);
    // Whoever serves on the standard port of this host is not there.
    let mut terminal = namespace.run(|| Terminal::start(command));
    let netns = namespace.inode().to_string();
    // What is typed before the terminal is its own becomes other keys.
    wait_for_line(&terminal, &["ports", "audit"]);
    terminal.press(&format!("/{netns}\r"));
    wait_for_line(&terminal, &[&listener.address.to_string(), "0/4"]);
    terminal.press("\x03");
    let (status, _log) = terminal.end();
    assert_eq!(status.code(), Some(0));
    wait_until("the terminal is as it was", || ensure(terminal.is_restored(), || terminal.text()));
}

fn the_terminal_is_given_back_at_a_signal() {
    let daemon = Daemon::start(&["--plan", "none"]);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let terminal = top(&["--daemon", &daemon.address.to_string()]);
        wait_for_line(&terminal, &["ports", "audit"]);
        assert!(terminal.is_taken());
        terminal.send(signal);
        check_end(terminal);
    }
}

fn where_it_cannot_be_one_line_says_why() {
    let piped = output(command().arg("top").stdin(Stdio::null()));
    assert_eq!(piped.status.code(), Some(2), "{piped:?}");
    let line = complaint(&piped);
    assert!(line.contains("needs a terminal") && line.contains("snapshot"), "{line}");

    let silent =
        TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").to_string();
    let mut terminal = top(&["--daemon", &silent]);
    let (status, complaint) = terminal.end();
    assert_eq!((status.code(), complaint.lines().count()), (Some(1), 1), "{complaint}");
    assert!(complaint.contains(&silent) && complaint.contains("is the daemon running"), "{complaint}");
    assert!(terminal.is_restored());
}
