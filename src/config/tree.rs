//! A YAML file as a tree of texts, exactly as they are written, each with its place.
//!
//! YAML's guesses are what corrupts configs: `no` is not false here, `0123` not 83, `1.10` not 1.1. So nothing is
//! guessed: a scalar is a text until a decoder, who knows what is wanted, reads it. Only what is left empty, `~` and
//! `null` have no value. Tags, anchors and aliases are refused.

use std::path::Path;
use std::sync::Arc;

use serde_saphyr::granit_parser::{Event, Parser, ScalarStyle, Span, StrInput};

use super::findings::Report;
use super::place::{Place, SourceFile};

/// A value and where it is written.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) kind: Kind,
}

/// What a value is, as far as YAML's syntax tells.
#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// Left empty, `~` or `null`.
    Null,
    /// A scalar, without its quotes and escapes.
    Text(String, ScalarStyle),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file, without duplicates.
    Map(Vec<Entry>),
    /// Something that was reported already: decoders pass over it in silence.
    Broken,
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) place: Place,
    pub(super) value: Node,
}

/// Reads a file whole. `None` after what stopped it has been reported.
pub(super) fn read(path: &Path, report: &Report) -> Option<Node> {
    let name: Arc<str> = path.to_string_lossy().into();
    let unreadable = |what: &dyn std::fmt::Display| {
        report.error(&Place::File(name.clone()), "", format!("cannot be read: {what}"), None);
    };
    let bytes = std::fs::read(path).map_err(|error| unreadable(&error)).ok()?;
    match String::from_utf8(bytes) {
        Ok(text) => parse(Arc::new(SourceFile::new(name, text)), report),
        Err(error) => {
            unreadable(&format_args!("it is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()));
            None
        }
    }
}

/// Reads a file's text. `None` after a syntax error has been reported.
pub(super) fn parse(file: Arc<SourceFile>, report: &Report) -> Option<Node> {
    let text = file.clone();
    let mut builder = Builder { events: Parser::new_from_str(text.text()), file, report };
    builder.document().ok()
}

/// A syntax error was reported; the rest of the file cannot be read.
struct Stopped;

struct Builder<'a> {
    events: Parser<'a, StrInput<'a>>,
    file: Arc<SourceFile>,
    report: &'a Report,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Place), Stopped> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, self.place(&span))),
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or(0).min(self.file.text().len());
                let place = Place::Text { file: self.file.clone(), span: at..at };
                self.report.error(&place, "", format!("this is not YAML: {}", error.info()), None);
                Err(Stopped)
            }
            None => Ok((Event::StreamEnd, Place::Text { file: self.file.clone(), span: 0..0 })),
        }
    }

    fn place(&self, span: &Span) -> Place {
        Place::Text { file: self.file.clone(), span: span.byte_range().unwrap_or(0..0) }
    }

    /// The only document of the file; an empty file is an empty value.
    fn document(&mut self) -> Result<Node, Stopped> {
        let mut root = None;
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::StreamEnd) {
                break;
            }
            if matches!(event, Event::DocumentStart(..)) && root.is_some() {
                self.report.error(&place, "", "a second document starts here", Some("keep one in a file".into()));
                return Err(Stopped);
            }
            if event.is_node() {
                root = Some(self.node(event, place)?);
            }
        }
        let place = Place::Text { file: self.file.clone(), span: 0..0 };
        Ok(root.unwrap_or(Node { place, kind: Kind::Null }))
    }

    fn node(&mut self, event: Event<'a>, place: Place) -> Result<Node, Stopped> {
        let (kind, tag) = match event {
            Event::Scalar(text, style, _, tag) => (scalar(text.into_owned(), style), tag),
            Event::SequenceStart(_, _, tag) => (self.list()?, tag),
            Event::MappingStart(_, _, tag) => (self.map()?, tag),
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let help = "write the value out where it is used";
                self.report.error(&place, "", "aliases are not supported", Some(help.into()));
                (Kind::Broken, None)
            }
            // Nothing else stands where a value stands.
            Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(..)
            | Event::DocumentEnd
            | Event::Anchor(..)
            | Event::SequenceEnd
            | Event::MappingEnd
            | _ => (Kind::Broken, None),
        };
        if tag.is_some() {
            let help = "leave it out: values are read as they are written";
            self.report.error(&place, "", "tags are not supported", Some(help.into()));
            return Ok(Node { place, kind: Kind::Broken });
        }
        Ok(Node { place, kind })
    }

    fn list(&mut self) -> Result<Kind, Stopped> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Kind::List(items)),
                (event, place) => items.push(self.node(event, place)?),
            }
        }
    }

    fn map(&mut self) -> Result<Kind, Stopped> {
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                return Ok(Kind::Map(entries));
            }
            let key = if let Event::Scalar(text, ..) = &event { Some(text.to_string()) } else { None };
            let Some(key) = key else {
                self.report.error(&place, "", "a key must be a text", None);
                self.node(event, place)?;
                self.value()?;
                continue;
            };
            let mut value = self.value()?;
            if matches!(value.kind, Kind::Null) {
                // An empty value has no text to point at; its key does.
                value.place = place.clone();
            }
            match entries.iter().find(|entry| entry.key == key) {
                Some(first) => {
                    let message = format!("the key `{key}` is here twice: first at {}", first.place);
                    self.report.error(&place, &key, message, Some("keep one of them".into()));
                }
                None => entries.push(Entry { key, place, value }),
            }
        }
    }

    fn value(&mut self) -> Result<Node, Stopped> {
        let (event, place) = self.next()?;
        self.node(event, place)
    }
}

fn scalar(text: String, style: ScalarStyle) -> Kind {
    if style == ScalarStyle::Plain && matches!(text.as_str(), "" | "~" | "null") {
        return Kind::Null;
    }
    Kind::Text(text, style)
}
