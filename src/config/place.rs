//! Where something is written: a span of a file, a whole file, or a name outside of files.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A file as it was read.
#[derive(PartialEq, Eq)]
pub struct SourceFile {
    /// The path, as the operator would name it.
    pub name: Arc<str>,
    text: String,
    /// Where lines start, in bytes.
    lines: Vec<usize>,
}

impl SourceFile {
    /// A file with this text.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, text: String) -> Self {
        let starts = text.match_indices('\n').map(|(newline, _)| newline + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { name: name.into(), text, lines }
    }

    /// All of it.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The number of the line that holds this byte, from 0, and where the line starts.
    fn line_of(&self, byte: usize) -> (usize, usize) {
        let number = self.lines.partition_point(|start| *start <= byte) - 1;
        (number, self.lines[number])
    }
}

/// Without the text, which may hold what nobody should read in a log.
impl fmt::Debug for SourceFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceFile").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where something is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a file.
    Text {
        /// Which.
        file: Arc<SourceFile>,
        /// Bytes of its text; empty for something that is missing there.
        span: Range<usize>,
    },
    /// A file that could not be read, so that there is no text to point at.
    File(Arc<str>),
    /// The name of an environment variable or a command-line flag.
    Outside(Arc<str>),
}

impl Place {
    /// The file, if it is in one.
    #[must_use]
    pub fn file(&self) -> Option<&Arc<str>> {
        match self {
            Self::Text { file, .. } => Some(&file.name),
            Self::File(name) => Some(name),
            Self::Outside(_) => None,
        }
    }

    /// The first line of the place, where in it the place starts and ends, in bytes, and its number from 1.
    pub(super) fn first_line(&self) -> Option<(&str, Range<usize>, usize)> {
        let Self::Text { file, span } = self else { return None };
        let (number, start) = file.line_of(span.start);
        let line = file.text[start..].lines().next().unwrap_or_default();
        let from = (span.start - start).min(line.len());
        Some((line, from..(span.end - start).clamp(from, line.len()), number + 1))
    }

    /// Line and column, both from 1, the column in characters; zero where there is no text.
    #[must_use]
    pub fn line_and_column(&self) -> (usize, usize) {
        let Self::Text { file, span } = self else { return (0, 0) };
        let (number, start) = file.line_of(span.start);
        (number + 1, file.text[start..span.start].chars().count() + 1)
    }
}

/// `file:line:column`, `file`, or the name.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text { file, .. } => {
                let (line, column) = self.line_and_column();
                write!(f, "{}:{line}:{column}", file.name)
            }
            Self::File(name) | Self::Outside(name) => f.write_str(name),
        }
    }
}
