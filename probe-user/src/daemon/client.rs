//! Asking a daemon that runs, by its socket or its address.
use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use axum::body::{self, Body};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::local_socket::DEFAULT_PATH;
use crate::{
    model::advice::{Diagnosis, Question},
    web::server::TLS_ONLY,
};

/// How long an answer may take: a little more than the daemon allows itself.
const PATIENCE: Duration = Duration::from_secs(12);
/// The longest answer that is read, in bytes: thousands of verdicts.
const LONGEST_ANSWER: usize = 64 << 20;

/// Where a daemon may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Daemon {
    /// Behind a socket in the file system.
    Socket(PathBuf),
    /// On an address, without TLS.
    Address(SocketAddr),
}

impl fmt::Display for Daemon {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(formatter, "{}", path.display()),
            Self::Address(address) => write!(formatter, "{address}"),
        }
    }
}

/// Asks the daemon there; `None` when nobody listens, or when this user may not open the socket.
///
/// # Errors
/// When somebody does, and does not answer as a daemon of this version would.
pub fn ask(daemon: &Daemon, question: Question) -> anyhow::Result<Option<Diagnosis>> {
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

async fn ask_within(daemon: &Daemon, question: Question) -> anyhow::Result<Option<Diagnosis>> {
    let response = match daemon {
        Daemon::Socket(path) => exchange(UnixStream::connect(path).await, daemon, question).await,
        Daemon::Address(address) => exchange(TcpStream::connect(address).await, daemon, question).await,
    };
    let Some(response) = response? else { return Ok(None) };
    let status = response.status();
    let advice = || not_as_expected(daemon);
    let text = body::to_bytes(Body::new(response.into_body()), LONGEST_ANSWER).await.with_context(advice)?;
    if status == StatusCode::OK {
        return serde_json::from_slice(&text).map(Some).with_context(advice);
    }
    let text = String::from_utf8_lossy(&text);
    let reason = text.lines().next().unwrap_or_default();
    let remedy = format!(
        "let it ask by the daemon's socket instead, as root or in the daemon's group: {DEFAULT_PATH}, or what \
         --socket names"
    );
    match status {
        StatusCode::UNAUTHORIZED => {
            bail!("the daemon on {daemon} wants a password, and doctor has none: {remedy}")
        }
        StatusCode::BAD_REQUEST if reason == TLS_ONLY => {
            bail!("the daemon on {daemon} speaks HTTPS only, and doctor does not: {remedy}")
        }
        _ => bail!("{}: {status}: {reason}", advice()),
    }
}

fn not_as_expected(daemon: &Daemon) -> String {
    format!("{daemon} does not answer as tcp-backlog-probe of this version would")
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    connected: io::Result<S>,
    daemon: &Daemon,
    question: Question,
) -> anyhow::Result<Option<Response<Incoming>>> {
    let is_socket = matches!(daemon, Daemon::Socket(_));
    match connected {
        Ok(stream) => {
            let asked = request(stream, daemon, question).await;
            asked.map(Some).with_context(|| not_as_expected(daemon))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(None),
        Err(error)
            if is_socket
                && matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) =>
        {
            Ok(None)
        }
        Err(error) => bail!("the daemon on {daemon} cannot be reached: {error}"),
    }
}

async fn request<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    daemon: &Daemon,
    question: Question,
) -> anyhow::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer; what goes wrong, the answer tells.
    tokio::spawn(connection);
    let port = question.port.map(|port| format!("&port={port}")).unwrap_or_default();
    let path = format!("/api/v1/advice?since={}{port}", question.seconds);
    let host = match daemon {
        Daemon::Socket(_) => "localhost".to_owned(),
        Daemon::Address(address) => address.to_string(),
    };
    let request = Request::get(path).header(HOST, host).body(Body::empty())?;
    Ok(sender.send_request(request).await?)
}
