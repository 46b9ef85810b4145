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
    runtime::{Builder, Runtime},
    time::timeout,
};

use super::local_socket::DEFAULT_PATH;
use crate::{
    model::{
        Model,
        advice::{Diagnosis, Question},
        audit::report::{AskedDaemon, AuditReport, AuditedModel},
    },
    render::json::{SNAPSHOT_VERSION, Snapshot},
    web::server::TLS_ONLY,
};

/// How long an answer may take: a little more than the daemon allows itself.
const PATIENCE: Duration = Duration::from_secs(12);
/// The longest answer that is read, in bytes: everything about ten thousand ports.
const LONGEST_ANSWER: usize = 256 << 20;

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

impl<T> Answer<T> {
    fn given(self) -> Option<T> {
        match self {
            Self::Given(answer) => Some(answer),
            Self::Nobody | Self::Forbidden => None,
        }
    }

    fn map<U>(self, understand: impl FnOnce(T) -> anyhow::Result<U>) -> anyhow::Result<Answer<U>> {
        Ok(match self {
            Self::Given(answer) => Answer::Given(understand(answer)?),
            Self::Nobody => Answer::Nobody,
            Self::Forbidden => Answer::Forbidden,
        })
    }
}

/// Asks the daemon there what is wrong; `None` when nobody listens, or when this user may not open the socket.
///
/// # Errors
/// When somebody does, and does not answer as a daemon of this version would.
pub fn ask(daemon: &Daemon, question: Question) -> anyhow::Result<Option<Diagnosis>> {
    let port = question.port.map(|port| format!("&port={port}")).unwrap_or_default();
    let path = format!("/api/v1/advice?since={}{port}", question.seconds);
    Ok(runtime()?.block_on(answer(daemon, &path, "doctor"))?.given())
}

/// Asks the daemon there what its audit has found since it began to count, on behalf of `check`.
///
/// # Errors
/// When somebody listens, and does not answer as a daemon of this version would.
pub fn audit(daemon: &Daemon) -> anyhow::Result<Answer<AuditReport>> {
    let answer = runtime()?.block_on(whole_snapshot::<AuditedModel>(daemon, "check"))?;
    answer.map(|Snapshot { build, model, .. }| {
        let asked = AskedDaemon { address: daemon.to_string(), version: build.version };
        Ok(AuditReport::of_daemon(asked, &model))
    })
}

/// Whether a daemon is there that [`snapshot()`] can ask.
///
/// # Errors
/// As in [`ask()`].
pub fn answers(daemon: &Daemon) -> anyhow::Result<bool> {
    Ok(runtime()?.block_on(snapshot(daemon))?.is_some())
}

fn runtime() -> anyhow::Result<Runtime> {
    Builder::new_current_thread().enable_all().build().context("cannot start the runtime")
}

/// Asks the daemon there for everything that it knows, on behalf of `top`; `None` as in [`ask()`].
///
/// # Errors
/// As in [`ask()`].
pub async fn snapshot(daemon: &Daemon) -> anyhow::Result<Option<Model>> {
    Ok(whole_snapshot::<Model>(daemon, "top").await?.given().map(|snapshot| snapshot.model))
}

async fn whole_snapshot<M: DeserializeOwned>(
    daemon: &Daemon,
    who: &str,
) -> anyhow::Result<Answer<Snapshot<M>>> {
    let answer: Answer<Snapshot<M>> = answer(daemon, "/api/v1/snapshot", who).await?;
    answer.map(|snapshot| match snapshot.version {
        SNAPSHOT_VERSION => Ok(snapshot),
        version => {
            bail!("{}: version {version} of the snapshot, not {SNAPSHOT_VERSION}", not_as_expected(daemon))
        }
    })
}

/// The answer to a path. `who` asks, for the complaints.
async fn answer<T: DeserializeOwned>(daemon: &Daemon, path: &str, who: &str) -> anyhow::Result<Answer<T>> {
    match timeout(PATIENCE, answer_in_time(daemon, path, who)).await {
        Ok(answer) => answer,
        Err(_) => bail!("the daemon on {daemon} has not answered within {} s", PATIENCE.as_secs()),
    }
}

async fn answer_in_time<T: DeserializeOwned>(
    daemon: &Daemon,
    path: &str,
    who: &str,
) -> anyhow::Result<Answer<T>> {
    let response = match daemon {
        Daemon::Socket(file) => exchange(UnixStream::connect(file).await, daemon, path).await,
        Daemon::Address(address) => exchange(TcpStream::connect(address).await, daemon, path).await,
    };
    let response = match response? {
        Answer::Given(response) => response,
        Answer::Nobody => return Ok(Answer::Nobody),
        Answer::Forbidden => return Ok(Answer::Forbidden),
    };
    let status = response.status();
    let advice = || not_as_expected(daemon);
    let text = body::to_bytes(Body::new(response.into_body()), LONGEST_ANSWER).await.with_context(advice)?;
    if status == StatusCode::OK {
        return serde_json::from_slice(&text).map(Answer::Given).with_context(advice);
    }
    let text = String::from_utf8_lossy(&text);
    let reason = text.lines().next().unwrap_or_default();
    let remedy = format!(
        "let it ask by the daemon's socket instead, as root or in the daemon's group: {DEFAULT_PATH}, or what \
         --socket names"
    );
    match status {
        StatusCode::UNAUTHORIZED => {
            bail!("the daemon on {daemon} wants a password, and {who} has none: {remedy}")
        }
        StatusCode::BAD_REQUEST if reason == TLS_ONLY => {
            bail!("the daemon on {daemon} speaks HTTPS only, and {who} does not: {remedy}")
        }
        // It is the daemon, and it says for itself why it cannot answer now.
        StatusCode::SERVICE_UNAVAILABLE => bail!("the daemon on {daemon}: {reason}"),
        _ => bail!("{}: {status}: {reason}", advice()),
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
