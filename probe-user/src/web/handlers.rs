//! One function per path.
use std::{io, sync::Arc, time::Duration};

use axum::{
    extract::{Query, State, rejection::QueryRejection},
    http::{
        HeaderMap, HeaderValue, StatusCode, Uri,
        header::{CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY},
    },
    response::{Html, IntoResponse, Response},
};
use serde::Deserialize;
use tokio::{task::spawn_blocking, time::timeout};

use super::{
    Site,
    encoding::{Encoding, Packer},
};
use crate::{
    model::{Model, advice::Question},
    render::{doctor, json, prometheus},
};

/// How long a request waits for its reading: a little less than Prometheus' default
/// `scrape_timeout` of 10 s, so that the scraper is told why instead of hanging up first.
const PATIENCE: Duration = Duration::from_secs(9);

pub(super) async fn metrics(State(site): State<Site>, headers: HeaderMap) -> Response {
    let build = Arc::clone(&site.build);
    made(&site, &headers, prometheus::CONTENT_TYPE, move |model, out| prometheus::write(model, &build, out))
        .await
}

pub(super) async fn snapshot(State(site): State<Site>, headers: HeaderMap) -> Response {
    let build = Arc::clone(&site.build);
    made(&site, &headers, "application/json", move |model, out| json::write(model, &build, out)).await
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
    headers: HeaderMap,
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
    made(&site, &headers, "application/json", move |model, out| {
        doctor::write_json(&crate::advice::diagnose(model, question), out)
    })
    .await
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

/// Nothing but links: no script, no style, in nobody's frame.
const CONTENT_SECURITY_POLICY_OF_LINKS: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

pub(super) async fn landing_page(State(site): State<Site>) -> Response {
    let version = &site.build.version;
    let page = Html(format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <title>tcp-backlog-probe</title>\n<h1>tcp-backlog-probe {version}</h1>\n\
         <p>Counts what every listening TCP socket loses, and says why.</p>\n<ul>\n\
         <li><a href=\"/metrics\">Metrics</a> for Prometheus</li>\n\
         <li><a href=\"/api/v1/snapshot\">Snapshot</a>, everything as JSON</li>\n\
         <li><a href=\"/api/v1/advice\">Advice</a>, what is wrong and what cures it, as JSON</li>\n\
         <li><a href=\"/readyz\">Readiness</a></li>\n\
         <li><a href=\"/healthz\">Health</a></li>\n</ul>\n</html>\n"
    ));
    ([(CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_OF_LINKS)], page).into_response()
}

pub(super) async fn not_found(uri: Uri) -> Response {
    line(StatusCode::NOT_FOUND, &format!("nothing is at {}", uri.path()))
}

pub(super) async fn method_not_allowed() -> Response {
    line(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered")
}

/// The answer that a renderer writes, in its turn and on a thread where it holds nobody up.
async fn made(
    site: &Site,
    headers: &HeaderMap,
    content_type: &'static str,
    write: impl FnOnce(&Model, &mut Packer) -> io::Result<()> + Send + 'static,
) -> Response {
    let encoding = Encoding::wanted_by(headers);
    let in_turn = async {
        // It is never closed, so this is no error.
        let turn = Arc::clone(&site.turns).acquire_owned().await.ok();
        let model = site.source.snapshot().await.map_err(Refusal::NotNow)?;
        let written = spawn_blocking(move || {
            let _turn = turn;
            let mut packer = Packer::new(encoding);
            write(&model, &mut packer)?;
            packer.finish()
        });
        written.await.map_err(io::Error::other).flatten().map_err(|error| Refusal::Defect(error.to_string()))
    };
    let made = timeout(PATIENCE, in_turn).await.unwrap_or_else(|_| {
        let reason = format!("reading took longer than {} s; it is still under way", PATIENCE.as_secs());
        Err(Refusal::NotNow(reason))
    });
    match made {
        Ok((body, encoding)) => {
            let mut answer = ([(CONTENT_TYPE, content_type)], body).into_response();
            answer.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
            if encoding == Encoding::Gzip {
                answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            }
            answer
        }
        Err(Refusal::NotNow(reason)) => line(StatusCode::SERVICE_UNAVAILABLE, &reason),
        Err(Refusal::Defect(reason)) => line(StatusCode::INTERNAL_SERVER_ERROR, &reason),
    }
}

/// Why there is no answer.
enum Refusal {
    NotNow(String),
    Defect(String),
}

/// An answer of one line of plain text.
pub(super) fn line(status: StatusCode, text: &str) -> Response {
    (status, format!("{text}\n")).into_response()
}
