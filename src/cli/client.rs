//! How `status`, `pause` and `resume` talk to a running daemon.

use std::error::Error;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use super::table::printable;

/// Where the daemon is.
#[derive(Clone, Debug, clap::Args)]
#[group(skip)]
pub(super) struct Daemon {
    /// The address of the running daemon.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9911")]
    pub(super) url: String,
}

/// The daemon answers on this machine; what takes longer hangs.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Above the daemon's own deadline for a request, so that its answer is seen.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What to say when an answer is not of the shape that this version knows.
pub(super) const NOT_UNDERSTOOD: &str = "the daemon's answer is not understood: is it another version?";

#[derive(Deserialize)]
struct Problem {
    detail: String,
}

impl Daemon {
    /// A request to a path of the API.
    pub(super) fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let url = self.endpoint(path)?;
        // It fails only when a provider is installed already, which is as good.
        rustls::crypto::ring::default_provider().install_default().ok();
        let client = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .context("cannot set up an HTTP client")?;
        Ok(client.request(method, url))
    }

    fn endpoint(&self, path: &str) -> anyhow::Result<Url> {
        let help = "write the daemon's address with its scheme, as in --url http://127.0.0.1:9911";
        let base = Url::parse(&self.url).with_context(|| format!("--url {} is no URL: {help}", self.url))?;
        if !matches!(base.scheme(), "http" | "https") {
            bail!("--url {} is not http or https: {help}", self.url);
        }
        format!("{}/{path}", self.url.trim_end_matches('/')).parse().with_context(|| format!("--url {}", self.url))
    }

    /// The answer, when it is a success.
    pub(super) async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let text = response.text().await.unwrap_or_default();
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => bail!("{}", printable(&problem.detail)),
            Err(_) => bail!("{} answered {status}, and not as reaperd does: {}", self.url, hint(status)),
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let url = &self.url;
        if error.is_timeout() {
            return anyhow!("{url} does not answer in time: is that the daemon, and is it overloaded or stopped?");
        }
        // reqwest's own sentence only repeats the URL; the cause is at the end of the chain.
        let mut cause: &dyn Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        anyhow!(
            "cannot reach reaperd at {url}: {cause}. Is it running there? Its listen address is web.listen_address in \
             its config, or --web.listen-address; name another one with --url"
        )
    }
}

fn hint(status: StatusCode) -> &'static str {
    if status == StatusCode::NOT_FOUND {
        "is another program listening there, or a path missing? See --url"
    } else {
        "is another program listening there? See --url"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_may_have_a_path_and_must_have_a_scheme() {
        let endpoint = |url: &str| Daemon { url: url.to_owned() }.endpoint("api/v1/status").map(|url| url.to_string());
        assert_eq!(endpoint("http://127.0.0.1:9911").unwrap(), "http://127.0.0.1:9911/api/v1/status");
        assert_eq!(endpoint("https://ops.example/reaperd/").unwrap(), "https://ops.example/reaperd/api/v1/status");
        for url in ["127.0.0.1:9911", "localhost:9911", "", "ftp://x", "http://"] {
            let error = format!("{:#}", endpoint(url).unwrap_err());
            assert!(error.contains("--url http://127.0.0.1:9911"), "{error}");
        }
    }

    async fn ask(daemon: &Daemon, path: &str) -> Result<String, String> {
        let answer = async {
            let request = daemon.request(Method::GET, path)?;
            anyhow::Ok(daemon.send(request).await?.text().await?)
        };
        answer.await.map_err(|error: anyhow::Error| format!("{error:#}"))
    }

    #[tokio::test]
    async fn what_the_daemon_says_is_what_the_operator_reads() {
        use axum::routing::get;

        let bound = crate::http::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let daemon = Daemon { url: format!("http://{}/", bound.local_addr()) };
        let problem =
            (StatusCode::NOT_FOUND, r#"{"title":"Not Found","status":404,"detail":"there is no target `x`"}"#);
        let router = axum::Router::new()
            .route("/good", get(async || "good"))
            .route("/bad", get(async move || problem))
            .route("/foreign", get(async || (StatusCode::FORBIDDEN, "<html>")));
        let shutdown = tokio_util::sync::CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(bound.serve(router, crate::http::Limits::default(), shutdown.clone()));
        assert_eq!(ask(&daemon, "good").await, Ok("good".to_owned()));
        assert_eq!(ask(&daemon, "bad").await, Err("there is no target `x`".to_owned()));
        let error = ask(&daemon, "foreign").await.unwrap_err();
        assert!(error.contains("403 Forbidden, and not as reaperd does"), "{error}");
        shutdown.cancel();
        tasks.join_next().await.unwrap().unwrap();
        let error = ask(&daemon, "good").await.unwrap_err();
        assert!(error.contains(&format!("cannot reach reaperd at {}: ", daemon.url)), "{error}");
        assert!(error.contains("Connection refused") && error.contains("Is it running there?"), "{error}");
    }
}
