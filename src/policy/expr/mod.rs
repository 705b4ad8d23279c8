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

    pub fn names_kind(&self, _k: super::field::Kind) -> bool {
        false
    }
    pub fn tests_flags(&self) -> bool {
        false
    }
    pub fn tests_ip(&self) -> bool {
        false
    }
}
#[derive(Clone, Debug)]
pub struct Mask;
impl Mask {
    pub fn get(&self, _i: usize) -> bool {
        false
    }
    pub fn iter_ones(&self) -> impl Iterator<Item = usize> + '_ {
        std::iter::empty()
    }
}
pub enum Want {
    KnownTrue,
    KnownFalse,
    TrueWereIpKnown,
}
#[derive(Debug)]
pub struct Program;
impl Program {
    pub fn compile(_s: &[(&Expr, Want)]) -> Self {
        Self
    }
    pub fn run(&self, _s: &super::session::Sessions, _w: &dyn Fn(usize) -> bool) -> Vec<Option<Mask>> {
        vec![]
    }
}
