//! The parser against tables and against splitting.

use proptest::prelude::*;

use super::super::client_list::{ParseError, fields, lines_of, parse, snapshot_from_text};
use crate::policy::field::Field;
use crate::policy::session::Sessions;
use crate::policy::time::Steady;

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
        ("id=1 age=9223372036854775807\n", "CLIENT LIST, line 1: `age=9223372036854775807` is no number of seconds"),
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
    let pair = move |key| (proptest::bool::weighted(0.9), value(key)).prop_map(move |(on, v)| on.then_some((key, v)));
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
