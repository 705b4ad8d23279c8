//! Where something is written: a span of a file, a whole file, or a name outside of files.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// A file as it was read.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// The path, as the operator would name it.
    pub name: Arc<str>,
    /// All of it.
    pub text: String,
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

    /// Line and column, both from 1, the column in characters; zero where there is no text.
    #[must_use]
    pub fn line_and_column(&self) -> (usize, usize) {
        let Self::Text { file, span } = self else { return (0, 0) };
        let before = &file.text[..span.start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
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
