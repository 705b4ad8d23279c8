//! Reading a request's body, within a limit.

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::EXPECT;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The largest body outside the webhook.
const SMALL: usize = 64 << 10;

/// A body over its limit is read up to here, and thrown away: most clients send all of it before they read an answer,
/// and would see a broken connection instead of the 413.
const DRAINED: usize = 64 << 20;

/// The whole body, or 413 when it is longer than `limit` bytes.
pub(super) async fn read(request: Request, limit: usize) -> Result<Vec<u8>, Problem> {
    // Such a client sends the body only when we start to read it.
    let waits = request.headers().contains_key(EXPECT);
    let body = request.into_body();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let too_large =
        || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format_args!("the body is larger than {limit} bytes"));
    if announced > DRAINED || (announced > limit && waits) {
        return Err(too_large());
    }
    let mut kept = Vec::with_capacity(announced.min(limit));
    let mut seen = 0usize;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Problem::bad_request(format_args!("the body was cut off: {error}")))?;
        seen = seen.saturating_add(chunk.len());
        if seen > DRAINED {
            break;
        }
        if seen <= limit {
            kept.extend_from_slice(&chunk);
        }
    }
    if seen > limit { Err(too_large()) } else { Ok(kept) }
}

/// A JSON body; one that is empty reads as `{}`.
pub(super) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let body = read(request, SMALL).await?;
    let text = if body.is_empty() { b"{}".as_slice() } else { &body };
    serde_json::from_slice(text).map_err(|error| Problem::bad_request(format_args!("the body: {error}")))
}

/// How much a body may take of memory at most, in bytes: as announced, or the limit.
pub(super) fn room_for(body: &Body, limit: usize) -> u32 {
    let upper = body.size_hint().upper().and_then(|upper| usize::try_from(upper).ok());
    u32::try_from(upper.unwrap_or(limit).min(limit)).unwrap_or(u32::MAX)
}
