//! One function per path.
use std::{io, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, Uri, header::CONTENT_TYPE},
    response::{Html, IntoResponse, Response},
};
use serde::Deserialize;
use tokio::time::timeout;

use super::Site;
use crate::{
    model::{Model, advice::Question},
    render::{doctor, json, prometheus},
};

/// How long a request waits for its reading: a little less than Prometheus' default
/// `scrape_timeout` of 10 s, so that the scraper is told why instead of hanging up first.
const PATIENCE: Duration = Duration::from_secs(9);

pub(super) async fn metrics(State(site): State<Site>) -> Response {
    match read(&site).await {
        Ok(model) => {
            rendered(prometheus::CONTENT_TYPE, |writer| prometheus::write(&model, &site.build, writer))
        }
        Err(reason) => line(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

pub(super) async fn snapshot(State(site): State<Site>) -> Response {
    match read(&site).await {
        Ok(model) => rendered("application/json", |writer| json::write(&model, &site.build, writer)),
        Err(reason) => line(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

/// What may be asked of the advice.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdviceQuery {
    /// The length of the while, in seconds.
    since: Option<u64>,
    /// Nothing but this port.
    port: Option<u16>,
}

pub(super) async fn advice(
    State(site): State<Site>,
    query: Result<Query<AdviceQuery>, QueryRejection>,
) -> Response {
    let query = match query {
        Ok(Query(query)) => query,
        Err(rejection) => {
            let remedy = "since is a number of seconds, port a number up to 65535";
            return line(StatusCode::BAD_REQUEST, &format!("{}: {remedy}", rejection.body_text()));
        }
    };
    let default = Question::default();
    let question = Question { seconds: query.since.unwrap_or(default.seconds), port: query.port };
    match read(&site).await {
        Ok(model) => rendered("application/json", |writer| {
            doctor::write_json(&crate::advice::diagnose(&model, question), writer)
        }),
        Err(reason) => line(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

pub(super) async fn health() -> Response {
    line(StatusCode::OK, "alive")
}

pub(super) async fn readiness(State(site): State<Site>) -> Response {
    match site.source.ready() {
        Ok(()) => line(StatusCode::OK, "ready"),
        Err(reason) => line(StatusCode::SERVICE_UNAVAILABLE, &reason),
    }
}

pub(super) async fn landing_page(State(site): State<Site>) -> Html<String> {
    let version = &site.build.version;
    Html(format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <title>tcp-backlog-probe</title>\n<h1>tcp-backlog-probe {version}</h1>\n\
         <p>Counts what every listening TCP socket loses, and says why.</p>\n<ul>\n\
         <li><a href=\"/metrics\">Metrics</a> for Prometheus</li>\n\
         <li><a href=\"/api/v1/snapshot\">Snapshot</a>, everything as JSON</li>\n\
         <li><a href=\"/api/v1/advice\">Advice</a>, what is wrong and what cures it, as JSON</li>\n\
         <li><a href=\"/readyz\">Readiness</a></li>\n\
         <li><a href=\"/healthz\">Health</a></li>\n</ul>\n</html>\n"
    ))
}

pub(super) async fn not_found(uri: Uri) -> Response {
    line(StatusCode::NOT_FOUND, &format!("nothing is at {}", uri.path()))
}

pub(super) async fn method_not_allowed() -> Response {
    line(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered")
}

async fn read(site: &Site) -> Result<Arc<Model>, String> {
    timeout(PATIENCE, site.source.snapshot()).await.unwrap_or_else(|_| {
        Err(format!("reading took longer than {} s; it is still under way", PATIENCE.as_secs()))
    })
}

/// The answer that a renderer writes.
fn rendered(content_type: &'static str, write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> Response {
    let mut body = Vec::new();
    match write(&mut body) {
        Ok(()) => ([(CONTENT_TYPE, content_type)], body).into_response(),
        Err(error) => line(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// An answer of one line of plain text.
fn line(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}
