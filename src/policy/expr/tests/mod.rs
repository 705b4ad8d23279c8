//! What expressions mean and refuse, and that all ways of evaluating them agree.

mod meaning;
mod properties;
mod refused;

use crate::policy::field::{Column, Field};
use crate::policy::session::{Sessions, SessionsBuilder};

/// One session: its values by field, as a rule would write them (durations in milliseconds). Others are missing.
pub(super) type Row<'a> = Vec<(Field, &'a str)>;

/// Sessions with these values. Each gets its index as id.
pub(super) fn sessions(rows: &[Row<'_>]) -> Sessions {
    let mut text = String::new();
    let mut spans = Vec::new();
    for value in rows.iter().flatten().map(|(_, value)| value) {
        spans.push(text.len()..text.len() + value.len());
        text.push_str(value);
    }
    let mut spans = spans.into_iter();
    let mut builder = SessionsBuilder::new(text, rows.len());
    for (id, row) in rows.iter().enumerate() {
        builder.int(Field::Id, i64::try_from(id).unwrap());
        for (field, value) in row {
            let span = spans.next().unwrap();
            match field.column() {
                Column::Int(_) => builder.int(*field, value.parse().unwrap()),
                Column::Symbol(_) => builder.symbol(*field, span),
                Column::Span(_) => builder.span(*field, span),
            }
        }
        assert!(builder.end_session());
    }
    builder.finish(&"node-1".into())
}
