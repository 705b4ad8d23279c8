//! Ring 2: the HTTP server: metrics, health, the Alertmanager webhook, the API and a landing page.
//!
//! There is no authentication yet, so the daemon serves this machine only: it refuses to start on another address
//! ([`check_exposed`]), what changes anything answers to loopback peers only, posts from other web sites are refused,
//! and so is a request whose `Host` is neither loopback nor the listen address, which is how a web page reaches a
//! local service by DNS rebinding. All of that is one function, [`guard`]. Every request has a deadline and every body
//! a limit. Failures are `application/problem+json`.

mod api;
mod body;
mod guard;
mod intake;
mod landing;
mod ops;
mod problem;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::Method;
use axum::middleware::from_fn_with_state;

use crate::clock::Clock;
use crate::engine::handle::Handle;
use crate::metrics::Metrics;
use crate::store::Store;

use guard::Guard;
use intake::Intake;
use problem::Problem;
pub use server::{Bound, Limits, bind};

/// A request that takes longer is answered with 503.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Anybody on the network could stop the guard or make it kill.
    #[error(
        "refusing to listen on {0}: this version has no authentication, so it serves this machine only. Set \
         web.listen_address (--web.listen-address) to a loopback address such as 127.0.0.1:9911 or [::1]:9911, and let \
         a reverse proxy or an SSH tunnel with authentication on this machine forward to it"
    )]
    Exposed(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; {hint}")]
    Bind {
        /// The address of the config.
        address: SocketAddr,
        /// What the operating system says.
        source: std::io::Error,
        /// The likely cause and what to do.
        hint: &'static str,
    },
}

/// Refuses a listen address that other machines can reach, because there is no authentication.
///
/// # Errors
/// [`HttpError::Exposed`] says what to do.
pub fn check_exposed(listen: SocketAddr) -> Result<(), HttpError> {
    if listen.ip().to_canonical().is_loopback() { Ok(()) } else { Err(HttpError::Exposed(listen)) }
}

/// What the server works on.
pub struct State {
    /// The running engine.
    pub handle: Handle,
    /// Where received alerts go.
    pub store: Store,
    /// Where the journal is.
    pub storage: PathBuf,
    /// All metrics.
    pub metrics: Arc<Metrics>,
    /// Called before every scrape, to set the gauges that change by themselves, such as ages.
    pub before_scrape: Arc<dyn Fn() + Send + Sync>,
    /// The clock.
    pub clock: Clock,
    /// The address that the server listens on.
    pub listen: SocketAddr,
}

/// Everything the server answers.
pub fn router(state: State) -> Router {
    let guard = Guard::new(state.listen, REQUEST_TIMEOUT, state.metrics.clone());
    let intake = Intake::new(state.handle.clone(), state.store.clone(), state.metrics.clone());
    let handle = state.handle.clone();
    let ops = ops::Ops {
        metrics: state.metrics.clone(),
        before_scrape: state.before_scrape.clone(),
        ready: Box::new(move || handle.ready()),
    };
    guarded(intake::routes(intake).merge(ops::routes(ops)).merge(api::routes(state)), guard)
}

/// The routes, and what holds for all of them.
fn guarded(routes: Router, guard: Guard) -> Router {
    routes
        .fallback(async |method: Method, uri: axum::http::Uri| Problem::not_found(&method, uri.path()))
        .method_not_allowed_fallback(async |method: Method, uri: axum::http::Uri| {
            Problem::not_allowed(&method, uri.path())
        })
        .layer(from_fn_with_state(Arc::new(guard), guard::guard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_listened_on_without_authentication() {
        for (address, allowed) in [
            ("127.0.0.1:9911", true),
            ("127.8.9.10:0", true),
            ("[::1]:9911", true),
            ("[::ffff:127.0.0.1]:9911", true),
            ("0.0.0.0:9911", false),
            ("[::]:9911", false),
            ("10.0.0.1:9911", false),
            ("[::ffff:10.0.0.1]:9911", false),
            ("[fe80::1]:9911", false),
        ] {
            assert_eq!(check_exposed(address.parse().unwrap()).is_ok(), allowed, "{address}");
        }
        let message = check_exposed("0.0.0.0:9911".parse().unwrap()).unwrap_err().to_string();
        assert!(message.contains("0.0.0.0:9911") && message.contains("--web.listen-address"), "{message}");
    }
}
