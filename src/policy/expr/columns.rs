//! Tests of whole columns: which sessions certainly pass, or certainly fail, one test.
//!
//! A session that lacks the value is in neither answer. Numbers are compared in one pass over their column; a text
//! test runs once per distinct value, and the sessions follow by their codes; what is left is done row by row.

use super::ast::{Comparison, Number, Test};
use super::mask::Mask;
use super::row::Values;
use crate::policy::field::{Column, Field};
use crate::policy::session::{MISSING_CODE, MISSING_INT, Sessions, Symbols};

/// A test that has one answer for a whole snapshot. Equal leaves of several expressions are evaluated once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Leaf {
    /// The field has a value, or has none.
    Has(Field, bool),
    /// A number from `low` to `high`; never [`MISSING_INT`].
    Range { column: usize, low: i64, high: i64 },
    /// A number that is there and is not this one.
    Not { column: usize, value: i64 },
    /// A number that is there and is, or is not, one of these.
    OneOf { column: usize, values: Vec<i64>, wanted: bool },
    /// A test of one text field, known to answer `wanted`.
    Symbol { column: usize, field: Field, test: Test, wanted: bool },
    /// Any test, known to answer `wanted`.
    Rows { test: Test, wanted: bool },
}

impl Leaf {
    /// The leaf for "`test` is known to answer `wanted`"; none when no value can do that.
    pub(super) fn of(test: &Test, wanted: bool) -> Option<Self> {
        if let Test::Numbers(comparison, Number::Field(field), Number::Constant(value)) = test
            && let Column::Int(column) = field.column()
        {
            return Self::number(column, if wanted { *comparison } else { comparison.opposite() }, *value);
        }
        if let Test::NumberIn(Number::Field(field), values) = test
            && let Column::Int(column) = field.column()
        {
            return Some(Self::OneOf { column, values: values.clone(), wanted });
        }
        if let Test::Has(field) = test {
            return Some(Self::Has(*field, wanted));
        }
        let test = test.clone();
        let mut fields = test.needs().iter();
        Some(match (fields.next(), fields.next()) {
            (Some(field), None) if let Column::Symbol(column) = field.column() => {
                Self::Symbol { column, field, test, wanted }
            }
            _ => Self::Rows { test, wanted },
        })
    }

    fn number(column: usize, comparison: Comparison, value: i64) -> Option<Self> {
        const LOWEST: i64 = MISSING_INT + 1;
        let (low, high) = match comparison {
            Comparison::Equal => (value, value),
            Comparison::NotEqual => return Some(Self::Not { column, value }),
            Comparison::Less => (LOWEST, value.checked_sub(1)?),
            Comparison::LessOrEqual => (LOWEST, value),
            Comparison::Greater => (value.checked_add(1)?, i64::MAX),
            Comparison::GreaterOrEqual => (value, i64::MAX),
        };
        let low = low.max(LOWEST);
        (low <= high).then_some(Self::Range { column, low, high })
    }

    /// Roughly how long a row takes, to try the quick ones first.
    pub(super) const fn cost(&self) -> u32 {
        match self {
            Self::Has(..) | Self::Range { .. } | Self::Not { .. } => 1,
            Self::Symbol { .. } => 2,
            Self::OneOf { .. } => 4,
            Self::Rows { .. } => 100,
        }
    }

    /// The sessions that it holds for.
    pub(super) fn mask(&self, sessions: &Sessions) -> Mask {
        let len = sessions.len();
        match self {
            Self::Has(field, wanted) => has(*field, *wanted, sessions),
            Self::Range { column, low, high } => {
                // One comparison instead of two: what is below `low` wraps round to the top.
                let width = high.wrapping_sub(*low).cast_unsigned();
                numbers(sessions, *column, |value| value.wrapping_sub(*low).cast_unsigned() <= width)
            }
            Self::Not { column, value } => numbers(sessions, *column, |found| found != MISSING_INT && found != *value),
            Self::OneOf { column, values, wanted } => numbers(sessions, *column, |value| {
                value != MISSING_INT && values.binary_search(&value).is_ok() == *wanted
            }),
            Self::Symbol { column, field, test, wanted } => {
                let symbols = sessions.symbols(*column);
                let passes = |value: &str| test.known(Values::Only(*field, value)) == Some(*wanted);
                if symbols.codes().is_empty() { Mask::none(len) } else { by_code(symbols, passes) }
            }
            Self::Rows { test, wanted } => {
                Mask::of_rows(len, |row| test.known(Values::Row(sessions, row)) == Some(*wanted))
            }
        }
    }
}

fn numbers(sessions: &Sessions, column: usize, test: impl Fn(i64) -> bool) -> Mask {
    let column = sessions.ints(column);
    if column.is_empty() { Mask::none(sessions.len()) } else { Mask::of_column(column, test) }
}

fn has(field: Field, wanted: bool, sessions: &Sessions) -> Mask {
    let len = sessions.len();
    match field.column() {
        Column::Int(column) if !sessions.ints(column).is_empty() => {
            Mask::of_column(sessions.ints(column), |value| (value != MISSING_INT) == wanted)
        }
        Column::Symbol(column) if !sessions.symbols(column).codes().is_empty() => {
            Mask::of_column(sessions.symbols(column).codes(), |code| (code != MISSING_CODE) == wanted)
        }
        Column::Span(column) => Mask::of_rows(len, |row| sessions.span(column, row).is_some() == wanted),
        Column::Int(_) | Column::Symbol(_) if wanted => Mask::none(len),
        Column::Int(_) | Column::Symbol(_) => Mask::all(len),
    }
}

/// The rows whose text passes. The usual cases (one value passes, or all but one) are a plain comparison of codes.
fn by_code(symbols: &Symbols, passes: impl Fn(&str) -> bool) -> Mask {
    let codes = symbols.codes();
    let mut table: Vec<bool> = symbols.values().iter().map(|value| passes(value)).collect();
    let count = table.iter().filter(|passes| **passes).count();
    let code_of =
        |wanted: bool| table.iter().position(|passes| *passes == wanted).and_then(|code| u32::try_from(code).ok());
    if count == 0 {
        return Mask::none(codes.len());
    }
    if count == table.len() {
        return Mask::of_column(codes, |code| code != MISSING_CODE);
    }
    if let (1, Some(only)) = (count, code_of(true)) {
        return Mask::of_column(codes, |code: u32| code == only);
    }
    if let (true, Some(except)) = (count + 1 == table.len(), code_of(false)) {
        return Mask::of_column(codes, |code: u32| code != except && code != MISSING_CODE);
    }
    // A missing text has the largest code, and finds the last entry.
    table.push(false);
    let last = table.len() - 1;
    Mask::of_column(codes, |code| table[(code as usize).min(last)])
}
