//! Asking a daemon that runs.
use std::{io, net::SocketAddr, time::Duration};

use anyhow::{Context, bail};
use axum::body::{self, Body};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

use crate::model::advice::{Diagnosis, Question};

/// How long an answer may take: a little more than the daemon allows itself.
const PATIENCE: Duration = Duration::from_secs(12);
/// The longest answer that is read, in bytes: thousands of verdicts.
const LONGEST_ANSWER: usize = 64 << 20;

/// Asks the daemon on this address; `None` when nobody listens there.
///
/// # Errors
/// When somebody does, and does not answer as a daemon of this version would.
pub fn ask(daemon: SocketAddr, question: Question) -> anyhow::Result<Option<Diagnosis>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match timeout(PATIENCE, ask_within(daemon, question)).await {
            Ok(answer) => answer,
            Err(_) => bail!("the daemon on {daemon} has not answered within {} s", PATIENCE.as_secs()),
        }
    })
}

async fn ask_within(daemon: SocketAddr, question: Question) -> anyhow::Result<Option<Diagnosis>> {
    let stream = match TcpStream::connect(daemon).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => bail!("the daemon on {daemon} cannot be reached: {error}"),
    };
    let advice = || format!("{daemon} does not answer as tcp-backlog-probe of this version would");
    let response = request(stream, daemon, question).await.with_context(advice)?;
    let status = response.status();
    let text = body::to_bytes(Body::new(response.into_body()), LONGEST_ANSWER).await.with_context(advice)?;
    if status != StatusCode::OK {
        let text = String::from_utf8_lossy(&text);
        bail!("{}: {status}: {}", advice(), text.lines().next().unwrap_or_default());
    }
    serde_json::from_slice(&text).map(Some).with_context(advice)
}

async fn request(
    stream: TcpStream,
    daemon: SocketAddr,
    question: Question,
) -> anyhow::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer; what goes wrong, the answer tells.
    tokio::spawn(connection);
    let port = question.port.map(|port| format!("&port={port}")).unwrap_or_default();
    let path = format!("/api/v1/advice?since={}{port}", question.seconds);
    let request = Request::get(path).header(HOST, daemon.to_string()).body(Body::empty())?;
    Ok(sender.send_request(request).await?)
}
