//! The HTTP side: what is known, for Prometheus, for scripts and for a browser.
//!
//! | path | answer |
//! | --- | --- |
//! | `/metrics` | Prometheus' text format |
//! | `/api/v1/snapshot` | everything as JSON |
//! | `/api/v1/advice` | what is wrong, as JSON; `since=SECONDS`, `port=NUMBER` |
//! | `/healthz` | 200 while the process lives |
//! | `/readyz` | 200 once there is something to serve, else 503 and why |
//! | `/` | a page of links |
//!
//! Read-only, without state: each answer is made from a model that was read after the request
//! came. Where it comes from is [`SnapshotSource`]'s business.
mod handlers;
pub mod limits;

use std::{pin::Pin, sync::Arc};

use axum::{Router, routing::get};

use crate::{model::Model, render::BuildInfo};

/// The port to listen on by default.
///
/// Prometheus' wiki page "Default port allocations" is the registry of exporters' ports. Its range
/// 9100 to 9999 is fully allocated and it goes on from 10000; this number is well above those known
/// to be taken. 511 is the backlog that nginx and Redis ask for.
pub const DEFAULT_PORT: u16 = 10511;

/// A model to come.
pub type SnapshotFuture<'a> = Pin<Box<dyn Future<Output = Result<Arc<Model>, String>> + Send + 'a>>;

/// Where the answers come from.
pub trait SnapshotSource: Send + Sync + 'static {
    /// A model that was read after this call, or in one line why there is none.
    fn snapshot(&self) -> SnapshotFuture<'_>;

    /// Whether snapshots can be expected to succeed.
    ///
    /// # Errors
    /// In one line what is still missing.
    fn ready(&self) -> Result<(), String>;
}

/// What every handler needs.
#[derive(Clone)]
struct Site {
    source: Arc<dyn SnapshotSource>,
    build: Arc<BuildInfo>,
}

/// Every path. `HEAD` is answered like `GET`, without the body.
pub fn router(source: Arc<dyn SnapshotSource>, build: BuildInfo) -> Router {
    Router::new()
        .route("/", get(handlers::landing_page))
        .route("/metrics", get(handlers::metrics))
        .route("/api/v1/snapshot", get(handlers::snapshot))
        .route("/api/v1/advice", get(handlers::advice))
        .route("/healthz", get(handlers::health))
        .route("/readyz", get(handlers::readiness))
        .fallback(handlers::not_found)
        .method_not_allowed_fallback(handlers::method_not_allowed)
        .with_state(Site { source, build: Arc::new(build) })
}

#[cfg(test)]
mod tests;
