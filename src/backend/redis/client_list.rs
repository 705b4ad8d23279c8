//! The text of CLIENT LIST, read straight into columns. Pure: no I/O.
//!
//! A line is a session; in it, `key=value` pairs are separated by single spaces. Keys that are not in the session schema
//! are skipped, whatever their value is, so that a newer server can be read; keys that a server does not print are
//! missing. Everything else that is not as expected refuses the text as a whole, since half a listing would be taken
//! for sessions that have left: a last line without its end, a pair without `=`, a number that is none, a session
//! without an id, an id that comes twice.
//!
//! All lines of a server carry the same keys in the same order, so the keys of the line before are remembered by position
//! and only compared. That is what makes one pass over the text fast.

use memchr::{memchr, memchr_iter, memchr2, memrchr};

use crate::policy::field::{Field, FieldSet};
use crate::policy::names::{NodeName, RunId};
use crate::policy::session::{ConnectionId, Sessions, SessionsBuilder, Snapshot};
use crate::policy::time::Steady;

/// Spans are 32 bits, so a longer text cannot be addressed.
const LONGEST: usize = u32::MAX as usize;
/// No server prints shorter lines; it bounds how much room a strange first line can ask for.
const SHORTEST_LINE: usize = 64;

/// Why a text is no CLIENT LIST; it was refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("CLIENT LIST, line {line}: {message}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub message: String,
}

/// What the value of a key becomes.
#[derive(Clone, Copy)]
enum Action {
    Skip,
    Int(Field),
    Seconds(Field),
    Symbol(Field),
    Span(Field),
    Address,
}

/// Reads the answer to CLIENT LIST of `node`. An empty text is an empty set of sessions; whether that can be is for the
/// caller to say.
///
/// # Errors
/// [`ParseError`] when the text is truncated or garbled.
pub fn parse(text: String, node: &NodeName) -> Result<Sessions, ParseError> {
    if text.len() > LONGEST {
        return Err(ParseError { line: 1, message: "the text is longer than 4 GiB".to_owned() });
    }
    if !text.is_empty() && !text.ends_with('\n') {
        let line = memchr_iter(b'\n', text.as_bytes()).count() + 1;
        return Err(ParseError { line, message: "it has no end: the text is truncated".to_owned() });
    }
    let builder = Reader::new(&text).read()?;
    let sessions = builder.with_text(text).finish(node);
    match repeated_id(sessions.ints(0)) {
        None => Ok(sessions),
        Some(row) => {
            let message = format!("the id {} comes twice", sessions.id(row));
            Err(ParseError { line: row + 1, message })
        }
    }
}

/// Reads a saved CLIENT LIST, as `redis-cli CLIENT LIST > FILE` writes it, for plans and explanations without a server.
/// Its run is `offline`, and no session in it is taken for our own.
///
/// # Errors
/// [`ParseError`] when the text is empty, truncated or garbled.
pub fn snapshot_from_text(mut text: String, node: &NodeName, at: Steady) -> Result<Snapshot, ParseError> {
    // redis-cli ends its output with an empty line.
    while text.ends_with("\n\n") {
        text.pop();
    }
    let sessions = parse(text, node)?;
    if sessions.is_empty() {
        return Err(ParseError { line: 1, message: "there is no session in it".to_owned() });
    }
    let run = RunId::from("offline");
    Ok(Snapshot { node: node.clone(), run, connection: ConnectionId(0), at, own: Vec::new(), own_user: None, sessions })
}

/// The lines of `text` whose session is in `ids`, which must be sorted: what `CLIENT LIST ID` would have answered.
#[must_use]
pub(super) fn lines_of(text: &str, ids: &[i64]) -> String {
    let wanted = |line: &&str| {
        let id = line.split([' ', '\n']).find_map(|pair| pair.strip_prefix("id="));
        id.and_then(|id| id.parse().ok()).is_some_and(|id: i64| ids.binary_search(&id).is_ok())
    };
    text.split_inclusive('\n').filter(wanted).collect()
}

/// The row of an id that an earlier row has, too. Servers list in the order of ids, so that one pass usually tells.
fn repeated_id(ids: &[i64]) -> Option<usize> {
    if ids.is_sorted_by(|earlier, later| earlier < later) {
        return None;
    }
    let mut seen = hashbrown::HashSet::with_capacity(ids.len());
    ids.iter().position(|id| !seen.insert(*id))
}

fn action(key: &str) -> Action {
    match key {
        "id" => Action::Int(Field::Id),
        "addr" => Action::Address,
        "laddr" => Action::Span(Field::Laddr),
        "name" => Action::Symbol(Field::Name),
        "user" => Action::Symbol(Field::User),
        "db" => Action::Int(Field::Db),
        "flags" => Action::Symbol(Field::Flags),
        "cmd" => Action::Symbol(Field::Cmd),
        "age" => Action::Seconds(Field::Age),
        "idle" => Action::Seconds(Field::Idle),
        "sub" => Action::Int(Field::Sub),
        "psub" => Action::Int(Field::Psub),
        "ssub" => Action::Int(Field::Ssub),
        "multi" => Action::Int(Field::Multi),
        "qbuf" => Action::Int(Field::Qbuf),
        "qbuf-free" => Action::Int(Field::QbufFree),
        "obl" => Action::Int(Field::Obl),
        "oll" => Action::Int(Field::Oll),
        "omem" => Action::Int(Field::Omem),
        "tot-mem" => Action::Int(Field::TotMem),
        "resp" => Action::Int(Field::Resp),
        "lib-name" => Action::Symbol(Field::LibName),
        "lib-ver" => Action::Symbol(Field::LibVer),
        "events" => Action::Symbol(Field::Events),
        _ => Action::Skip,
    }
}

/// The fields that some server lists.
pub(super) fn fields() -> FieldSet {
    Field::ALL.iter().copied().collect()
}

/// A key with its `=`, and what its value becomes.
#[derive(Clone, Copy)]
struct Slot<'t> {
    key: &'t [u8],
    action: Action,
}

struct Reader<'t> {
    text: &'t str,
    bytes: &'t [u8],
    /// Where the next key or value begins.
    at: usize,
    /// The keys of the line before, by position.
    keys: Vec<Slot<'t>>,
    builder: SessionsBuilder,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        let line = memchr(b'\n', text.as_bytes()).map_or(SHORTEST_LINE, |end| (end + 1).max(SHORTEST_LINE));
        let builder = SessionsBuilder::new(String::new(), text.len() / line + 1);
        Self { text, bytes: text.as_bytes(), at: 0, keys: Vec::new(), builder }
    }

    fn read(mut self) -> Result<SessionsBuilder, ParseError> {
        while self.at < self.bytes.len() {
            self.line()?;
            if !self.builder.end_session() {
                return Err(ParseError { line: self.builder.len(), message: "the session has no id".to_owned() });
            }
        }
        Ok(self.builder)
    }

    fn line(&mut self) -> Result<(), ParseError> {
        for position in 0.. {
            let action = match self.keys.get(position) {
                Some(slot) if self.bytes[self.at..].starts_with(slot.key) => {
                    self.at += slot.key.len();
                    slot.action
                }
                Some(_) | None => self.key(position)?,
            };
            let end = self.value(action)?;
            self.at = end + 1;
            if self.bytes.get(end) == Some(&b'\n') {
                break;
            }
        }
        Ok(())
    }

    /// Reads a key that is not the one of the line before, and remembers it.
    #[cold]
    fn key(&mut self, position: usize) -> Result<Action, ParseError> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| matches!(byte, b'=' | b' ' | b'\n')).unwrap_or(rest.len());
        if end == 0 || rest.get(end) != Some(&b'=') {
            return Err(self.refuse("is not of the form key=value"));
        }
        let action = action(&self.text[self.at..self.at + end]);
        let slot = Slot { key: &rest[..=end], action };
        self.keys.truncate(position);
        self.keys.push(slot);
        self.at += end + 1;
        Ok(action)
    }

    /// Reads the value that begins here, and tells where it ends.
    #[inline]
    fn value(&mut self, action: Action) -> Result<usize, ParseError> {
        match action {
            Action::Int(field) => {
                let (value, end) = self.number()?;
                self.builder.int(field, value);
                Ok(end)
            }
            Action::Seconds(field) => {
                let (value, end) = self.number()?;
                let Some(millis) = value.checked_mul(1000) else { return Err(self.refuse("is no number of seconds")) };
                self.builder.int(field, millis);
                Ok(end)
            }
            Action::Skip => Ok(self.end()),
            Action::Symbol(field) => {
                let end = self.end();
                self.builder.symbol_text(field, &self.text[self.at..end]);
                Ok(end)
            }
            Action::Span(field) => {
                let end = self.end();
                self.builder.span(field, self.at..end);
                Ok(end)
            }
            Action::Address => {
                let end = self.end();
                self.address(end);
                Ok(end)
            }
        }
    }

    /// Where the text that begins here ends.
    #[inline]
    fn end(&self) -> usize {
        memchr2(b' ', b'\n', &self.bytes[self.at..]).map_or(self.bytes.len(), |length| self.at + length)
    }

    /// The number that begins here, and where it ends.
    #[inline]
    fn number(&self) -> Result<(i64, usize), ParseError> {
        let negative = self.bytes.get(self.at) == Some(&b'-');
        let start = self.at + usize::from(negative);
        let mut end = start;
        let mut value: i64 = 0;
        while let Some(digit) = self.bytes.get(end).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
            end += 1;
        }
        // 18 digits always fit.
        let whole = matches!(self.bytes.get(end), Some(b' ' | b'\n')) && (1..=18).contains(&(end - start));
        if whole { Ok((if negative { -value } else { value }, end)) } else { self.long_number() }
    }

    #[cold]
    fn long_number(&self) -> Result<(i64, usize), ParseError> {
        let end = self.end();
        match self.text[self.at..end].parse() {
            Ok(value) => Ok((value, end)),
            Err(_) => Err(self.refuse("is not a number")),
        }
    }

    /// `ip:port`, `[ip]:port`, or the path of a Unix socket with `:0`, which has neither address nor port.
    #[inline]
    fn address(&mut self, end: usize) {
        let range = self.at..end;
        self.builder.span(Field::Addr, range.clone());
        self.builder.span(Field::Peer, range.clone());
        let addr = &self.text[range];
        let Some(colon) = memrchr(b':', addr.as_bytes()) else { return };
        let (host, port) = (&addr[..colon], &addr[colon + 1..]);
        let ip = match host.as_bytes().first() {
            Some(b'0'..=b'9') => host,
            Some(b'[') => host.trim_start_matches('[').trim_end_matches(']'),
            Some(_) | None => return,
        };
        self.builder.symbol_text(Field::Ip, ip);
        if let Ok(port) = port.parse::<u16>() {
            self.builder.int(Field::Port, i64::from(port));
        }
    }

    /// Refuses the text for the pair around the current place.
    #[cold]
    fn refuse(&self, what: &str) -> ParseError {
        let start = self.text[..self.at].rfind([' ', '\n']).map_or(0, |place| place + 1);
        let end = self.text[self.at..].find([' ', '\n']).map_or(self.text.len(), |length| self.at + length);
        let pair: String = self.text[start..end].chars().take(80).collect();
        ParseError { line: self.builder.len() + 1, message: format!("`{}` {what}", pair.escape_debug()) }
    }
}
