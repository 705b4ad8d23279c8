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

use crate::policy::field::Field;
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
pub(super) fn fields() -> crate::policy::field::FieldSet {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "id=3184 addr=127.0.0.1:49426 laddr=127.0.0.1:26379 fd=3182 name= age=4 idle=4 flags=N db=0 sub=0 \
        psub=0 ssub=0 multi=-1 qbuf=0 qbuf-free=4 argv-mem=0 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0 omem=0 \
        tot-mem=1800 events=r cmd=NULL user=default redir=-1 resp=2 lib-name=redis-py lib-ver=5.0.1\n";

    fn read(text: &str) -> Result<Sessions, ParseError> {
        parse(text.to_owned(), &"n".into())
    }

    fn refusal(text: &str) -> String {
        read(text).expect_err("must be refused").to_string()
    }

    #[test]
    fn a_line_of_a_real_server_fills_the_schema() {
        let sessions = read(LINE).unwrap();
        assert_eq!(sessions.fields(), fields());
        for (field, expected) in [
            (Field::Id, 3184),
            (Field::Port, 49426),
            (Field::Age, 4000),
            (Field::Idle, 4000),
            (Field::Multi, -1),
            (Field::QbufFree, 4),
            (Field::TotMem, 1800),
            (Field::Resp, 2),
        ] {
            assert_eq!(sessions.int(field, 0), Some(expected), "{}", field.name());
        }
        for (field, expected) in [
            (Field::Addr, "127.0.0.1:49426"),
            (Field::Peer, "127.0.0.1:49426"),
            (Field::Laddr, "127.0.0.1:26379"),
            (Field::Ip, "127.0.0.1"),
            (Field::Name, ""),
            (Field::User, "default"),
            (Field::Kind, "normal"),
            (Field::Cmd, "NULL"),
            (Field::LibName, "redis-py"),
            (Field::LibVer, "5.0.1"),
            (Field::Events, "r"),
        ] {
            assert_eq!(sessions.text(field, 0), Some(expected), "{}", field.name());
        }
    }

    #[test]
    fn what_a_server_does_not_print_is_missing_and_what_it_prints_more_is_skipped() {
        let sessions = read("id=1 addr=10.0.0.1:5 brand-new=a=b age=1\nid=2 omem=5000000000\n").unwrap();
        assert_eq!(sessions.int(Field::Age, 0), Some(1000));
        assert_eq!(sessions.int(Field::Age, 1), None);
        assert_eq!(sessions.int(Field::Omem, 1), Some(5_000_000_000));
        assert_eq!(sessions.text(Field::Name, 0), None);
        assert_eq!(sessions.text(Field::Addr, 1), None);
        assert!(!sessions.fields().contains(Field::Name));
    }

    #[test]
    fn addresses_give_ip_and_port_where_they_have_them() {
        for (addr, ip, port) in [
            ("10.1.2.3:65535", Some("10.1.2.3"), Some(65535)),
            ("[2001:db8::1]:6379", Some("2001:db8::1"), Some(6379)),
            ("/run/redis.sock:0", None, None),
            ("?:0", None, None),
            ("", None, None),
        ] {
            let sessions = read(&format!("id=1 addr={addr} name=x\n")).unwrap();
            assert_eq!(sessions.text(Field::Addr, 0), Some(addr));
            assert_eq!(sessions.text(Field::Peer, 0), Some(addr));
            assert_eq!(sessions.text(Field::Ip, 0), ip, "{addr}");
            assert_eq!(sessions.int(Field::Port, 0), port, "{addr}");
        }
    }

    #[test]
    fn garbled_text_is_refused_whole_and_the_message_names_the_place() {
        for (text, message) in [
            ("id=1 age=4\nid=2 ag", "CLIENT LIST, line 2: it has no end: the text is truncated"),
            ("id=1 age=4\nid=2 age\n", "CLIENT LIST, line 2: `age` is not of the form key=value"),
            ("id=1  age=4\n", "CLIENT LIST, line 1: `` is not of the form key=value"),
            ("id=1\n\nid=2\n", "CLIENT LIST, line 2: `` is not of the form key=value"),
            ("id=1 =4\n", "CLIENT LIST, line 1: `=4` is not of the form key=value"),
            ("id=1\nage=4\n", "CLIENT LIST, line 2: the session has no id"),
            ("id=1 age=4s\n", "CLIENT LIST, line 1: `age=4s` is not a number"),
            ("id=1 age=\n", "CLIENT LIST, line 1: `age=` is not a number"),
            ("id=1 qbuf=-\n", "CLIENT LIST, line 1: `qbuf=-` is not a number"),
            ("id=1 omem=99999999999999999999\n", "CLIENT LIST, line 1: `omem=99999999999999999999` is not a number"),
            (
                "id=1 age=9223372036854775807\n",
                "CLIENT LIST, line 1: `age=9223372036854775807` is no number of seconds",
            ),
            ("id=1\nid=2\nid=1\n", "CLIENT LIST, line 3: the id 1 comes twice"),
            ("-ERR something\n", "CLIENT LIST, line 1: `-ERR` is not of the form key=value"),
        ] {
            assert_eq!(refusal(text), message, "{text:?}");
        }
    }

    #[test]
    fn the_largest_numbers_survive() {
        let sessions = read("id=9223372036854775807 multi=-9223372036854775807\n").unwrap();
        assert_eq!(sessions.id(0), i64::MAX);
        assert_eq!(sessions.int(Field::Multi, 0), Some(-i64::MAX));
    }

    #[test]
    fn a_saved_list_is_a_snapshot_without_own_sessions() {
        let at = Steady::from_millis(5);
        let snapshot = snapshot_from_text(format!("{LINE}\n"), &"n".into(), at).unwrap();
        assert_eq!((snapshot.run.as_str(), snapshot.sessions.len(), snapshot.at), ("offline", 1, at));
        assert!(snapshot.own.is_empty());
        for empty in ["", "\n", "\n\n"] {
            assert!(snapshot_from_text(empty.to_owned(), &"n".into(), at).is_err(), "{empty:?}");
        }
    }

    #[test]
    fn the_lines_of_some_ids() {
        let text = "id=1 addr=a id=7\nid=20 name=id=2\nid=2 x=y\n";
        assert_eq!(lines_of(text, &[2, 7]), "id=2 x=y\n");
        assert_eq!(lines_of(text, &[]), "");
    }

    const KEYS: [&str; 14] = [
        "addr",
        "laddr",
        "fd",
        "name",
        "age",
        "idle",
        "flags",
        "multi",
        "qbuf-free",
        "tot-mem",
        "cmd",
        "user",
        "lib-name",
        "io-thread",
    ];

    /// A session as pairs: mostly the keys of a server in their order, now and then some are left out.
    fn session() -> impl Strategy<Value = Vec<(&'static str, String)>> {
        let value = |key: &'static str| match key {
            "age" | "idle" | "fd" => (0i64..1_000_000).prop_map(|n| n.to_string()).boxed(),
            "multi" | "qbuf-free" | "tot-mem" => any::<i64>().prop_map(|n| n.to_string()).boxed(),
            "addr" | "laddr" => "(10\\.0\\.[0-9]\\.[0-9]|\\[fe80::[1-9a-f]\\]|/run/r\\.sock):[0-9]{1,4}".boxed(),
            _ => "[!-~é]{0,6}".boxed(),
        };
        let pair =
            move |key| (proptest::bool::weighted(0.9), value(key)).prop_map(move |(on, v)| on.then_some((key, v)));
        KEYS.map(pair).to_vec().prop_map(|pairs| pairs.into_iter().flatten().collect())
    }

    fn list() -> impl Strategy<Value = Vec<Vec<(&'static str, String)>>> {
        proptest::collection::vec(session(), 0..12)
    }

    fn write(list: &[Vec<(&'static str, String)>]) -> String {
        let line = |(row, pairs): (usize, &Vec<(&'static str, String)>)| {
            let pairs: String = pairs.iter().map(|(key, value)| format!(" {key}={value}")).collect();
            format!("id={}{pairs}\n", row + 1)
        };
        list.iter().enumerate().map(line).collect()
    }

    proptest! {
        #[test]
        fn reads_what_splitting_reads(list in list()) {
            let text = write(&list);
            let sessions = read(&text).unwrap();
            prop_assert_eq!(sessions.len(), list.len());
            for (row, line) in text.lines().enumerate() {
                let listed = |name: &str| line.split(' ').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
                prop_assert_eq!(sessions.id(row), row as i64 + 1);
                for (field, key) in [(Field::Multi, "multi"), (Field::QbufFree, "qbuf-free"), (Field::TotMem, "tot-mem")] {
                    prop_assert_eq!(sessions.int(field, row), listed(key).map(|v| v.parse().unwrap()));
                }
                for (field, key) in [(Field::Age, "age"), (Field::Idle, "idle")] {
                    prop_assert_eq!(sessions.int(field, row), listed(key).map(|v| v.parse::<i64>().unwrap() * 1000));
                }
                for field in [Field::Addr, Field::Laddr, Field::Name, Field::Flags, Field::Cmd, Field::User] {
                    prop_assert_eq!(sessions.text(field, row), listed(field.name()));
                }
                prop_assert_eq!(sessions.text(Field::LibName, row), listed("lib-name"));
                let socket = listed("addr").and_then(|addr| addr.parse::<std::net::SocketAddr>().ok());
                let ip = socket.map(|socket| socket.ip().to_string());
                prop_assert_eq!(sessions.text(Field::Ip, row), ip.as_deref());
                prop_assert_eq!(sessions.int(Field::Port, row), socket.map(|socket| i64::from(socket.port())));
            }
        }

        #[test]
        fn a_cut_line_is_refused(list in list(), cut in any::<prop::sample::Index>()) {
            let text = write(&list);
            prop_assume!(!text.is_empty());
            let mut at = cut.index(text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            let part = &text[..at];
            prop_assert_eq!(read(part).is_ok(), part.is_empty() || part.ends_with('\n'));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[ -~\n=é]{0,60}|(id=[0-9]{1,2}( [a-z-]{1,9}=[-0-9a-z.:/]{0,21}){0,4}\n){0,4}") {
            let refused = read(&text).is_err();
            prop_assert!(refused || text.is_empty() || text.ends_with('\n'));
        }
    }
}
