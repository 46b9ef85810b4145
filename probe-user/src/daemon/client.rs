//! Asking a daemon that runs, by its socket or its address.
use std::{fmt, io, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use axum::body::{self, Body};
use hyper::{Request, Response, StatusCode, body::Incoming, client::conn::http1, header::HOST};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::local_socket::DEFAULT_PATH;
use crate::{
    model::{
        advice::{Diagnosis, Question},
        audit::report::{AskedDaemon, AuditReport, AuditedModel},
    },
    render::json::{SNAPSHOT_VERSION, Snapshot},
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

/// What comes of asking.
pub enum Answer<T> {
    /// This.
    Given(T),
    /// Nobody listens there.
    Nobody,
    /// This user may not open the socket.
    Forbidden,
}

/// Asks the daemon there what is wrong; `None` when nobody listens, or when this user may not open the socket.
///
/// # Errors
/// When somebody does, and does not answer as a daemon of this version would.
pub fn ask(daemon: &Daemon, question: Question) -> anyhow::Result<Option<Diagnosis>> {
    let port = question.port.map(|port| format!("&port={port}")).unwrap_or_default();
    match get(daemon, &format!("/api/v1/advice?since={}{port}", question.seconds))? {
        Answer::Given(diagnosis) => Ok(Some(diagnosis)),
        Answer::Nobody | Answer::Forbidden => Ok(None),
    }
}

/// Asks the daemon there what its audit has found since it began to count.
///
/// # Errors
/// When somebody listens, and does not answer as a daemon of this version would.
pub fn audit(daemon: &Daemon) -> anyhow::Result<Answer<AuditReport>> {
    let snapshot: Snapshot<AuditedModel> = match get(daemon, "/api/v1/snapshot")? {
        Answer::Given(snapshot) => snapshot,
        Answer::Nobody => return Ok(Answer::Nobody),
        Answer::Forbidden => return Ok(Answer::Forbidden),
    };
    if snapshot.version != SNAPSHOT_VERSION {
        bail!("{}: its snapshot has version {}", not_as_expected(daemon), snapshot.version);
    }
    let asked = AskedDaemon { address: daemon.to_string(), version: snapshot.build.version };
    Ok(Answer::Given(AuditReport::of_daemon(asked, &snapshot.model)))
}

fn get<T: DeserializeOwned>(daemon: &Daemon, path: &str) -> anyhow::Result<Answer<T>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        match timeout(PATIENCE, get_within(daemon, path)).await {
            Ok(answer) => answer,
            Err(_) => bail!("the daemon on {daemon} has not answered within {} s", PATIENCE.as_secs()),
        }
    })
}

async fn get_within<T: DeserializeOwned>(daemon: &Daemon, path: &str) -> anyhow::Result<Answer<T>> {
    let response = match daemon {
        Daemon::Socket(path_of_socket) => {
            exchange(UnixStream::connect(path_of_socket).await, daemon, path).await
        }
        Daemon::Address(address) => exchange(TcpStream::connect(address).await, daemon, path).await,
    };
    let response = match response? {
        Answer::Given(response) => response,
        Answer::Nobody => return Ok(Answer::Nobody),
        Answer::Forbidden => return Ok(Answer::Forbidden),
    };
    let status = response.status();
    let unexpected = || not_as_expected(daemon);
    let text =
        body::to_bytes(Body::new(response.into_body()), LONGEST_ANSWER).await.with_context(unexpected)?;
    if status == StatusCode::OK {
        return serde_json::from_slice(&text).map(Answer::Given).with_context(unexpected);
    }
    let text = String::from_utf8_lossy(&text);
    let reason = text.lines().next().unwrap_or_default();
    let remedy = format!(
        "let it be asked by its socket instead, as root or in the daemon's group: {DEFAULT_PATH}, or what --socket names"
    );
    match status {
        StatusCode::UNAUTHORIZED => {
            bail!("the daemon on {daemon} wants a password, and this command has none: {remedy}")
        }
        StatusCode::BAD_REQUEST if reason == TLS_ONLY => {
            bail!("the daemon on {daemon} speaks HTTPS only, and this command does not: {remedy}")
        }
        _ => bail!("{}: {status}: {reason}", unexpected()),
    }
}

fn not_as_expected(daemon: &Daemon) -> String {
    format!("{daemon} does not answer as tcp-backlog-probe of this version would")
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    connected: io::Result<S>,
    daemon: &Daemon,
    path: &str,
) -> anyhow::Result<Answer<Response<Incoming>>> {
    let is_socket = matches!(daemon, Daemon::Socket(_));
    match connected {
        Ok(stream) => {
            let asked = request(stream, daemon, path).await;
            asked.map(Answer::Given).with_context(|| not_as_expected(daemon))
        }
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Answer::Nobody),
        Err(error) if is_socket && error.kind() == io::ErrorKind::NotFound => Ok(Answer::Nobody),
        Err(error) if is_socket && error.kind() == io::ErrorKind::PermissionDenied => Ok(Answer::Forbidden),
        Err(error) => bail!("the daemon on {daemon} cannot be reached: {error}"),
    }
}

async fn request<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    daemon: &Daemon,
    path: &str,
) -> anyhow::Result<Response<Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the answer; what goes wrong, the answer tells.
    tokio::spawn(connection);
    let host = match daemon {
        Daemon::Socket(_) => "localhost".to_owned(),
        Daemon::Address(address) => address.to_string(),
    };
    let request = Request::get(path).header(HOST, host).body(Body::empty())?;
    Ok(sender.send_request(request).await?)
}
