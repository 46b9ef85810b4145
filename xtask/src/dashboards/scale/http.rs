//! As much of HTTP as is needed to be asked by Prometheus, and to ask it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::Result;

use crate::http;

/// Longer than anybody would look at an empty panel.
const PATIENCE: Duration = Duration::from_secs(120);

/// Gets a document.
pub(super) fn get(address: &str, path: &str) -> Result<String> {
    http::ask(address, ("GET", path), PATIENCE)?.right()
}

/// Asks for something to be done.
pub(super) fn post(address: &str, path: &str) -> Result<String> {
    http::ask(address, ("POST", path), PATIENCE)?.right()
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
}
