//! Reading a request's body, within a limit.

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::EXPECT;
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::problem::Problem;

/// The largest body outside the webhook.
const SMALL: usize = 64 << 10;

/// A body over its limit is read up to here, and thrown away: most clients send all of it before they read an answer,
/// and would see a broken connection instead of the 413.
const DRAINED: usize = 64 << 20;

/// A whole body, and its room in memory.
pub(super) struct Whole<'a> {
    pub(super) bytes: Vec<u8>,
    room: Option<SemaphorePermit<'a>>,
}

impl<'a> Whole<'a> {
    /// Keeps a chunk, unless there is no room for it.
    fn keep(&mut self, chunk: &[u8], room: &'a Semaphore) -> bool {
        let Ok(more) = room.try_acquire_many(u32::try_from(chunk.len()).unwrap_or(u32::MAX)) else { return false };
        match &mut self.room {
            Some(room) => room.merge(more),
            None => self.room = Some(more),
        }
        self.bytes.extend_from_slice(chunk);
        true
    }
}

/// The whole body, or 413 when it is longer than `limit` bytes.
///
/// What arrives takes its bytes from `room`; when there are none left, the answer is 503. What was only announced takes
/// none, so that a client that stalls holds nobody up.
pub(super) async fn read(request: Request, limit: usize, room: &Semaphore) -> Result<Whole<'_>, Problem> {
    // Such a client sends the body only when we start to read it.
    let waits = request.headers().contains_key(EXPECT);
    let body = request.into_body();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let too_large =
        || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format_args!("the body is larger than {limit} bytes"));
    if announced > DRAINED || (announced > limit && waits) {
        return Err(too_large());
    }
    let mut kept = (announced <= limit).then(|| Whole { bytes: Vec::with_capacity(announced.min(SMALL)), room: None });
    let mut seen = 0usize;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| Problem::bad_request(format_args!("the body was cut off: {error}")))?;
        seen = seen.saturating_add(chunk.len());
        if seen > DRAINED {
            break;
        }
        // What cannot be kept whole is not kept at all.
        kept = kept.filter(|_| seen <= limit).and_then(|mut kept| kept.keep(&chunk, room).then_some(kept));
    }
    match kept {
        Some(kept) => Ok(kept),
        None if announced.max(seen) > limit => Err(too_large()),
        None => Err(Problem::unavailable("too many large bodies at one time: send it again")),
    }
}

/// A JSON body; one that is empty reads as `{}`.
pub(super) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let room = Semaphore::new(SMALL);
    let body = read(request, SMALL, &room).await?;
    let text = if body.bytes.is_empty() { b"{}".as_slice() } else { &body.bytes };
    serde_json::from_slice(text).map_err(|error| Problem::bad_request(format_args!("the body: {error}")))
}
