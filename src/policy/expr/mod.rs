//! stub: the expression language
use super::field::FieldSet;
use std::ops::Range;
use std::sync::Arc;

/// A checked expression.
#[derive(Clone, Debug)]
pub struct Expr {
    source: Arc<str>,
}

/// A mistake in an expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// Where, in bytes of the source.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Expr {
    /// The source.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }
    /// The fields.
    #[must_use]
    pub fn needs(&self) -> FieldSet {
        FieldSet::EMPTY
    }
    /// Parses.
    /// # Errors
    /// all mistakes
    pub fn parse(source: &str) -> Result<Self, Vec<ExprError>> {
        Ok(Self { source: source.into() })
    }
}
