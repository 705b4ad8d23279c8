//! Tables for people: aligned columns, no colours, no lines, as `kubectl` and `amtool` print them.

use std::fmt;
use std::io::{self, Write};

/// How a command prints its answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// A table that is built row by row and printed with [`fmt::Display`].
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    #[must_use]
    pub(super) fn new(headings: &[&str]) -> Self {
        let mut table = Self::default();
        table.row(headings.iter().map(|heading| heading.to_uppercase()));
        table
    }

    /// Adds a row. An empty cell is shown as `-`, so that columns can still be counted.
    pub(super) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        let show = |cell: T| {
            let cell = cell.into();
            if cell.is_empty() { "-".to_owned() } else { printable(&cell) }
        };
        self.rows.push(cells.into_iter().map(show).collect());
    }

    /// Whether there is no row below the headings.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &self.rows {
            let last = row.len().saturating_sub(1);
            for (column, (cell, width)) in row.iter().zip(&widths).enumerate() {
                if column == last {
                    writeln!(f, "{cell}")?;
                } else {
                    write!(f, "{cell:width$}  ")?;
                }
            }
        }
        Ok(())
    }
}

/// Prints an answer. A reader that had enough, as `head` has, is no failure.
///
/// # Errors
/// When standard output cannot be written for another reason.
pub(super) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Text without control characters: what a client calls itself must not reach a terminal as a command to it.
#[must_use]
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_control() {
            shown.extend(char.escape_default());
        } else {
            shown.push(char);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_terminals_are_safe() {
        let mut table = Table::new(&["target", "nodes up", "reason"]);
        assert!(table.is_empty());
        table.row(["orders", "1/1", ""]);
        table.row(["ü", "", "a\u{1b}[2Jb\nc"]);
        assert_eq!(
            table.to_string(),
            "TARGET  NODES UP  REASON\n\
             orders  1/1       -\n\
             ü       -         a\\u{1b}[2Jb\\nc\n"
        );
        assert!(!table.is_empty());
    }
}
