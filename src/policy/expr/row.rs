//! Evaluates a condition for one session, directly on the checked tree.
//!
//! A missing value makes a test unknown, and so does arithmetic that overflows. `!`, `&&` and `||` follow Kleene: an
//! unknown part decides nothing, so `false && unknown` is false and `true && unknown` is unknown.

use std::net::IpAddr;

use super::ast::{Condition, Number, Search, Test, Text};
use crate::policy::field::Field;
use crate::policy::session::Sessions;

/// What is known about a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tri {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It depends on a value that is missing.
    Unknown,
}

impl Tri {
    pub(super) fn of(known: Option<bool>) -> Self {
        match known {
            Some(true) => Self::True,
            Some(false) => Self::False,
            None => Self::Unknown,
        }
    }

    const fn not(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::Unknown => Self::Unknown,
        }
    }

    /// `decisive` if any part is that, else unknown if any part is, else its opposite.
    pub(super) fn join(parts: impl Iterator<Item = Self>, decisive: Self) -> Self {
        let mut joined = decisive.not();
        for part in parts {
            if part == decisive {
                return decisive;
            }
            if part == Self::Unknown {
                joined = Self::Unknown;
            }
        }
        joined
    }
}

/// Where a test gets its values from.
#[derive(Clone, Copy)]
pub(super) enum Values<'a> {
    /// One session.
    Row(&'a Sessions, usize),
    /// One value of one text field: every session that has it gets the same answer.
    Only(Field, &'a str),
}

impl<'a> Values<'a> {
    fn number(self, field: Field) -> Option<i64> {
        match self {
            Self::Row(sessions, row) => sessions.int(field, row),
            Self::Only(..) => None,
        }
    }

    fn text(self, field: Field) -> Option<&'a str> {
        match self {
            Self::Row(sessions, row) => sessions.text(field, row),
            Self::Only(only, text) => (only == field).then_some(text),
        }
    }

    fn has(self, field: Field) -> bool {
        match self {
            Self::Row(sessions, row) => sessions.value(field, row).is_some(),
            Self::Only(only, _) => only == field,
        }
    }
}

impl Condition {
    /// Recurses as deep as the tree, which the lexer has capped.
    pub(super) fn row(&self, values: Values<'_>) -> Tri {
        match self {
            Self::Constant(value) => Tri::of(Some(*value)),
            Self::Not(inner) => inner.row(values).not(),
            Self::All(parts) => Tri::join(parts.iter().map(|part| part.row(values)), Tri::False),
            Self::Any(parts) => Tri::join(parts.iter().map(|part| part.row(values)), Tri::True),
            Self::Test(test) => Tri::of(test.known(values)),
        }
    }
}

impl Test {
    /// The answer; none when it is unknown.
    pub(super) fn known(&self, values: Values<'_>) -> Option<bool> {
        Some(match self {
            Self::Has(field) => values.has(*field),
            Self::Numbers(comparison, left, right) => comparison.holds(left.known(values)?.cmp(&right.known(values)?)),
            Self::NumberIn(number, list) => list.binary_search(&number.known(values)?).is_ok(),
            Self::Texts(comparison, left, right) => comparison.holds(left.known(values)?.cmp(right.known(values)?)),
            Self::TextIn(text, list) => {
                let text = text.known(values)?;
                list.binary_search_by(|listed| (**listed).cmp(text)).is_ok()
            }
            Self::Search(search, text, wanted) => {
                let (text, wanted) = (text.known(values)?, wanted.known(values)?);
                match search {
                    Search::StartsWith => text.starts_with(wanted),
                    Search::EndsWith => text.ends_with(wanted),
                    Search::Contains => text.contains(wanted),
                }
            }
            Self::Matches(text, pattern) => pattern.0.is_match(text.known(values)?),
            // An address that cannot be read lies nowhere that is known. An IPv4 address written as IPv6 is the same.
            Self::InNetwork(network) => {
                network.contains(&values.text(Field::Ip)?.parse::<IpAddr>().ok()?.to_canonical())
            }
        })
    }
}

impl Number {
    fn known(&self, values: Values<'_>) -> Option<i64> {
        match self {
            Self::Constant(value) => Some(*value),
            Self::Field(field) => values.number(*field),
            Self::Size(text) => i64::try_from(text.known(values)?.chars().count()).ok(),
            Self::Negative(number) => number.known(values)?.checked_neg(),
            Self::Math(math, sides) => math.of(sides[0].known(values)?, sides[1].known(values)?),
        }
    }
}

impl Text {
    fn known<'a>(&'a self, values: Values<'a>) -> Option<&'a str> {
        match self {
            Self::Constant(text) => Some(text),
            Self::Field(field) => values.text(*field),
        }
    }
}
