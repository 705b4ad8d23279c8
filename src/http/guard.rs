//! What holds for every request, as one function a stranger can check.
//!
//! 1. The `Host` must be loopback or the listen address (421): a web page that reaches us under a name of its own by
//!    DNS rebinding shows that name.
//! 2. What changes something comes from a loopback peer (403).
//! 3. It comes from no web page of another origin, another port of this machine included (403).
//! 4. A POST is `application/json` (415), which a web page cannot send elsewhere without asking. `/-/reload` also takes
//!    no body and no type, as Prometheus does.
//!
//! Then the request runs within its deadline, the answer gets its security headers, and a failure is logged, here only.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::HttpBody;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST, HeaderName, ORIGIN, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::{intake, ops};
use crate::metrics::Metrics;

/// Scripts, frames and forms are not ours; the landing page has a style of its own.
const CONTENT_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What [`guard`] needs to know.
pub(super) struct Guard {
    listen: IpAddr,
    timeout: Duration,
    metrics: Arc<Metrics>,
}

impl Guard {
    pub(super) fn new(listen: SocketAddr, timeout: Duration, metrics: Arc<Metrics>) -> Self {
        Self { listen: listen.ip().to_canonical(), timeout, metrics }
    }

    /// Why a request is refused before anything is done for it.
    fn check(&self, request: &Request) -> Result<(), Problem> {
        let host = self.host(request)?;
        if request.method().is_safe() {
            return Ok(());
        }
        local_peer(request)?;
        same_origin(request.headers(), &host)?;
        if request.method() == Method::POST { json_content(request) } else { Ok(()) }
    }

    /// The authority that the client asked for.
    fn host(&self, request: &Request) -> Result<Authority, Problem> {
        let refuse = |host: &str| {
            let detail = format_args!(
                "this daemon does not answer as `{host}`: ask for it as localhost, a loopback address or {}",
                self.listen
            );
            Problem::new(StatusCode::MISDIRECTED_REQUEST, detail)
        };
        // An absolute request line and a header, or two headers, could tell different stories: all must be right.
        let line = request.uri().authority().cloned();
        let headers = request.headers().get_all(HOST).iter().map(|value| {
            Authority::try_from(value.as_bytes()).map_err(|_| refuse(&String::from_utf8_lossy(value.as_bytes())))
        });
        let mut found = None;
        for authority in line.into_iter().map(Ok).chain(headers) {
            let authority = authority?;
            if !self.answers_as(&authority) {
                return Err(refuse(authority.as_str()));
            }
            found = Some(authority);
        }
        found.ok_or_else(|| refuse(""))
    }

    fn answers_as(&self, authority: &Authority) -> bool {
        let host = authority.host();
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        !authority.as_str().contains('@')
            && (host.eq_ignore_ascii_case("localhost")
                || host.parse::<IpAddr>().is_ok_and(|address| {
                    let address = address.to_canonical();
                    address.is_loopback() || address == self.listen
                }))
    }
}

fn local_peer(request: &Request) -> Result<(), Problem> {
    match request.extensions().get::<ConnectInfo<SocketAddr>>() {
        Some(ConnectInfo(peer)) if peer.ip().to_canonical().is_loopback() => Ok(()),
        Some(_) | None => Err(Problem::new(
            StatusCode::FORBIDDEN,
            "without authentication, what changes something is answered only to clients on this machine",
        )),
    }
}

fn same_origin(headers: &HeaderMap, host: &Authority) -> Result<(), Problem> {
    let ours = |origin: &HeaderValue| {
        Uri::try_from(origin.as_bytes()).is_ok_and(|origin| origin.scheme().is_some() && origin.authority() == Some(host))
    };
    let fetched_here = |site: &HeaderValue| site == "same-origin" || site == "none";
    if headers.get_all(ORIGIN).iter().all(ours) && headers.get_all(SEC_FETCH_SITE).iter().all(fetched_here) {
        return Ok(());
    }
    Err(Problem::new(StatusCode::FORBIDDEN, "requests that other web sites make are refused"))
}

fn json_content(request: &Request) -> Result<(), Problem> {
    let Some(kind) = request.headers().get(CONTENT_TYPE) else {
        let bare_reload = request.uri().path() == ops::RELOAD && request.body().size_hint().exact() == Some(0);
        return if bare_reload { Ok(()) } else { Err(not_json("nothing")) };
    };
    let kind = String::from_utf8_lossy(kind.as_bytes());
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("application/json") { Ok(()) } else { Err(not_json(&kind)) }
}

fn not_json(found: &str) -> Problem {
    let detail = format_args!("expected the header `content-type: application/json`, found {found}");
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail)
}

/// The one middleware: refuses, limits in time, counts webhook answers, adds headers, logs failures.
pub(super) async fn guard(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let mut response = match guard.check(&request) {
        Err(problem) => problem.into_response(),
        Ok(()) => tokio::time::timeout(guard.timeout, next.run(request)).await.unwrap_or_else(|_| {
            // Not 408 for a slow body: Alertmanager sends again after 5xx only.
            Problem::unavailable(format_args!("the request took longer than {:?}", guard.timeout)).into_response()
        }),
    };
    let status = response.status();
    if path == intake::PATH && method == Method::POST {
        guard.metrics.webhook_requests_total.with_label_values(&[status.as_str()]).inc();
    }
    let worth_a_line = status.is_server_error() || !method.is_safe();
    if let Some(problem) = response.extensions().get::<Problem>().filter(|_| worth_a_line) {
        tracing::warn!(%method, path, status = status.as_u16(), "request failed: {}", problem.detail);
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
