//! As much of HTTP as is needed to ask Prometheus, and to be told by Alertmanager.

use std::io::{BufRead, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::http;

/// Nobody here is asked who takes longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Gets a document in JSON; an error while the server is not there yet.
pub(super) fn get(address: &str, path: &str) -> Result<Value> {
    let body = http::ask(address, ("GET", path), PATIENCE)?.body;
    serde_json::from_str(&body).with_context(|| format!("no JSON at {address}{path}"))
}

/// A text in a document, empty if it is not there.
pub(super) fn text<'a>(document: &'a Value, pointer: &str) -> &'a str {
    document.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether the server answers with 200.
pub(super) fn is_ready(address: &str, path: &str) -> bool {
    http::ask(address, ("GET", path), PATIENCE).is_ok_and(|answer| answer.is_right())
}

/// One alert in one message of Alertmanager's.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// The path that it was sent to.
    pub(super) receiver: String,
    pub(super) alert: Value,
}

/// A webhook that notes what it is told.
#[derive(Clone, Default)]
pub(super) struct Ear {
    told: Arc<Mutex<Vec<Told>>>,
}

impl Ear {
    /// Listens until the process ends.
    pub(super) fn open(address: &str) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("{address} is taken"))?;
        let ear = Self::default();
        let hearing = ear.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Alertmanager sends again what was not answered.
                let _ = hearing.hear(stream);
            }
        });
        Ok(ear)
    }

    fn hear(&self, stream: TcpStream) -> Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut reader = BufReader::new(stream);
        let (receiver, body) = message(&mut reader)?;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let alerts = body.get("alerts").and_then(Value::as_array).cloned().unwrap_or_default();
        told.extend(alerts.into_iter().map(|alert| Told { receiver: receiver.clone(), alert }));
        drop(told);
        reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        Ok(())
    }

    /// What was told of an alert by its name and place so far.
    pub(super) fn told_of(&self, alert: &str, port: &str, netns: &str) -> Vec<Told> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = [("/labels/alertname", alert), ("/labels/port", port), ("/labels/netns", netns)];
        let is_it = |told: &&Told| wanted.iter().all(|(pointer, value)| text(&told.alert, pointer) == *value);
        told.iter().filter(is_it).cloned().collect()
    }
}

/// The path of a request, and its body.
fn message(reader: &mut impl BufRead) -> Result<(String, Value)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).context("not HTTP")?.to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().context("no length")?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    Ok((path, serde_json::from_slice(&body).context("no JSON")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_path_and_its_body() {
        let text = "POST /pager HTTP/1.1\r\nHost: x\r\ncontent-length: 13\r\n\r\n{\"alerts\":[]}";
        let (path, body) = message(&mut text.as_bytes()).unwrap();
        assert_eq!(path, "/pager");
        assert_eq!(body["alerts"], Value::Array(Vec::new()));
        assert!(message(&mut "POST /pager HTTP/1.1\r\ncontent-length: 99\r\n\r\n{}".as_bytes()).is_err());
    }

    #[test]
    fn what_is_told_is_found_by_alert_and_port() {
        let ear = Ear::open("127.0.0.1:0").unwrap();
        let alert =
            serde_json::json!({"labels": {"alertname": "A", "port": "1", "netns": "7"}, "status": "firing"});
        ear.told.lock().unwrap().push(Told { receiver: "/pager".to_owned(), alert });
        assert_eq!(ear.told_of("A", "1", "7").len(), 1);
        let others = [("A", "2", "7"), ("B", "1", "7"), ("A", "1", "8")];
        assert!(others.iter().all(|(alert, port, netns)| ear.told_of(alert, port, netns).is_empty()));
    }
}
