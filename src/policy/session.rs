//! Sessions as columns, per node: what a backend lists and what rules are evaluated on.
//!
//! Numbers are columns of `i64`; texts that repeat (names, users, commands) are codes into a dictionary; texts that
//! are different in every session (addresses) are spans of the listed text. A value the server did not give is
//! missing, which is not the same as zero or empty: a rule that needs it does not name the session.
//!
//! A [`Snapshot`] exists only for a whole, successful listing; backends make it, nobody else. A failed or partial
//! listing has no value that could be misread.

use std::ops::Range;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use super::field::{Column, Field, FieldSet, FieldType, INT_COLUMNS, Kind, SPAN_COLUMNS, SYMBOL_COLUMNS};
use super::names::{NodeName, RunId};
use super::time::Steady;

/// The stored value of a missing integer.
pub const MISSING_INT: i64 = i64::MIN;
/// The stored code of a missing text.
pub const MISSING_CODE: u32 = u32::MAX;

/// A column of repeating texts: one code a session, each distinct text once.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    codes: Vec<u32>,
    values: Vec<Box<str>>,
}

impl Symbols {
    /// One code a session, [`MISSING_CODE`] where the text is missing; empty when no session has the field.
    #[must_use]
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// The distinct texts; a code is an index into it.
    #[must_use]
    pub fn values(&self) -> &[Box<str>] {
        &self.values
    }
}

/// A piece of the listed text.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    len: u32,
}

const MISSING_SPAN: Span = Span { start: u32::MAX, len: 0 };

/// The sessions of one node, in columns.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    len: usize,
    text: String,
    ints: [Vec<i64>; INT_COLUMNS],
    symbols: [Symbols; SYMBOL_COLUMNS],
    spans: [Vec<Span>; SPAN_COLUMNS],
    fields: FieldSet,
}

/// One value of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// An integer.
    Int(i64),
    /// A duration, in milliseconds.
    Millis(i64),
    /// A text.
    Text(&'a str),
}

impl Sessions {
    /// How many sessions there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The fields that at least one session has.
    #[must_use]
    pub fn fields(&self) -> FieldSet {
        self.fields
    }

    /// The integer column with this index: one value a session, [`MISSING_INT`] where it is missing; empty when no
    /// session has the field.
    #[must_use]
    pub fn ints(&self, index: usize) -> &[i64] {
        &self.ints[index]
    }

    /// The symbol column with this index.
    #[must_use]
    pub fn symbols(&self, index: usize) -> &Symbols {
        &self.symbols[index]
    }

    /// The text of a span column for one session.
    #[must_use]
    pub fn span(&self, column: usize, row: usize) -> Option<&str> {
        let span = self.spans[column].get(row)?;
        self.text.get(span.start as usize..span.start as usize + span.len as usize)
    }

    /// An integer or duration (milliseconds) of one session.
    #[must_use]
    pub fn int(&self, field: Field, row: usize) -> Option<i64> {
        let Column::Int(index) = field.column() else { return None };
        self.ints[index].get(row).copied().filter(|value| *value != MISSING_INT)
    }

    /// A text of one session.
    #[must_use]
    pub fn text(&self, field: Field, row: usize) -> Option<&str> {
        match field.column() {
            Column::Int(_) => None,
            Column::Span(index) => self.span(index, row),
            Column::Symbol(index) => {
                let symbols = &self.symbols[index];
                symbols.values.get(*symbols.codes.get(row)? as usize).map(AsRef::as_ref)
            }
        }
    }

    /// Any value of one session.
    #[must_use]
    pub fn value(&self, field: Field, row: usize) -> Option<Value<'_>> {
        match field.ty() {
            FieldType::Int => self.int(field, row).map(Value::Int),
            FieldType::Duration => self.int(field, row).map(Value::Millis),
            FieldType::Text => self.text(field, row).map(Value::Text),
        }
    }

    /// The id of one session. Every session has one: a builder refuses a session without.
    #[must_use]
    pub fn id(&self, row: usize) -> i64 {
        self.ints[0].get(row).copied().unwrap_or(MISSING_INT)
    }

    /// The kind of one session; unknown when its flags are.
    #[must_use]
    pub fn kind(&self, row: usize) -> Option<Kind> {
        Kind::from_name(self.text(Field::Kind, row)?)
    }

    /// Whether the server is already closing this session (flag `A` or `c`).
    #[must_use]
    pub fn is_closing(&self, row: usize) -> bool {
        self.text(Field::Flags, row).is_some_and(|flags| flags.contains(['A', 'c']))
    }
}

/// Writes [`Sessions`] row by row. Fields that are not set in a row are missing there; of two values for one field the
/// first wins.
pub struct SessionsBuilder {
    sessions: Sessions,
    lookup: [HashTable<u32>; SYMBOL_COLUMNS],
    seen: FieldSet,
    expected: usize,
}

impl SessionsBuilder {
    /// A builder over the listed `text`, into which spans point, with room for `expected` sessions.
    ///
    /// Texts longer than 4 GiB cannot be addressed by spans; backends refuse them before.
    #[must_use]
    pub fn new(text: String, expected: usize) -> Self {
        let sessions = Sessions { text, ..Sessions::default() };
        Self { sessions, lookup: Default::default(), seen: FieldSet::EMPTY, expected }
    }

    /// Gives the listed text, into which spans point, after the fact: a parser that borrows it cannot give it before.
    #[must_use]
    pub fn with_text(mut self, text: String) -> Self {
        self.sessions.text = text;
        self
    }

    /// The listed text.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.sessions.text
    }

    /// Sets an integer or duration (milliseconds) of the current session.
    #[inline]
    pub fn int(&mut self, field: Field, value: i64) {
        let Column::Int(index) = field.column() else { return };
        put(&mut self.sessions.ints[index], self.sessions.len, self.expected, MISSING_INT, value);
        self.seen.insert(field);
    }

    /// Sets a repeating text of the current session to the piece `range` of the listed text.
    pub fn symbol(&mut self, field: Field, range: Range<usize>) {
        let Column::Symbol(index) = field.column() else { return };
        let Some(value) = self.sessions.text.get(range) else { return };
        let (row, symbols) = (self.sessions.len, &mut self.sessions.symbols[index]);
        let code = intern(symbols, &mut self.lookup[index], value);
        put(&mut symbols.codes, row, self.expected, MISSING_CODE, code);
        self.seen.insert(field);
    }

    /// Sets a repeating text of the current session to `value`, which need not be part of the listed text.
    #[inline]
    pub fn symbol_text(&mut self, field: Field, value: &str) {
        let Column::Symbol(index) = field.column() else { return };
        let (row, symbols) = (self.sessions.len, &mut self.sessions.symbols[index]);
        let code = intern(symbols, &mut self.lookup[index], value);
        put(&mut symbols.codes, row, self.expected, MISSING_CODE, code);
        self.seen.insert(field);
    }

    /// Sets a text that differs in every session (an address) to the piece `range` of the listed text.
    #[inline]
    pub fn span(&mut self, field: Field, range: Range<usize>) {
        let Column::Span(index) = field.column() else { return };
        let (Ok(start), Ok(len)) = (u32::try_from(range.start), u32::try_from(range.len())) else { return };
        let column = &mut self.sessions.spans[index];
        put(column, self.sessions.len, self.expected, MISSING_SPAN, Span { start, len });
        self.seen.insert(field);
    }

    /// Ends the current session. Returns false, and drops nothing, when it has no id: the listing is then not whole.
    #[must_use]
    pub fn end_session(&mut self) -> bool {
        self.sessions.len += 1;
        self.sessions.ints[0].len() == self.sessions.len
    }

    /// How many sessions were ended so far.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sessions.len
    }

    /// Whether no session was ended so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sessions.len == 0
    }

    /// The finished columns. `kind` is derived from `flags` here, once per distinct value, and every session gets
    /// its `node`.
    #[must_use]
    pub fn finish(mut self, node: &NodeName) -> Sessions {
        self.derive_kind();
        let mut sessions = self.sessions;
        let len = sessions.len;
        let Column::Symbol(node_column) = Field::Node.column() else { return sessions };
        sessions.symbols[node_column] = Symbols { codes: vec![0; len], values: vec![node.as_str().into()] };
        sessions.fields = self.seen.with(Field::Node);
        for column in sessions.ints.iter_mut().filter(|column| !column.is_empty()) {
            column.resize(len, MISSING_INT);
        }
        for symbols in sessions.symbols.iter_mut().filter(|symbols| !symbols.codes.is_empty()) {
            symbols.codes.resize(len, MISSING_CODE);
        }
        for column in sessions.spans.iter_mut().filter(|column| !column.is_empty()) {
            column.resize(len, MISSING_SPAN);
        }
        sessions
    }

    fn derive_kind(&mut self) {
        let (Column::Symbol(flags), Column::Symbol(kind)) = (Field::Flags.column(), Field::Kind.column()) else {
            return;
        };
        let flags = &self.sessions.symbols[flags];
        if flags.codes.is_empty() {
            return;
        }
        let mut kinds = Symbols::default();
        let mut lookup = HashTable::new();
        let by_flags: Vec<u32> = flags
            .values
            .iter()
            .map(|value| intern(&mut kinds, &mut lookup, Kind::from_flags(value).as_str()))
            .collect();
        kinds.codes =
            flags.codes.iter().map(|code| by_flags.get(*code as usize).copied().unwrap_or(MISSING_CODE)).collect();
        self.sessions.symbols[kind] = kinds;
        self.seen.insert(Field::Kind);
    }
}

/// Puts the value of session `row` at the end of a column, behind a filling for sessions that lack it; a second value
/// for the same session is dropped. Room is made once, for all the sessions that are expected.
#[inline]
fn put<T: Copy>(column: &mut Vec<T>, row: usize, expected: usize, missing: T, value: T) {
    if column.len() > row {
        return;
    }
    if column.capacity() == column.len() {
        column.reserve(expected.max(row + 1) - column.len());
    }
    if column.len() < row {
        column.resize(row, missing);
    }
    column.push(value);
}

/// The code of `value` in `symbols`. The session before usually has the same value, so that is tried first.
fn intern(symbols: &mut Symbols, lookup: &mut HashTable<u32>, value: &str) -> u32 {
    let Symbols { codes, values } = symbols;
    if let Some(last) = codes.last()
        && values.get(*last as usize).is_some_and(|known| **known == *value)
    {
        return *last;
    }
    let hash = hash(value);
    match lookup.entry(hash, |code| *values[*code as usize] == *value, |code| self::hash(&values[*code as usize])) {
        Entry::Occupied(entry) => *entry.get(),
        Entry::Vacant(entry) => {
            // At most one value a session, and sessions are counted by spans of u32.
            let code = u32::try_from(values.len()).unwrap_or(MISSING_CODE);
            values.push(value.into());
            entry.insert(code);
            code
        }
    }
}

fn hash(value: &str) -> u64 {
    use std::hash::BuildHasher;
    // Keyed once per process: client names are chosen by clients, who must not be able to choose collisions.
    static STATE: std::sync::LazyLock<hashbrown::DefaultHashBuilder> =
        std::sync::LazyLock::new(hashbrown::DefaultHashBuilder::default);
    STATE.hash_one(value)
}

/// The connection that a node was listed on: a kill goes out only on the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub u64);

/// The whole, successfully listed set of sessions of one node at one time.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The node.
    pub node: NodeName,
    /// The run of its server.
    pub run: RunId,
    /// The connection it was listed on.
    pub connection: ConnectionId,
    /// When the list was asked for: nothing in it is younger.
    pub at: Steady,
    /// The ids of our own sessions on this node.
    pub own: Vec<i64>,
    /// The user that we are authenticated as, where it is known.
    pub own_user: Option<Box<str>>,
    /// What was listed.
    pub sessions: Sessions,
}

impl Snapshot {
    /// One session, taken out of the columns.
    #[must_use]
    pub fn session(&self, row: usize) -> Session {
        Session::from_columns(&self.node, &self.run, &self.sessions, row)
    }

    /// How many sessions there are, replication left out.
    #[must_use]
    pub fn seen(&self) -> usize {
        let replication = |row: &usize| matches!(self.sessions.kind(*row), Some(Kind::Replica | Kind::Master));
        self.sessions.len() - (0..self.sessions.len()).filter(replication).count()
    }
}

/// The identity of a session within its target.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    /// The node that listed it.
    pub node: NodeName,
    /// The run of the node's server.
    pub run: RunId,
    /// The id on that node.
    pub id: i64,
}

/// One session on its own: what remains of the columns from `decide` on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its identity.
    pub key: SessionKey,
    /// The handle of a kill: `ip:port`.
    pub peer: Option<Box<str>>,
    /// What it is; unknown when its flags are.
    pub kind: Option<Kind>,
    /// Whether the server is already closing it.
    pub closing: bool,
    ints: [i64; INT_COLUMNS],
    texts: Box<[Option<Box<str>>]>,
}

impl Session {
    /// One session of a node, taken out of the columns.
    #[must_use]
    pub fn from_columns(node: &NodeName, run: &RunId, sessions: &Sessions, row: usize) -> Self {
        let mut ints = [MISSING_INT; INT_COLUMNS];
        for (index, value) in ints.iter_mut().enumerate() {
            *value = sessions.ints[index].get(row).copied().unwrap_or(MISSING_INT);
        }
        let texts = Field::ALL
            .iter()
            .filter(|field| field.ty() == FieldType::Text)
            .map(|field| sessions.text(*field, row).map(Into::into))
            .collect();
        Self {
            key: SessionKey { node: node.clone(), run: run.clone(), id: sessions.id(row) },
            peer: sessions.text(Field::Peer, row).map(Into::into),
            kind: sessions.kind(row),
            closing: sessions.is_closing(row),
            ints,
            texts,
        }
    }

    /// An integer or duration (milliseconds).
    #[must_use]
    pub fn int(&self, field: Field) -> Option<i64> {
        let Column::Int(index) = field.column() else { return None };
        Some(self.ints[index]).filter(|value| *value != MISSING_INT)
    }

    /// A text.
    #[must_use]
    pub fn text(&self, field: Field) -> Option<&str> {
        let position =
            Field::ALL.iter().filter(|other| other.ty() == FieldType::Text).position(|other| *other == field)?;
        self.texts.get(position)?.as_deref()
    }

    /// Any value.
    #[must_use]
    pub fn value(&self, field: Field) -> Option<Value<'_>> {
        match field.ty() {
            FieldType::Int => self.int(field).map(Value::Int),
            FieldType::Duration => self.int(field).map(Value::Millis),
            FieldType::Text => self.text(field).map(Value::Text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_set_is_missing_and_not_zero() {
        let mut builder = SessionsBuilder::new("alice 10.0.0.1:5 N".to_owned(), 2);
        builder.int(Field::Id, 7);
        builder.symbol(Field::User, 0..5);
        builder.span(Field::Addr, 6..16);
        assert!(builder.end_session());
        builder.int(Field::Id, 8);
        builder.int(Field::Omem, 3);
        builder.symbol(Field::Flags, 17..18);
        assert!(builder.end_session());
        let sessions = builder.finish(&"n".into());
        assert_eq!(sessions.int(Field::Omem, 0), None);
        assert_eq!(sessions.int(Field::Omem, 1), Some(3));
        assert_eq!(sessions.text(Field::User, 0), Some("alice"));
        assert_eq!(sessions.text(Field::User, 1), None);
        assert_eq!(sessions.text(Field::Addr, 0), Some("10.0.0.1:5"));
        assert_eq!(sessions.text(Field::Addr, 1), None);
        assert_eq!(sessions.kind(0), None);
        assert_eq!(sessions.kind(1), Some(Kind::Normal));
        assert_eq!(sessions.int(Field::Idle, 0), None);
        assert_eq!(sessions.text(Field::Node, 1), Some("n"));
        assert!(!sessions.fields().contains(Field::Idle));
    }

    #[test]
    fn a_session_without_id_makes_the_listing_not_whole() {
        let mut builder = SessionsBuilder::new(String::new(), 1);
        builder.int(Field::Db, 0);
        assert!(!builder.end_session());
    }
}
