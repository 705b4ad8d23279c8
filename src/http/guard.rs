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
        Uri::try_from(origin.as_bytes())
            .is_ok_and(|origin| origin.scheme().is_some() && origin.authority() == Some(host))
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

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::routing::{get, post};
    use tower::ServiceExt;

    use super::*;
    use crate::http::guarded;

    const LISTEN: &str = "127.0.0.1:9911";

    fn app(metrics: &Arc<Metrics>) -> Router {
        let routes = Router::new()
            .route("/metrics", get(async || "x 1\n"))
            .route(ops::RELOAD, post(async || "reloaded\n"))
            .route(intake::PATH, post(async || StatusCode::OK))
            .route("/slow", get(async || tokio::time::sleep(Duration::from_secs(60)).await));
        let guard = Guard::new(LISTEN.parse().unwrap(), Duration::from_millis(50), metrics.clone());
        guarded(routes, guard)
    }

    /// An honest request, whose headers are then replaced or, with an empty value, removed.
    fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method.parse().unwrap();
        *request.uri_mut() = path.parse().unwrap();
        request.extensions_mut().insert(ConnectInfo::<SocketAddr>("127.0.0.1:50000".parse().unwrap()));
        let honest = [("host", LISTEN), ("content-type", "application/json")];
        for (name, value) in honest.iter().chain(headers) {
            request.headers_mut().remove(*name);
            if !value.is_empty() {
                request.headers_mut().insert(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
            }
        }
        request
    }

    async fn send(request: Request) -> Response {
        app(&Metrics::new()).oneshot(request).await.unwrap()
    }

    async fn status(request: Request) -> u16 {
        send(request).await.status().as_u16()
    }

    async fn text(response: Response) -> String {
        String::from_utf8(axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn only_our_own_hosts_are_answered() {
        for (host, expected) in [
            (LISTEN, 200),
            ("127.0.0.1", 200),
            ("127.0.0.1:1", 200),
            ("127.9.9.9:9911", 200),
            ("localhost:9911", 200),
            ("LocalHost", 200),
            ("[::1]:9911", 200),
            ("[::ffff:127.0.0.1]", 200),
            ("evil.example:9911", 421),
            ("127.0.0.1.evil.example", 421),
            ("localhost.evil.example", 421),
            ("localhost@evil.example", 421),
            ("evil.example@localhost", 421),
            ("10.0.0.1:9911", 421),
            ("0.0.0.0:9911", 421),
            ("[::]:9911", 421),
            ("local host", 421),
            ("", 421),
        ] {
            assert_eq!(status(request("GET", "/metrics", &[("host", host)])).await, expected, "{host}");
        }
        let mut two = request("GET", "/metrics", &[]);
        two.headers_mut().append(HOST, "evil.example".parse().unwrap());
        assert_eq!(status(two).await, 421);
        assert_eq!(status(request("GET", "http://evil.example/metrics", &[])).await, 421);
        assert_eq!(status(request("GET", "http://localhost/metrics", &[("host", "")])).await, 200);
    }

    #[tokio::test]
    async fn posts_of_other_web_sites_are_refused() {
        for (headers, expected) in [
            (&[("origin", "http://127.0.0.1:9911")][..], 200),
            (&[("origin", "http://127.0.0.1:9911"), ("sec-fetch-site", "same-origin")], 200),
            (&[("sec-fetch-site", "none")], 200),
            (&[("origin", "http://127.0.0.1:3000")], 403),
            (&[("origin", "http://localhost:9911")], 403),
            (&[("origin", "http://evil.example")], 403),
            (&[("origin", "null")], 403),
            (&[("origin", "127.0.0.1:9911")], 403),
            (&[("sec-fetch-site", "cross-site")], 403),
            (&[("sec-fetch-site", "same-site")], 403),
            (&[("origin", "http://127.0.0.1:9911"), ("sec-fetch-site", "cross-site")], 403),
        ] {
            for path in [intake::PATH, ops::RELOAD] {
                assert_eq!(status(request("POST", path, headers)).await, expected, "{path} {headers:?}");
            }
            // Reading is left to the browser, which keeps the answer from other sites.
            assert_eq!(status(request("GET", "/metrics", headers)).await, 200, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn only_this_machine_changes_anything() {
        for (peer, expected) in [
            (Some("127.0.0.1:1"), 200),
            (Some("127.3.2.1:1"), 200),
            (Some("[::1]:1"), 200),
            (Some("[::ffff:127.0.0.1]:1"), 200),
            (Some("10.0.0.1:1"), 403),
            (Some("[::ffff:10.0.0.1]:1"), 403),
            (None, 403),
        ] {
            let set = |mut request: Request| {
                request.extensions_mut().remove::<ConnectInfo<SocketAddr>>();
                if let Some(peer) = peer {
                    request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer.parse().unwrap()));
                }
                request
            };
            assert_eq!(status(set(request("POST", intake::PATH, &[]))).await, expected, "{peer:?}");
            assert_eq!(status(set(request("GET", "/metrics", &[]))).await, 200, "{peer:?}");
        }
        let mut put = request("PUT", "/metrics", &[]);
        put.extensions_mut().remove::<ConnectInfo<SocketAddr>>();
        assert_eq!(status(put).await, 403);
    }

    #[tokio::test]
    async fn posts_are_json_and_reload_may_be_bare() {
        for (path, kind, body, expected) in [
            (intake::PATH, "application/json", "", 200),
            (intake::PATH, "Application/JSON; charset=utf-8", "", 200),
            (intake::PATH, "", "", 415),
            (intake::PATH, "text/plain", "", 415),
            (intake::PATH, "application/jsonp", "", 415),
            (intake::PATH, "application/x-www-form-urlencoded", "", 415),
            (ops::RELOAD, "", "", 200),
            (ops::RELOAD, "application/json", "{}", 200),
            (ops::RELOAD, "", "x", 415),
            (ops::RELOAD, "application/x-www-form-urlencoded", "", 415),
        ] {
            let mut request = request("POST", path, &[("content-type", kind)]);
            if !body.is_empty() {
                *request.body_mut() = Body::from(body);
            }
            assert_eq!(status(request).await, expected, "{path} {kind} {body}");
        }
    }

    #[tokio::test]
    async fn every_failure_has_one_shape_and_every_answer_its_headers() {
        for (method, path, expected) in [
            ("GET", "/nothing/here", 404),
            ("POST", "/metrics", 405),
            ("DELETE", "/metrics", 405),
            ("GET", "/-/reload", 405),
            ("GET", "/slow", 503),
        ] {
            let response = send(request(method, path, &[])).await;
            assert_eq!(response.status(), expected, "{method} {path}");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
            assert_eq!(response.headers()[X_CONTENT_TYPE_OPTIONS], "nosniff");
            assert_eq!(response.headers().contains_key("allow"), expected == 405, "{method} {path}");
            let problem: serde_json::Value = serde_json::from_str(&text(response).await).unwrap();
            assert_eq!(problem["status"], expected);
            assert!(problem["title"].is_string() && problem["detail"].is_string(), "{problem}");
        }
        let response = send(request("HEAD", "/metrics", &[])).await;
        assert_eq!(response.status(), 200);
        assert!(response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap().contains("frame-ancestors 'none'"));
        assert_eq!(text(response).await, "");
    }

    #[tokio::test]
    async fn answers_of_the_webhook_are_counted_by_code() {
        let metrics = Metrics::new();
        for headers in [&[][..], &[("host", "evil.example")], &[("origin", "null")], &[("content-type", "")]] {
            app(&metrics).oneshot(request("POST", intake::PATH, headers)).await.unwrap();
        }
        app(&metrics).oneshot(request("POST", ops::RELOAD, &[])).await.unwrap();
        for code in ["200", "421", "403", "415"] {
            assert_eq!(metrics.webhook_requests_total.with_label_values(&[code]).get(), 1, "{code}");
        }
    }
}
