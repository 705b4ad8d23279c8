//! What is wrong with config and rule files, in the words of the operator: where, which key, what, what to write
//! instead. Every finding of all files is reported at once.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str};

use super::place::Place;
use super::redact::redacted;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing is loaded.
    Error,
    /// It is loaded, but is probably not what was meant.
    Warning,
}

impl Severity {
    /// The word in front of the message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// Where.
    pub place: Place,
    /// The path of the key, as in `groups[0].rules[2].match`; empty where there is none.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Finding {
    /// The file, unless it is an environment variable or a flag.
    #[must_use]
    pub fn file(&self) -> Option<&Arc<str>> {
        self.place.file()
    }

    /// The line, from 1; 0 where there is no text to point at.
    #[must_use]
    pub fn line(&self) -> usize {
        self.place.line_and_column().0
    }

    /// The column, in characters from 1; 0 where there is no text to point at.
    #[must_use]
    pub fn column(&self) -> usize {
        self.place.line_and_column().1
    }

    /// `key: message`, or the message where there is no key.
    fn title(&self) -> String {
        let message = one_line(&self.message);
        if self.key.is_empty() { message } else { format!("{}: {message}", one_line(&self.key)) }
    }

    /// The finding with its line of the file and the offending text underlined.
    fn render(&self, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.title()));
        group = match (&self.place, self.place.first_line()) {
            (Place::Text { file, .. }, Some((line, part, number))) => group.element(
                Snippet::source(redacted(line))
                    .path(&*file.name)
                    .line_start(number)
                    .annotation(AnnotationKind::Primary.span(part)),
            ),
            (Place::Text { .. }, None) => group,
            (Place::File(name) | Place::Outside(name), _) => group.element(Origin::path(&**name)),
        };
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(one_line(help)));
        }
        renderer.render(&[group])
    }
}

/// One line: `file:line:column: error: key: message; help`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.place, self.severity.as_str(), self.title())?;
        match &self.help {
            Some(help) => write!(f, "; {}", one_line(help)),
            None => Ok(()),
        }
    }
}

/// A message on one line, as some parsers explain themselves in several, and without what would steer a terminal.
fn one_line(message: &str) -> String {
    normalize_untrusted_str(&message.lines().map(str::trim).collect::<Vec<_>>().join(" "))
}

/// All that is wrong, in the order of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings(pub Vec<Finding>);

impl Findings {
    /// Whether one of them is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// All of them as rustc shows its errors, with a line between them; with ANSI colours if `color`.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut text = self.0.iter().map(|finding| finding.render(&renderer)).collect::<Vec<_>>().join("\n\n");
        text.push('\n');
        text
    }

    /// All of them, one a line.
    #[must_use]
    pub fn one_line_each(&self) -> String {
        self.0.iter().map(|finding| format!("{finding}\n")).collect()
    }
}

/// As [`Findings::render`], without colours.
impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Findings {}

/// Where decoders put what they find; shared, so that each goes on after a mistake.
#[derive(Debug, Default)]
pub(super) struct Report(RefCell<Vec<Finding>>);

impl Report {
    pub(super) fn add(&self, finding: Finding) {
        self.0.borrow_mut().push(finding);
    }

    pub(super) fn error(&self, place: &Place, key: &str, message: impl Into<String>, help: Option<String>) {
        let (place, key, message) = (place.clone(), key.to_owned(), message.into());
        self.add(Finding { severity: Severity::Error, place, key, message, help });
    }

    pub(super) fn warning(&self, place: &Place, key: &str, message: impl Into<String>, help: Option<String>) {
        let (place, key, message) = (place.clone(), key.to_owned(), message.into());
        self.add(Finding { severity: Severity::Warning, place, key, message, help });
    }

    pub(super) fn has_errors(&self) -> bool {
        self.0.borrow().iter().any(|finding| finding.severity == Severity::Error)
    }

    /// All findings, file by file in the order in which the files were read, each from its top.
    pub(super) fn finish(self) -> Findings {
        let mut findings = self.0.into_inner();
        let mut files: Vec<Option<Arc<str>>> = Vec::new();
        for finding in &findings {
            let file = finding.file().cloned();
            if !files.contains(&file) {
                files.push(file);
            }
        }
        findings.sort_by_cached_key(|finding| {
            let file = finding.file().cloned();
            (files.iter().position(|other| *other == file), finding.place.line_and_column())
        });
        Findings(findings)
    }
}
