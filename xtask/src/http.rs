//! As much of HTTP as is needed to ask a server on this machine.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) status: String,
    pub(crate) body: String,
}

/// Asks a server, which has this long for each part of its answer. By HTTP/1.0: the answer ends where the connection does.
pub(crate) fn ask(
    address: impl ToSocketAddrs + std::fmt::Display,
    (method, path): (&str, &str),
    patience: Duration,
) -> Result<Answer> {
    let answer = exchange(address, (method, path), "", patience)?;
    let answer = String::from_utf8(answer).context("the answer is no text")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok(Answer { status: status.to_owned(), body: body.to_owned() })
}

/// How many bytes the body of an answer has; in gzip if that is asked for. An error unless it is what was asked for.
pub(crate) fn length_of(
    address: impl ToSocketAddrs + std::fmt::Display,
    path: &str,
    in_gzip: bool,
    patience: Duration,
) -> Result<usize> {
    let wish = if in_gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    let answer = exchange(address, ("GET", path), wish, patience)?;
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").context("not HTTP")?;
    let status = answer.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    if status != b"200" {
        bail!("the server answers {}", String::from_utf8_lossy(status));
    }
    Ok(answer.len() - head - 4)
}

/// The whole answer. `headers` are lines that end as HTTP's do.
fn exchange(
    address: impl ToSocketAddrs + std::fmt::Display,
    (method, path): (&str, &str),
    headers: &str,
    patience: Duration,
) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(&address).with_context(|| format!("nobody listens on {address}"))?;
    stream.set_read_timeout(Some(patience))?;
    let request =
        format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\n{headers}Content-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(answer)
}

impl Answer {
    /// Whether it is what was asked for.
    pub(crate) fn is_right(&self) -> bool {
        self.status == "200"
    }

    /// The body; an error unless it is what was asked for.
    pub(crate) fn right(self) -> Result<String> {
        if !self.is_right() {
            bail!("the server answers {}: {}", self.status, self.body.trim());
        }
        Ok(self.body)
    }
}

/// A text as part of a query in an address.
pub(crate) fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_go_into_addresses() {
        assert_eq!(encoded("up{a=~\".+\"}"), "up%7Ba%3D~%22.%2B%22%7D".replace('~', "%7E"));
    }

    #[test]
    fn an_address_takes_any_text() {
        assert_eq!(encoded("up{a=\"ü\"} > 1_0.5"), "up%7Ba%3D%22%C3%BC%22%7D%20%3E%201_0.5");
    }
}
