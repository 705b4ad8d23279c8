//! How decoders read the tree: each takes what it wants, reports what is wrong with it, and goes on.
//!
//! A reader that returns `None` has reported why. Decoders put a default in its place and go on to find more; nothing
//! is loaded when an error was reported.

use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::findings::Report;
use super::place::Place;
use super::spelling;
use super::suggest::nearest;
use super::tree::{Entry, Kind, Node};
use crate::policy::matcher::{Labels, Matchers};
use crate::policy::time::parse_duration;

/// The keys of a section.
pub(super) struct Keys {
    /// What it may hold.
    pub(super) known: &'static [&'static str],
    /// What is documented, but what this version cannot do: refused, never ignored.
    pub(super) later: &'static [&'static str],
}

/// A value under a key.
#[derive(Clone)]
pub(super) struct Value<'a> {
    node: &'a Node,
    key: String,
    report: &'a Report,
}

impl<'a> Value<'a> {
    /// The whole of a file.
    pub(super) fn root(node: &'a Node, report: &'a Report) -> Self {
        Self { node, key: String::new(), report }
    }

    pub(super) fn place(&self) -> &'a Place {
        &self.node.place
    }

    pub(super) fn error(&self, message: impl Into<String>, help: Option<&str>) {
        self.report.error(self.place(), &self.key, message, help.map(Into::into));
    }

    pub(super) fn warning(&self, message: impl Into<String>, help: Option<&str>) {
        self.report.warning(self.place(), &self.key, message, help.map(Into::into));
    }

    /// An error about some bytes of a text.
    pub(super) fn error_at(&self, part: Range<usize>, message: impl Into<String>, help: Option<&str>) {
        self.report.error(&self.part(part), &self.key, message, help.map(Into::into));
    }

    /// A warning about some bytes of a text.
    pub(super) fn warning_at(&self, part: Range<usize>, message: impl Into<String>, help: Option<&str>) {
        self.report.warning(&self.part(part), &self.key, message, help.map(Into::into));
    }

    fn part(&self, part: Range<usize>) -> Place {
        match &self.node.kind {
            Kind::Text(text, style) => spelling::part_of(self.place(), *style, text, part),
            Kind::Null | Kind::List(_) | Kind::Map(_) | Kind::Broken => self.place().clone(),
        }
    }

    fn unexpected(&self, wanted: &str) {
        let found = match &self.node.kind {
            Kind::Null => return self.error("has no value", Some(&format!("write {wanted} or leave the key out"))),
            Kind::Broken => return,
            Kind::Text(..) => "a text",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a map",
        };
        self.error(format!("expected {wanted}, found {found}"), None);
    }

    /// A text, as written.
    pub(super) fn text(&self) -> Option<&'a str> {
        let node = self.node;
        if let Kind::Text(text, _) = &node.kind {
            return Some(text);
        }
        self.unexpected("a text");
        None
    }

    /// A text, unless it is something else, which is not reported.
    pub(super) fn as_text(&self) -> Option<&'a str> {
        let node = self.node;
        if let Kind::Text(text, _) = &node.kind { Some(text) } else { None }
    }

    /// A text that `read` understands.
    pub(super) fn parse<T, E: Display>(&self, read: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        read(self.text()?).map_err(|error| self.error(error.to_string(), None)).ok()
    }

    /// A name of a target, rule, group or provider: it stands in metrics, URLs and tables.
    pub(super) fn name(&self) -> Option<&'a str> {
        let name = self.text()?;
        if name.trim().is_empty() {
            self.error("is empty", Some("give it a name"));
            return None;
        }
        if name.trim() != name || name.contains(|char: char| char.is_control() || char == '/') {
            self.error(
                format!("`{}` is no name", name.escape_debug()),
                Some("leave out slashes and control characters, and spaces at the ends"),
            );
            return None;
        }
        Some(name)
    }

    /// A duration.
    pub(super) fn duration(&self) -> Option<Duration> {
        self.parse(parse_duration)
    }

    /// A duration that is not zero.
    pub(super) fn positive_duration(&self) -> Option<Duration> {
        let duration = self.duration()?;
        if duration.is_zero() {
            self.error("must be longer than 0", None);
            return None;
        }
        Some(duration)
    }

    /// A whole number.
    pub(super) fn count(&self) -> Option<usize> {
        self.parse(|text| text.parse::<usize>().map_err(|_| format!("`{text}` is no whole number from 0 on")))
    }

    /// Label matchers; a mistake is pointed at.
    pub(super) fn matchers(&self) -> Option<Matchers> {
        let text = self.text()?;
        let refuse = |error: crate::policy::matcher::MatcherError| {
            let length = text.get(error.offset..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
            self.error_at(error.offset..error.offset + length, error.message, None);
        };
        Matchers::parse(text).map_err(refuse).ok()
    }

    /// A path; in a file it is relative to `base`, the folder of the config file.
    pub(super) fn path(&self, base: &Path) -> Option<PathBuf> {
        let text = self.text()?;
        if text.is_empty() {
            self.error("is empty", Some("write a path, or leave the key out"));
            return None;
        }
        Some(match self.place() {
            Place::Text { .. } | Place::File(_) => base.join(text),
            Place::Outside(_) => PathBuf::from(text),
        })
    }

    /// A path of a file that is there and can be read now.
    pub(super) fn readable_file(&self, base: &Path) -> Option<PathBuf> {
        let path = self.path(base)?;
        let problem = match std::fs::File::open(&path).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.is_dir() => "it is a folder".to_owned(),
            Ok(_) => return Some(path),
            Err(error) => error.to_string(),
        };
        self.error(format!("{} cannot be read: {problem}", path.display()), None);
        None
    }

    /// The items of a list; none where nothing is written.
    pub(super) fn list(&self) -> Vec<Self> {
        let node = self.node;
        match &node.kind {
            Kind::List(items) => {
                let item = |(index, node)| Self { node, key: format!("{}[{index}]", self.key), report: self.report };
                items.iter().enumerate().map(item).collect()
            }
            Kind::Null | Kind::Broken => Vec::new(),
            Kind::Text(..) | Kind::Map(_) => {
                self.unexpected("a list");
                Vec::new()
            }
        }
    }

    /// A map of texts, as written, without the labels that reaperd sets itself.
    pub(super) fn labels(&self) -> Labels {
        let mut labels = Labels::new();
        for (entry, value) in self.entries() {
            let is_name = entry.key.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_')
                && entry.key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if RESERVED.contains(&entry.key.as_str()) {
                let help = format!("reaperd sets {} itself", RESERVED.join(", "));
                self.report.error(
                    &entry.place,
                    &value.key,
                    format!("the label `{}` is reserved", entry.key),
                    Some(help),
                );
            } else if !is_name {
                let help = "use letters, digits and underscores, and no digit first";
                self.report.error(
                    &entry.place,
                    &value.key,
                    format!("`{}` is no label name", entry.key),
                    Some(help.into()),
                );
            } else if let Some(text) = value.text() {
                labels.insert(entry.key.clone(), text.to_owned());
            }
        }
        labels
    }

    /// Keys and values of a map of any keys; none where nothing is written.
    pub(super) fn entries(&self) -> Vec<(&'a Entry, Self)> {
        self.map().unwrap_or_default().iter().map(|entry| (entry, self.under(entry))).collect()
    }

    /// A map of certain keys, where any other key is refused; nothing written is an empty map.
    pub(super) fn section(&self, keys: &Keys) -> Option<Section<'a>> {
        let entries = self.map()?;
        for entry in entries {
            let path = self.under(entry).key;
            if keys.later.contains(&entry.key.as_str()) {
                self.report.error(
                    &entry.place,
                    &path,
                    "not supported by this version yet",
                    Some("leave it out".into()),
                );
            } else if !keys.known.contains(&entry.key.as_str()) {
                let listed = format!("known keys: {}", keys.known.join(", "));
                let help = match nearest(&entry.key, keys.known.iter().chain(keys.later).copied()) {
                    Some(word) => format!("did you mean `{word}`? {listed}"),
                    None => listed,
                };
                self.report.error(
                    &entry.place,
                    &path,
                    format!("unknown key `{}`", entry.key.escape_debug()),
                    Some(help),
                );
            }
        }
        Some(Section { value: self.clone(), entries })
    }

    fn map(&self) -> Option<&'a [Entry]> {
        let node = self.node;
        match &node.kind {
            Kind::Map(entries) => Some(entries),
            Kind::Null => Some(&[]),
            Kind::Broken => None,
            Kind::Text(..) | Kind::List(_) => {
                self.unexpected("a map");
                None
            }
        }
    }

    fn under(&self, entry: &'a Entry) -> Self {
        let dot = if self.key.is_empty() { "" } else { "." };
        Self { node: &entry.value, key: format!("{}{dot}{}", self.key, entry.key), report: self.report }
    }
}

/// The labels that reaperd sets itself.
const RESERVED: [&str; 3] = ["target", "provider", "instance_id"];

/// A map of certain keys.
pub(super) struct Section<'a> {
    value: Value<'a>,
    entries: &'a [Entry],
}

impl<'a> Section<'a> {
    /// The section as a value, to report what is wrong with it as a whole.
    pub(super) fn value(&self) -> &Value<'a> {
        &self.value
    }

    /// The value of a key, if it is there.
    pub(super) fn optional(&self, key: &str) -> Option<Value<'a>> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| self.value.under(entry))
    }

    /// The value of a key that must be there.
    pub(super) fn required(&self, key: &str, help: &str) -> Option<Value<'a>> {
        let found = self.optional(key);
        if found.is_none() {
            self.value.error(format!("the key `{key}` is missing"), Some(help));
        }
        found
    }
}
