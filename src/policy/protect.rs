//! Protections: sessions that are never killed. (evaluation to be filled)

use std::sync::Arc;

use super::expr::Expr;

/// One entry of the config's `protect:` list.
#[derive(Clone, Debug)]
pub struct Protection {
    /// Whom it protects.
    pub matches: Expr,
    /// Why, for the operator.
    pub reason: Arc<str>,
    /// When it ends, in unix milliseconds of wall time; it never does without.
    pub until: Option<i64>,
}
