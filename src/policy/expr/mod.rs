//! The language of rules and protections: which sessions an expression names.
//!
//! Expressions are a part of CEL, read by the `cel` crate's parser, and then checked against the session schema: a
//! field that does not exist, a wrong type or an unsupported function is an error with its place, never a rule that
//! silently names nobody. They are run over columns ([`Program`]), for all sessions of a node at once; the evaluator for
//! one session ([`Expr::row`]) explains, and is what the columns are tested against.
//!
//! **A missing value is unknown.** A test of it is neither true nor false, and `!` does not change that. A rule names a
//! session only when its expression is known to be true; a protection lets go of a session only when its expression is
//! known to be false. Arithmetic that overflows is unknown too.

mod ast;
mod calls;
mod check;
mod columns;
mod compare;
mod explain;
mod help;
mod lex;
mod lower;
mod mask;
mod parse;
mod row;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use self::ast::{Condition, Test};
use self::row::Values;
use super::field::{Field, FieldSet, Kind};
use super::session::Sessions;

pub use self::explain::Clause;
pub use self::lower::{Program, Want};
pub use self::mask::Mask;
pub use self::row::Tri;

/// A checked expression. Cheap to clone.
#[derive(Clone)]
pub struct Expr(Arc<Inner>);

struct Inner {
    source: Box<str>,
    /// What must all hold, each with its place in the source.
    clauses: Vec<(Range<usize>, Condition)>,
    needs: FieldSet,
    lints: Vec<ExprError>,
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

impl ExprError {
    fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl Expr {
    /// Reads and checks an expression.
    ///
    /// # Errors
    /// Every mistake in it, by place. Mistakes of spelling (quotes, brackets, signs) hide those of meaning.
    pub fn parse(source: &str) -> Result<Self, Vec<ExprError>> {
        let checked = check::check(source, &parse::parse(source)?)?;
        let mut needs = FieldSet::EMPTY;
        for (_, condition) in &checked.clauses {
            condition.tests(true, &mut |test, _| needs = needs.union(test.needs()));
        }
        let inner = Inner { source: source.into(), clauses: checked.clauses, needs, lints: checked.lints };
        Ok(Self(Arc::new(inner)))
    }

    /// As it was written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// The fields whose values it tests. `has(field)` alone needs no value.
    #[must_use]
    pub fn needs(&self) -> FieldSet {
        self.0.needs
    }

    /// What is allowed but probably not meant, such as `matches()` without anchors.
    #[must_use]
    pub fn lints(&self) -> &[ExprError] {
        &self.0.lints
    }

    /// Whether it asks for this kind with `==` or `in`, outside of any `!`. Without that, a rule names only normal
    /// sessions.
    #[must_use]
    pub fn names_kind(&self, kind: Kind) -> bool {
        let mut named = false;
        self.tests(|test, positive| {
            named |= positive && test.names_kind(kind.as_str());
        });
        named
    }

    /// Whether it tests the value of `flags`.
    #[must_use]
    pub fn tests_flags(&self) -> bool {
        self.needs().contains(Field::Flags)
    }

    /// Whether it tests the value of `ip`.
    #[must_use]
    pub fn tests_ip(&self) -> bool {
        self.needs().contains(Field::Ip)
    }

    /// The answer for one session.
    #[must_use]
    pub fn row(&self, sessions: &Sessions, row: usize) -> Tri {
        let values = Values::Row(sessions, row);
        Tri::join(self.clauses().iter().map(|(_, condition)| condition.row(values)), Tri::False)
    }

    /// The conditions that it joins with `&&`, each with its answer for one session and the values it tested.
    #[must_use]
    pub fn explain(&self, sessions: &Sessions, row: usize) -> Vec<Clause> {
        let clause = |(span, condition): &(Range<usize>, Condition)| {
            explain::clause(&self.source()[span.clone()], condition, sessions, row)
        };
        self.clauses().iter().map(clause).collect()
    }

    fn clauses(&self) -> &[(Range<usize>, Condition)] {
        &self.0.clauses
    }

    fn tests(&self, mut visit: impl FnMut(&Test, bool)) {
        for (_, condition) in self.clauses() {
            condition.tests(true, &mut visit);
        }
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expr").field(&self.source()).finish()
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.source())
    }
}
