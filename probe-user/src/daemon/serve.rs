//! The HTTP server from its first to its last connection.
use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    time::timeout,
};
use tracing::{info, warn};

use super::{Collector, local_socket::LocalSocket};
use crate::{
    render::BuildInfo,
    web::{self, SnapshotSource, access::SharedAccess, limits::Limits},
};

/// How long answers under way may take once the daemon was asked to stop. systemd waits 90 s
/// before it kills; an operator at a terminal does not.
const GRACE: Duration = Duration::from_secs(5);

/// What `FileDescriptorName=` of a socket unit has to be.
pub const INHERITED_NAME: &str = "http";

/// Takes the address and answers until `shutdown`: [`Server::bind`] and [`Server::run`].
///
/// # Errors
/// Those of the two.
pub async fn serve(
    listen: SocketAddr,
    collector: Collector,
    build: BuildInfo,
    shutdown: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    Server::bind(listen).await?.run(collector, build, shutdown).await
}

/// A server that has its address, but no connection yet.
///
/// To bind is the first thing to do at start: it is what fails most often, and it is better to
/// find out before hooks are attached.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local: Option<LocalSocket>,
    access: SharedAccess,
    grace: Duration,
}

impl Server {
    /// Takes the address.
    ///
    /// # Errors
    /// In one line: which address cannot be had, why, and what to do.
    pub async fn bind(listen: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(listen).await.map_err(|error| {
            anyhow!("cannot listen on {listen}: {error}; choose another address with --listen")
        })?;
        Ok(Self::on(listener))
    }

    /// Answers on a socket that the service manager listens on. Call it within the runtime.
    ///
    /// # Errors
    /// In one line, when it is no such socket.
    pub fn inherit(socket: OwnedFd) -> anyhow::Result<Self> {
        let is_listening = rustix::net::sockopt::socket_acceptconn(&socket).unwrap_or(false);
        let socket = std::net::TcpListener::from(socket);
        // A Unix socket listens, too, but has no such address.
        if !is_listening || socket.local_addr().is_err() {
            bail!("the socket `{INHERITED_NAME}` of the service manager does not listen on a TCP port");
        }
        let usable = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket));
        Ok(Self::on(usable.context("the service manager's socket cannot be used")?))
    }

    fn on(listener: TcpListener) -> Self {
        Self { listener, local: None, access: SharedAccess::open(), grace: GRACE }
    }

    /// Asks everybody who comes by the network for what this wants; a clone of it can be replaced while the server runs.
    #[must_use]
    pub fn with_access(self, access: SharedAccess) -> Self {
        Self { access, ..self }
    }

    /// Answers on this socket too, whoever may open it.
    #[must_use]
    pub fn with_local_socket(self, local: Option<LocalSocket>) -> Self {
        Self { local, ..self }
    }

    /// The address, with the port that the kernel chose where port 0 was asked for.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn local_addr(&self) -> anyhow::Result<SocketAddr> {
        self.listener.local_addr().context("cannot tell the address that the server listens on")
    }

    /// Answers until `shutdown`, then lets the answers under way be finished, for 5 seconds at
    /// most; what is still open then ends with the runtime.
    ///
    /// # Errors
    /// When the collector ends of itself: a daemon that measures nothing shall not look alive.
    pub async fn run(
        self,
        collector: Collector,
        build: BuildInfo,
        shutdown: impl Future<Output = ()>,
    ) -> anyhow::Result<()> {
        let access = self.access.current();
        info!(address = %self.local_addr()?, tls = access.has_tls(), passwords = access.has_users(), "listening");
        let collector_ended = collector.ended();
        let saved = collector.ended();
        let grace = self.grace;
        let (stop, stopped) = watch::channel(());
        let mut server = Box::pin(self.answer(Arc::new(collector), build, stopped)?);
        let defect = tokio::select! {
            () = shutdown => false,
            () = collector_ended => true,
            () = server.as_mut() => bail!("the HTTP server ended of itself"),
        };
        drop(stop);
        if timeout(grace, server.as_mut()).await.is_err() {
            warn!("answers were still under way after {grace:?}");
        }
        // Nobody is left to ask: the collector's thread ends, and saves what it has learnt.
        drop(server);
        if timeout(grace, saved).await.is_err() {
            warn!("a reading is still under way after {grace:?}; what was learnt last is not saved");
        }
        if defect {
            bail!("the collector has ended; nothing is measured any more");
        }
        info!("stopped");
        Ok(())
    }

    /// On both sockets. Each has places and turns of its own, so neither keeps the other from answering.
    fn answer(
        self,
        source: Arc<dyn SnapshotSource>,
        build: BuildInfo,
        stop: watch::Receiver<()>,
    ) -> anyhow::Result<impl Future<Output = ()>> {
        let limits = Limits::default();
        let local = match self.local.map(LocalSocket::into_parts) {
            Some((listener, file)) => {
                Some((UnixListener::from_std(listener).context("the local socket cannot be used")?, file))
            }
            None => None,
        };
        let router = web::router(Arc::clone(&source), build.clone());
        let public = web::server::serve(self.listener, router, self.access, limits, stop.clone());
        let private = async move {
            let Some((listener, _file)) = local else { return };
            let router = web::router(source, build);
            web::server::serve(listener, router, SharedAccess::open(), limits, stop).await;
        };
        Ok(async {
            tokio::join!(public, private);
        })
    }
}

#[cfg(test)]
mod tests;
