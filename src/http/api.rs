//! The API of people and programs on this machine, and the landing page.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State as Shared};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;

use super::body::json;
use super::problem::Problem;
use super::{State, landing, ops};
use crate::clock::{Clock, UnixMillis};
use crate::engine::handle::HandleError;
use crate::policy::time::{millis, parse_duration};
use crate::store::journal::{Filter, Reader};
use crate::view::journal::{EntryKind, Recorded};
use crate::view::status::{PauseView, RuleView, SessionsView, Status, TargetView};

/// Entries and sessions on a page, unless asked for otherwise.
const PAGE: usize = 100;
/// Entries and sessions on a page, at most.
const MAX_PAGE: usize = 1000;

pub(super) fn routes(state: State) -> Router {
    Router::new()
        .route("/", get(home))
        .route(ops::RELOAD, post(reload))
        .route("/api/v1/status", get(status))
        .route("/api/v1/targets", get(targets))
        .route("/api/v1/targets/{name}/sessions", get(sessions))
        .route("/api/v1/targets/{name}/evaluate", post(evaluate))
        .route("/api/v1/rules", get(rules))
        .route("/api/v1/journal", get(journal))
        .route("/api/v1/pause", post(pause))
        .route("/api/v1/resume", post(resume))
        .with_state(Arc::new(state))
}

async fn home(Shared(state): Shared<Arc<State>>) -> Html<String> {
    Html(landing::page(&state.handle.status()))
}

async fn status(Shared(state): Shared<Arc<State>>) -> Json<Status> {
    Json(state.handle.status())
}

async fn targets(Shared(state): Shared<Arc<State>>) -> Json<Vec<TargetView>> {
    Json(state.handle.targets())
}

async fn rules(Shared(state): Shared<Arc<State>>) -> Json<Vec<RuleView>> {
    Json(state.handle.rules())
}

/// The findings are for the terminal that asked: plain text, a line each.
async fn reload(Shared(state): Shared<Arc<State>>) -> Response {
    match state.handle.reload().await {
        Ok(()) => "reloaded\n".into_response(),
        Err(HandleError::Reload(findings)) => (StatusCode::INTERNAL_SERVER_ERROR, findings + "\n").into_response(),
        Err(error @ (HandleError::NoTarget(_) | HandleError::Store(_) | HandleError::Stopping)) => {
            Problem::from(error).into_response()
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Page {
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

fn page_size(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(PAGE) {
        limit if limit > MAX_PAGE => Err(Problem::bad_request(format_args!("limit is {MAX_PAGE} at most"))),
        limit => Ok(limit),
    }
}

async fn sessions(
    Shared(state): Shared<Arc<State>>,
    target: Result<Path<String>, PathRejection>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Json<SessionsView>, Problem> {
    let (Path(target), Query(page)) = (target?, page?);
    Ok(Json(state.handle.sessions(&target, page.offset, page_size(page.limit)?)?))
}

async fn evaluate(
    Shared(state): Shared<Arc<State>>,
    target: Result<Path<String>, PathRejection>,
) -> Result<StatusCode, Problem> {
    let Path(target) = target?;
    state.handle.evaluate(&target)?;
    Ok(StatusCode::ACCEPTED)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct JournalQuery {
    target: Option<String>,
    rule: Option<String>,
    kind: Option<EntryKind>,
    since: Option<String>,
    limit: Option<usize>,
}

impl JournalQuery {
    fn filter(self, clock: &Clock) -> Result<Filter, Problem> {
        let limit = Some(page_size(self.limit)?);
        let since = self.since.map(|since| parse_since(&since, clock)).transpose()?;
        Ok(Filter {
            target: self.target,
            rule: self.rule,
            kind: self.kind,
            since,
            limit,
            newest: true,
            ..Filter::default()
        })
    }
}

/// How long ago, as `1h30m`, or a time, as RFC 3339 writes it.
fn parse_since(text: &str, clock: &Clock) -> Result<UnixMillis, Problem> {
    if let Ok(ago) = parse_duration(text) {
        return Ok(clock.wall().saturating_sub(millis(ago)));
    }
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        Problem::bad_request(format_args!(
            "since is neither a duration as in 1h30m nor a time as in 2026-01-31T12:00:00Z: {text}"
        ))
    })?;
    Ok(time.as_millisecond())
}

async fn journal(
    Shared(state): Shared<Arc<State>>,
    query: Result<Query<JournalQuery>, QueryRejection>,
) -> Result<Json<Vec<Recorded>>, Problem> {
    let Query(query) = query?;
    let filter = query.filter(&state.clock)?;
    let read = move || Reader::open(&state.storage).and_then(|reader| reader.query(&filter));
    let entries = tokio::task::spawn_blocking(read).await.map_err(Problem::internal)?;
    entries.map(Json).map_err(|error| Problem::internal(format_args!("the journal cannot be read: {error}")))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PauseRequest {
    target: Option<String>,
    reason: String,
    #[serde(rename = "for")]
    lasts: Option<String>,
}

impl PauseRequest {
    fn lasts(&self) -> Result<Option<Duration>, Problem> {
        if self.reason.trim().is_empty() {
            return Err(Problem::bad_request("reason is empty: tell the next operator why nothing is killed"));
        }
        let lasts = self.lasts.as_deref().map(parse_duration).transpose();
        match lasts.map_err(|error| Problem::bad_request(format_args!("for: {error}")))? {
            Some(Duration::ZERO) => {
                Err(Problem::bad_request("for: a pause lasts longer than 0; leave it out for no end"))
            }
            lasts => Ok(lasts),
        }
    }
}

async fn pause(Shared(state): Shared<Arc<State>>, request: Request) -> Result<Json<PauseView>, Problem> {
    let pause: PauseRequest = json(request).await?;
    let lasts = pause.lasts()?;
    Ok(Json(state.handle.pause(pause.target.as_deref(), &pause.reason, lasts).await?))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResumeRequest {
    target: Option<String>,
}

async fn resume(Shared(state): Shared<Arc<State>>, request: Request) -> Result<StatusCode, Problem> {
    let resume: ResumeRequest = json(request).await?;
    state.handle.resume(resume.target.as_deref()).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn query<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Problem> {
        let uri: axum::http::Uri = format!("/?{text}").parse().unwrap();
        Ok(Query::try_from_uri(&uri)?.0)
    }

    #[test]
    fn pages_have_a_default_and_a_limit() {
        let size = |text| query::<Page>(text).and_then(|page| Ok((page.offset, page_size(page.limit)?)));
        assert_eq!(size(""), Ok((0, 100)));
        assert_eq!(size("offset=7&limit=1000"), Ok((7, 1000)));
        for text in ["limit=1001", "limit=-1", "limit=x", "offset=-1", "ofset=1", "limit=99999999999999999999"] {
            assert_eq!(size(text).unwrap_err().status, 400, "{text}");
        }
    }

    #[test]
    fn the_journal_is_filtered_as_asked() {
        let clock = Clock::start();
        let filter = |text| query::<JournalQuery>(text).and_then(|query| query.filter(&clock));
        let found = filter("target=orders&rule=idle&kind=intent&since=1h&limit=5").unwrap();
        assert_eq!((found.target.as_deref(), found.rule.as_deref()), (Some("orders"), Some("idle")));
        assert_eq!((found.kind, found.limit), (Some(EntryKind::Intent), Some(5)));
        let age = clock.wall() - found.since.unwrap();
        assert!((3_600_000..3_660_000).contains(&age), "{age}");
        assert_eq!(filter("since=2026-11-24T07:00:00Z").unwrap().since, Some(1_795_503_600_000));
        assert_eq!(filter("").unwrap().since, None);
        for text in ["kind=murder", "since=yesterday", "limit=1001", "session=7"] {
            assert_eq!(filter(text).unwrap_err().status, 400, "{text}");
        }
    }

    async fn pause(body: &str) -> Result<(Option<String>, Option<Duration>), Problem> {
        let pause: PauseRequest = json(Request::new(Body::from(body.to_owned()))).await?;
        let lasts = pause.lasts()?;
        Ok((pause.target, lasts))
    }

    #[tokio::test]
    async fn a_pause_has_a_reason_and_maybe_an_end() {
        assert_eq!(pause(r#"{"reason":"drill"}"#).await, Ok((None, None)));
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(pause(r#"{"reason":"drill","for":"1h","target":"a"}"#).await, Ok((Some("a".to_owned()), hour)));
        for body in [
            "",
            "{}",
            r#"{"reason":" "}"#,
            r#"{"reason":"drill","for":"0s"}"#,
            r#"{"reason":"drill","for":"soon"}"#,
            r#"{"reason":"drill","for":60}"#,
            r#"{"reason":"drill","targets":"a"}"#,
            r#"{"reason":"drill"} x"#,
        ] {
            assert_eq!(pause(body).await.unwrap_err().status, 400, "{body}");
        }
        let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(64 << 10));
        assert_eq!(pause(&long).await.unwrap_err().status, 413);
    }

    #[test]
    fn what_the_engine_cannot_do_has_its_status() {
        for (error, status) in [
            (HandleError::NoTarget("x".to_owned()), 404),
            (HandleError::Reload("x".to_owned()), 500),
            (HandleError::Store("x".to_owned()), 503),
            (HandleError::Stopping, 503),
        ] {
            assert_eq!(Problem::from(error).status, status);
        }
    }
}
