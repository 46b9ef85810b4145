//! As much of HTTP as is needed to be asked by Prometheus, and to ask it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// Longer than anybody would look at an empty panel.
const PATIENCE: Duration = Duration::from_secs(120);

/// Gets a document.
pub(super) fn get(address: &str, path: &str) -> Result<String> {
    send(address, "GET", path)
}

/// Asks for something to be done.
pub(super) fn post(address: &str, path: &str) -> Result<String> {
    send(address, "POST", path)
}

fn send(address: &str, method: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("nobody listens on {address}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "{method} {path} HTTP/1.0\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("not HTTP")?;
    let status = head.split(' ').nth(1).unwrap_or_default();
    if status != "200" {
        bail!("{address} answers {status}: {}", body.trim());
    }
    Ok(body.to_owned())
}

/// Answers one request by its path; `None` is an error of the server.
pub(super) fn answer(mut stream: TcpStream, body_of: impl FnOnce(&str) -> Option<String>) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut header = String::new();
    // The end of the headers is an empty line.
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let body = body_of(request.split(' ').nth(1).unwrap_or_default());
    let status = if body.is_some() { "200 OK" } else { "503 Service Unavailable" };
    let body = body.unwrap_or_default();
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body.as_bytes())?;
    Ok(())
}

/// A text as part of a query in an address.
pub(super) fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'.' | b'-' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    #[test]
    fn a_question_gets_its_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let server = thread::spawn(move || {
            for _ in 0..2 {
                let (stream, _) = listener.accept().unwrap();
                answer(stream, |path| (path == "/a").then(|| "b".to_owned())).unwrap();
            }
        });
        assert_eq!(get(&address, "/a").unwrap(), "b");
        assert!(get(&address, "/c").unwrap_err().to_string().contains("503"));
        server.join().unwrap();
    }

    #[test]
    fn expressions_go_into_addresses() {
        assert_eq!(encoded("up{a=~\".+\"}"), "up%7Ba%3D~%22.%2B%22%7D".replace('~', "%7E"));
    }
}
