//! Why an expression names a session or does not: each of its clauses with the values it tested.

use std::time::Duration;

use super::ast::Condition;
use super::row::{Tri, Values};
use crate::policy::field::Field;
use crate::policy::session::{Sessions, Value};
use crate::policy::time::ShowDuration;

/// One of the conditions that an expression joins with `&&`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// As it is written.
    pub source: String,
    /// What is known about it.
    pub value: Tri,
    /// The values it tests: `idle = 2h5m`, `name = "worker-1"`, `ip is unknown`; empty when it tests none.
    pub shown: String,
}

/// Explains one clause for one session.
pub(super) fn clause(source: &str, condition: &Condition, sessions: &Sessions, row: usize) -> Clause {
    let mut fields = Vec::new();
    condition.tests(true, &mut |test, _| {
        for field in test.mentions() {
            if !fields.contains(&field) {
                fields.push(field);
            }
        }
    });
    let shown: Vec<String> = fields.into_iter().map(|field| show(field, sessions.value(field, row))).collect();
    Clause { source: source.to_owned(), value: condition.row(Values::Row(sessions, row)), shown: shown.join(", ") }
}

fn show(field: Field, value: Option<Value<'_>>) -> String {
    let name = field.name();
    match value {
        None => format!("{name} is unknown"),
        Some(Value::Int(value)) => format!("{name} = {value}"),
        Some(Value::Text(value)) => format!("{name} = {value:?}"),
        Some(Value::Millis(value)) => {
            let sign = if value < 0 { "-" } else { "" };
            format!("{name} = {sign}{}", ShowDuration(Duration::from_millis(value.unsigned_abs())))
        }
    }
}
