//! One connection of a spike: it is opened, asks once, and reads the answer to its end.

use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::tally::Outcome;

/// Of an answer only the first line matters.
const KEPT: usize = 12;

/// Where a connection is in its life.
enum Stage {
    Connecting,
    /// So many bytes of the request are sent.
    Asking(usize),
    Reading,
}

/// A connection under way.
pub(crate) struct Exchange {
    stream: TcpStream,
    stage: Stage,
    /// The beginning of the answer.
    answer: Vec<u8>,
    pub(crate) opened: Instant,
}

impl Exchange {
    /// Sends a SYN and returns.
    pub(crate) fn open(to: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let opened = Instant::now();
        let mut stream = TcpStream::connect(to)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, stage: Stage::Connecting, answer: Vec::new(), opened })
    }

    /// Goes on as far as the socket allows; says how it ended, if it has.
    pub(crate) fn advance(&mut self, request: &[u8]) -> Option<Outcome> {
        match self.step_while_possible(request) {
            Ok(()) => Some(self.judged()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) => Some(Outcome::of_error(&error)),
        }
    }

    /// Whether the handshake is not over yet.
    pub(crate) fn is_connecting(&self) -> bool {
        matches!(self.stage, Stage::Connecting)
    }

    /// What it is if its time is over now.
    pub(crate) fn timed_out(&self) -> Outcome {
        match self.stage {
            Stage::Connecting => Outcome::ConnectTimeout,
            Stage::Asking(_) | Stage::Reading => Outcome::AnswerTimeout,
        }
    }

    /// Ends well at the end of what the server sends.
    fn step_while_possible(&mut self, request: &[u8]) -> io::Result<()> {
        loop {
            match self.stage {
                Stage::Connecting => {
                    self.connected()?;
                    self.stage = Stage::Asking(0);
                }
                Stage::Asking(sent) => {
                    let rest = request.get(sent..).unwrap_or_default();
                    let more = retried(|| self.stream.write(rest))?;
                    let done = more == rest.len();
                    self.stage = if done { Stage::Reading } else { Stage::Asking(sent + more) };
                }
                Stage::Reading => {
                    let mut bytes = [0; 4096];
                    let length = retried(|| self.stream.read(&mut bytes))?;
                    if length == 0 {
                        return Ok(());
                    }
                    let missing = KEPT.saturating_sub(self.answer.len());
                    self.answer.extend(bytes.iter().take(length.min(missing)));
                }
            }
        }
    }

    /// Whether the handshake is over for this end.
    fn connected(&self) -> io::Result<()> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => {
                Err(io::ErrorKind::WouldBlock.into())
            }
            other => other.map(drop),
        }
    }

    fn judged(&self) -> Outcome {
        judge(&self.answer)
    }
}

/// An answer by the beginning of its status line.
fn judge(answer: &[u8]) -> Outcome {
    let status = answer.strip_prefix(b"HTTP/1.1 ").or_else(|| answer.strip_prefix(b"HTTP/1.0 "));
    match status {
        Some(b"200") => Outcome::Answered,
        Some(code) if code.len() == 3 => Outcome::WrongAnswer,
        _ if answer.len() < KEPT => Outcome::Closed,
        _ => Outcome::WrongAnswer,
    }
}

fn retried(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_200_is_an_answer() {
        assert_eq!(judge(b"HTTP/1.1 200"), Outcome::Answered);
        assert_eq!(judge(b"HTTP/1.0 200"), Outcome::Answered);
        assert_eq!(judge(b"HTTP/1.1 503"), Outcome::WrongAnswer);
        assert_eq!(judge(b"SSH-2.0-Open"), Outcome::WrongAnswer);
        assert_eq!(judge(b"HTTP/1.1"), Outcome::Closed);
        assert_eq!(judge(b""), Outcome::Closed);
    }
}
