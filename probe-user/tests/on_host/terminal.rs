//! A terminal of 120 columns and 30 lines, and a program in it.
use std::{
    fs::File,
    io::{Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use nix::{
    pty::{Winsize, openpty},
    sys::{
        signal::{Signal, kill},
        termios::{Termios, tcgetattr},
    },
    unistd::Pid,
};
use vt100::Parser;

use crate::scenarios::support::wait::wait_until;

const LINES: u16 = 30;
const COLUMNS: u16 = 120;

/// A program in a terminal; killed, by its own process id, when it goes out of scope.
pub(crate) struct Terminal {
    process: Child,
    keyboard: File,
    /// The program's own end: its settings outlast the program.
    end: File,
    screen: Arc<Mutex<Parser>>,
    before: Termios,
}

impl Terminal {
    /// Starts it. Its standard error is no part of the terminal.
    pub(crate) fn start(mut command: Command) -> Self {
        let size = Winsize { ws_row: LINES, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
        let pair = openpty(Some(&size), None).expect("a pseudoterminal");
        let (keyboard, end) = (File::from(pair.master), File::from(pair.slave));
        let before = tcgetattr(&end).expect("the terminal's settings");
        let another = |file: &File| Stdio::from(file.try_clone().expect("a descriptor"));
        command.stdin(another(&end)).stdout(another(&end)).stderr(Stdio::piped());
        let process = command.spawn().unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        let screen = Arc::new(Mutex::new(Parser::new(LINES, COLUMNS, 0)));
        let (mut output, written) = (keyboard.try_clone().expect("a descriptor"), Arc::clone(&screen));
        // Ends when the last descriptor of the program's end is closed.
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut bytes) {
                written.lock().unwrap_or_else(PoisonError::into_inner).process(&bytes[..count]);
            }
        });
        Self { process, keyboard, end, screen, before }
    }

    /// What is on the screen.
    pub(crate) fn text(&self) -> String {
        self.parser(|parser| parser.screen().contents())
    }

    fn parser<T>(&self, look: impl FnOnce(&Parser) -> T) -> T {
        look(&self.screen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a key");
    }

    /// Sends the program a signal.
    pub(crate) fn send(&self, signal: Signal) {
        let id = Pid::from_raw(self.process.id().try_into().expect("a process id"));
        kill(id, signal).expect("a signal to the program");
    }

    /// Waits for the program's end, and says what it has written to standard error.
    pub(crate) fn end(&mut self) -> (ExitStatus, String) {
        let status = wait_until("the program ends", || match self.process.try_wait() {
            Ok(Some(status)) => Ok(status),
            other => Err(format!("{other:?}: {}", self.text())),
        });
        let mut complaint = String::new();
        let stderr = self.process.stderr.as_mut().expect("standard error");
        stderr.read_to_string(&mut complaint).expect("what it has written");
        (status, complaint)
    }

    /// Whether a program has the whole screen, and has put the terminal into another mode.
    pub(crate) fn is_taken(&self) -> bool {
        self.parser(|parser| parser.screen().alternate_screen()) && self.settings() != self.before
    }

    /// Whether all is as it was before the program.
    pub(crate) fn is_restored(&self) -> bool {
        let screen =
            self.parser(|parser| !parser.screen().alternate_screen() && !parser.screen().hide_cursor());
        screen && self.settings() == self.before
    }

    fn settings(&self) -> Termios {
        tcgetattr(&self.end).expect("the terminal's settings")
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
