//! The HTTP server from its first to its last connection.
use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc, time::Duration};

use anyhow::{Context, anyhow, bail};
use axum::serve::Listener;
use tokio::{net::TcpListener, sync::oneshot, time::timeout};
use tracing::{info, warn};

use super::Collector;
use crate::{
    render::BuildInfo,
    web::{
        self,
        limits::{LimitedListener, Limits},
    },
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
    listener: LimitedListener,
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

    /// Answers on a socket that the service manager listens on.
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
        socket.set_nonblocking(true).context("the service manager's socket cannot be used")?;
        let listener =
            TcpListener::from_std(socket).context("the service manager's socket cannot be used")?;
        Ok(Self::on(listener))
    }

    fn on(listener: TcpListener) -> Self {
        Self { listener: LimitedListener::new(listener, Limits::default()), grace: GRACE }
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
        info!(address = %self.local_addr()?, "listening");
        let collector_ended = collector.ended();
        let saved = collector.ended();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = axum::serve(self.listener, web::router(Arc::new(collector), build))
            .with_graceful_shutdown(async { stopped.await.unwrap_or_default() });
        let mut server = Box::pin(server.into_future());
        let defect = tokio::select! {
            () = shutdown => false,
            () = collector_ended => true,
            ended = server.as_mut() => {
                ended.context("the HTTP server failed")?;
                bail!("the HTTP server ended of itself");
            }
        };
        drop(stop);
        match timeout(self.grace, server.as_mut()).await {
            Ok(ended) => ended.context("the HTTP server failed")?,
            Err(_) => warn!("answers were still under way after {:?}", self.grace),
        }
        // Nobody is left to ask: the collector's thread ends, and saves what it has learnt.
        drop(server);
        if timeout(self.grace, saved).await.is_err() {
            warn!("a reading is still under way after {:?}; what was learnt last is not saved", self.grace);
        }
        if defect {
            bail!("the collector has ended; nothing is measured any more");
        }
        info!("stopped");
        Ok(())
    }
}

#[cfg(test)]
mod tests;
