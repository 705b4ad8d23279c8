//! What went wrong with a node, in words that say what to do about it.

use std::time::Duration;

use redis::{ErrorKind, RedisError};

use crate::backend::{FailureReason, NodeError};
use crate::policy::names::NodeName;
use crate::policy::time::ShowDuration;

use super::client_list::ParseError;

/// The rights that suffice, as `ACL SETUSER` takes them.
pub(super) const RIGHTS: &str =
    "-@all +client|list +client|kill +client|setname +client|id +client|no-evict +info +ping +hello";

/// Why a node did not answer as it should.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) reason: FailureReason,
    pub(super) message: String,
    /// Whether the connection is still good. It is kept then: at maxclients there might not be another one.
    pub(super) usable: bool,
}

impl Failure {
    pub(super) fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), usable: false }
    }

    pub(super) fn timeout(doing: &str, deadline: Duration) -> Self {
        let message = format!("{doing}: no answer within {}; the connection was given up", ShowDuration(deadline));
        Self::new(FailureReason::Timeout, message)
    }

    /// The failure that an error of the client library means, met while `doing` something.
    pub(super) fn of(error: &RedisError, doing: &str) -> Self {
        if let Some(said) = server_said(error) {
            return Self::said(&said, doing);
        }
        let reason = if matches!(error.kind(), ErrorKind::Parse | ErrorKind::UnexpectedReturnType) {
            FailureReason::Garbled
        } else if error.is_timeout() {
            FailureReason::Timeout
        } else {
            FailureReason::Connect
        };
        let message = if error.is_connection_refusal() {
            format!("{doing}: connection refused: is the server running, and is this its port?")
        } else if error.is_connection_dropped() {
            format!("{doing}: the server closed the connection")
        } else {
            format!("{doing}: {error}")
        };
        Self::new(reason, message)
    }

    /// The failure that a server's error message means.
    pub(super) fn said(said: &str, doing: &str) -> Self {
        let (reason, advice) = match said.split(' ').next() {
            Some("NOAUTH" | "WRONGPASS") => (FailureReason::Auth, "check username and password_file".to_owned()),
            Some("NOPERM") => {
                (FailureReason::Auth, format!("the user lacks a right; these suffice: ACL SETUSER <user> {RIGHTS}"))
            }
            Some("DENIED") => {
                (FailureReason::Auth, "set a password, or bind the server to the right address".to_owned())
            }
            Some(_) | None if said.contains("max number of clients") => (
                FailureReason::Server,
                "maxclients is reached and the admin connection could not get in; a connection that was opened before \
                 is kept for this case: free a slot or raise maxclients once, and reaperd stays inside"
                    .to_owned(),
            ),
            Some(_) | None => {
                return Self { usable: true, ..Self::new(FailureReason::Server, format!("{doing}: {said}")) };
            }
        };
        // A missing right may be given while we are connected; a missing login needs a new one.
        let usable = said.starts_with("NOPERM");
        Self { reason, message: format!("{doing}: {said}: {advice}"), usable }
    }

    pub(super) fn of_node(self, node: &NodeName) -> NodeError {
        NodeError { node: node.clone(), reason: self.reason, message: self.message }
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Self::new(FailureReason::Garbled, error.to_string())
    }
}

/// The server's own words, where the error is an answer of the server.
pub(super) fn server_said(error: &RedisError) -> Option<String> {
    let code = error.code()?;
    Some(error.detail().map_or_else(|| code.to_owned(), |detail| format!("{code} {detail}")))
}
