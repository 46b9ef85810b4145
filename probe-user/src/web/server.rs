//! From an accepted connection to its end: place, TLS, requests.
//!
//! Every connection is a task, and every request is answered within it. A panic in a handler becomes a 500, one
//! elsewhere ends its connection only; the task gives its place back either way.
use std::{
    convert::Infallible, io, panic::AssertUnwindSafe, pin::pin, sync::Arc, task::Poll, time::Duration,
};

use axum::{
    Router,
    body::Body,
    http::{HeaderValue, Request, Response, StatusCode, header},
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::JoinSet,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;

use super::{
    access::{Access, SharedAccess},
    connection::{Connection, Seat},
    handlers::line,
    limits::{LONGEST_HEAD, LONGEST_URI, Limits, MOST_HEADERS},
    places::{Client, Places},
};

/// Where connections come from.
pub(crate) trait Listener: Send + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection.
    fn next(&self) -> impl Future<Output = io::Result<(Self::Stream, Client)>> + Send;

    /// Whether the client has begun to speak HTTP without TLS.
    fn is_plain(stream: &Self::Stream) -> impl Future<Output = bool> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn next(&self) -> io::Result<(TcpStream, Client)> {
        let (stream, peer) = self.accept().await?;
        // An answer is one write or few: waiting to fill a segment only delays its end. That the
        // option cannot be set on a connection that is already gone does not matter.
        let _ = stream.set_nodelay(true);
        Ok((stream, Client::at(peer.ip())))
    }

    async fn is_plain(stream: &TcpStream) -> bool {
        let mut first = [0];
        // TLS begins with a handshake record, 22.
        stream.peek(&mut first).await.is_ok_and(|length| length == 1 && first[0].is_ascii_uppercase())
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;

    async fn next(&self) -> io::Result<(UnixStream, Client)> {
        let (stream, _) = self.accept().await?;
        Ok((stream, Client::default()))
    }

    async fn is_plain(_: &UnixStream) -> bool {
        true
    }
}

/// What all connections of a listener share.
struct Host {
    router: Router,
    access: SharedAccess,
}

/// Answers until `stop` changes or its sender is gone, then until the answers under way are finished.
/// Connections end with the future at the latest.
pub(crate) async fn serve<L: Listener>(
    listener: L,
    router: Router,
    access: SharedAccess,
    limits: Limits,
    mut stop: watch::Receiver<()>,
) {
    let host = Arc::new(Host { router, access });
    let places = Places::new(limits.connections);
    let mut connections = JoinSet::new();
    let stopped = stop.clone();
    let accepting = async {
        loop {
            let (stream, client) = next(&listener).await;
            let place = places.take(client).await;
            let seat = Seat::new(place, limits);
            connections.spawn(attend::<L>(stream, seat, Arc::clone(&host), stopped.clone()));
            while connections.try_join_next().is_some() {}
        }
    };
    tokio::select! {
        () = accepting => {}
        _ = stop.changed() => {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn next<L: Listener>(listener: &L) -> (L::Stream, Client) {
    loop {
        match listener.next().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                // Out of descriptors, most likely: wait for some to be closed.
                tracing::warn!(%error, "cannot accept a connection");
                sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// One connection until its end, or until it has to make room.
async fn attend<L: Listener>(
    stream: L::Stream,
    seat: Arc<Seat>,
    host: Arc<Host>,
    mut stop: watch::Receiver<()>,
) {
    let stopped_before_it_asked = {
        let (seat, mut stop) = (Arc::clone(&seat), stop.clone());
        async move {
            let _ = stop.changed().await;
            if !seat.is_asking() {
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = seat.place.given_up() => tracing::debug!("a connection is given up for another one"),
        () = seat.overdue() => tracing::debug!("a client took too long"),
        () = stopped_before_it_asked => {}
        () = welcome::<L>(stream, &seat, &host, &mut stop) => {}
    }
}

async fn welcome<L: Listener>(
    stream: L::Stream,
    seat: &Arc<Seat>,
    host: &Arc<Host>,
    stop: &mut watch::Receiver<()>,
) {
    let mut replaced = host.access.subscribe();
    let access = Arc::clone(&replaced.borrow_and_update());
    let Some(config) = access.tls() else {
        return converse(Connection::new(stream, Arc::clone(seat)), seat, host, stop, &mut replaced).await;
    };
    let is_plain = L::is_plain(&stream).await;
    let mut connection = Connection::new(stream, Arc::clone(seat));
    if is_plain {
        return refuse_plain(&mut connection).await;
    }
    match TlsAcceptor::from(Arc::clone(config)).accept(connection).await {
        Ok(connection) => converse(connection, seat, host, stop, &mut replaced).await,
        Err(error) => tracing::debug!(%error, "a TLS handshake failed"),
    }
}

/// What a client is told that speaks HTTP where TLS is spoken.
pub const TLS_ONLY: &str = "only HTTPS is spoken here";

async fn refuse_plain<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut S) {
    let length = TLS_ONLY.len() + 1;
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{TLS_ONLY}\n"
    );
    // Whether a client that made a mistake hears of it is its own business.
    let _ = connection.write_all(answer.as_bytes()).await;
    let _ = connection.shutdown().await;
}

/// Requests and answers in turn.
async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    connection: S,
    seat: &Arc<Seat>,
    host: &Arc<Host>,
    stop: &mut watch::Receiver<()>,
    replaced: &mut watch::Receiver<Arc<Access>>,
) {
    let service = service_fn(|request| answer(request, Arc::clone(host), Arc::clone(seat)));
    let connection = http1::Builder::new()
        .max_headers(MOST_HEADERS)
        .max_buf_size(LONGEST_HEAD)
        .serve_connection(TokioIo::new(connection), service);
    let mut connection = pin!(connection);
    let mut ending = false;
    loop {
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            _ = stop.changed(), if !ending => { ending = true; connection.as_mut().graceful_shutdown(); continue }
            _ = replaced.changed(), if !ending => { ending = true; connection.as_mut().graceful_shutdown(); continue }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a connection ended with an error");
        }
        return;
    }
}

async fn answer(
    request: Request<Incoming>,
    host: Arc<Host>,
    seat: Arc<Seat>,
) -> Result<Response<Body>, Infallible> {
    let access = host.access.current();
    // Until the client is known, its connection may be given up for another one.
    let admitted = access.admits(request.headers()).await;
    seat.answering();
    let mut response = if !admitted {
        let mut refusal = line(StatusCode::UNAUTHORIZED, "a user's name and password are needed");
        let challenge = HeaderValue::from_static("Basic realm=\"tcp-backlog-probe\", charset=\"UTF-8\"");
        refusal.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        refusal
    } else if request.uri().path_and_query().is_some_and(|uri| uri.as_str().len() > LONGEST_URI) {
        line(StatusCode::URI_TOO_LONG, &format!("a path and query of more than {LONGEST_URI} bytes"))
    } else {
        unpanicked(TowerToHyperService::new(host.router.clone()).call(request.map(Body::new))).await
    };
    access.add_headers(response.headers_mut());
    seat.answered();
    Ok(response)
}

/// A panic, which the panic hook has reported, becomes an answer.
async fn unpanicked(answer: impl Future<Output = Result<Response<Body>, Infallible>>) -> Response<Body> {
    let mut answer = pin!(answer);
    let caught = std::future::poll_fn(|context| {
        // What panicked is dropped and never looked at again.
        match std::panic::catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(Ok(response))) => Poll::Ready(Some(response)),
            Err(_) => Poll::Ready(None),
        }
    });
    let failed = || line(StatusCode::INTERNAL_SERVER_ERROR, "a defect: this answer could not be made");
    caught.await.unwrap_or_else(failed)
}
