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
//!
//! `server` is between a listener and these paths: it keeps to the `limits`, and asks `access` who may have an answer.
pub mod access;
mod connection;
mod encoding;
mod handlers;
pub mod limits;
mod places;
pub mod server;

use std::{pin::Pin, sync::Arc};

use axum::{
    Router,
    http::{HeaderValue, header},
    middleware::map_response,
    response::Response,
    routing::get,
};
use tokio::sync::Semaphore;

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
    /// As many answers are made at a time.
    turns: Arc<Semaphore>,
}

/// Every path. `HEAD` is answered like `GET`, without the body.
pub fn router(source: Arc<dyn SnapshotSource>, build: BuildInfo) -> Router {
    let turns = Arc::new(Semaphore::new(limits::ANSWERS_AT_ONCE));
    Router::new()
        .route("/", get(handlers::landing_page))
        .route("/metrics", get(handlers::metrics))
        .route("/api/v1/snapshot", get(handlers::snapshot))
        .route("/api/v1/advice", get(handlers::advice))
        .route("/healthz", get(handlers::health))
        .route("/readyz", get(handlers::readiness))
        .fallback(handlers::not_found)
        .method_not_allowed_fallback(handlers::method_not_allowed)
        .layer(map_response(with_common_headers))
        .with_state(Site { source, build: Arc::new(build), turns })
}

/// What is true of every answer: its type is meant, and it is old at once.
async fn with_common_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
