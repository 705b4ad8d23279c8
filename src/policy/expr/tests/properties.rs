//! Columns, rows and the `cel` interpreter agree on random expressions over random sessions; nothing panics.

use std::sync::Arc;

use cel::{Context, Env, ExecutionError, Value};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;

use super::super::ast::Condition;
use super::super::row::Values;
use super::super::{Expr, Mask, Program, Tri, Want};
use super::{Row, sessions};
use crate::policy::field::{Field, FieldType, Kind};
use crate::policy::session::Sessions;
use crate::policy::time::{millis, parse_duration};

const NUMBERS: [&str; 7] = ["-1", "0", "1", "2", "3", "9223372036854775807", "-9223372036854775807"];
const MILLIS: [&str; 4] = ["0", "1000", "60000", "3600000"];
const DURATIONS: [&str; 5] = ["0s", "1s", "1m", "1h", "1h30m"];
const TEXTS: [&str; 6] = ["", "a", "ab", "b\u{e9}b", "worker-1", "worker-22"];
const IPS: [&str; 4] = ["10.0.0.1", "10.1.0.1", "192.168.7.7", "fd00::1"];
const FLAGS: [&str; 6] = ["N", "O", "P", "b", "S", "xT"];

/// Numbers as an expression may have them: the smallest one too, which no session can have.
const CONSTANTS: [&str; 8] =
    ["-1", "0", "1", "2", "3", "9223372036854775807", "-9223372036854775807", "-9223372036854775808"];

/// Few fields, so that different tests meet on the same one; all kinds of columns.
const TESTED: [Field; 11] = [
    Field::Db,
    Field::Sub,
    Field::Omem,
    Field::Idle,
    Field::Age,
    Field::Name,
    Field::User,
    Field::Kind,
    Field::Ip,
    Field::Addr,
    Field::Peer,
];

fn value_of(field: Field) -> &'static [&'static str] {
    match (field, field.ty()) {
        (Field::Ip, _) => &IPS,
        (Field::Flags, _) => &FLAGS,
        (_, FieldType::Text) => &TEXTS,
        (_, FieldType::Duration) => &MILLIS,
        (_, FieldType::Int) => &NUMBERS,
    }
}

/// One session: each listed field is missing in this many of a hundred cases.
fn row(missing: u32) -> impl Strategy<Value = Row<'static>> {
    let listed = TESTED.iter().map(|field| if *field == Field::Kind { Field::Flags } else { *field });
    listed
        .map(|field| {
            (select(value_of(field)), 0..100_u32)
                .prop_map(move |(value, dice)| (dice >= missing).then_some((field, value)))
        })
        .collect::<Vec<_>>()
        .prop_map(|fields| fields.into_iter().flatten().collect())
}

/// More than two words of a mask.
fn some_sessions(missing: u32) -> impl Strategy<Value = Sessions> {
    proptest::collection::vec(row(missing), 0..140).prop_map(|rows| sessions(&rows))
}

fn number() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(&["db", "sub", "omem"][..]).prop_map(str::to_owned),
        select(&CONSTANTS[..]).prop_map(str::to_owned),
        text().prop_map(|text| format!("size({text})")),
    ];
    leaf.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            (inner.clone(), select(&["+", "-", "*"][..]), inner.clone())
                .prop_map(|(a, op, b)| format!("({a} {op} {b})")),
            inner.prop_map(|a| format!("-({a})")),
        ]
    })
}

fn duration() -> impl Strategy<Value = String> {
    let constant = select(&DURATIONS[..]).prop_map(|text| format!("duration(\"{text}\")"));
    let leaf = prop_oneof![2 => select(&["idle", "age"][..]).prop_map(str::to_owned), 1 => constant];
    leaf.prop_recursive(1, 4, 2, |inner| {
        (inner.clone(), select(&["+", "-"][..]), inner).prop_map(|(a, op, b)| format!("({a} {op} {b})"))
    })
}

fn text() -> impl Strategy<Value = String> {
    let field = select(&["name", "user", "addr", "peer", "ip", "kind"][..]).prop_map(str::to_owned);
    prop_oneof![3 => field, 1 => select(&TEXTS[..]).prop_map(|text| format!("{text:?}"))]
}

/// A test of values. `known_to_cel`: only what the interpreter also has.
fn test(known_to_cel: bool) -> BoxedStrategy<String> {
    let comparison = || select(&["==", "!=", "<", "<=", ">", ">="][..]);
    let list = |values: &'static [&'static str]| proptest::collection::vec(select(values), 1..4);
    let quoted = |values: Vec<&str>| format!("{values:?}");
    let simple = (select(&["db", "sub", "omem"][..]), comparison(), select(&CONSTANTS[..]));
    let common = prop_oneof![
        3 => simple.prop_map(|(field, op, value)| format!("{field} {op} {value}")),
        2 => (number(), comparison(), number()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        3 => (duration(), comparison(), duration()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        2 => (number(), list(&CONSTANTS)).prop_map(|(number, list)| format!("{number} in [{}]", list.join(", "))),
        2 => (select(&["name", "user", "addr"][..]), comparison(), select(&TEXTS[..]))
            .prop_map(|(field, op, value)| format!("{field} {op} {value:?}")),
        1 => (select(&["name", "peer"][..]), comparison(), select(&["user", "addr"][..]))
            .prop_map(|(a, op, b)| format!("{a} {op} {b}")),
        1 => (select(&["name", "addr"][..]), list(&TEXTS)).prop_map(move |(a, list)| format!("{a} in {}", quoted(list))),
        1 => list(&["normal", "monitor", "pubsub"]).prop_map(move |list| format!("kind in {}", quoted(list))),
        1 => select(&Kind::ALL[..]).prop_map(|kind| format!("kind == \"{}\"", kind.as_str())),
        1 => select(&IPS[..]).prop_map(|ip| format!("ip != \"{ip}\"")),
        3 => (text(), select(&["startsWith", "endsWith", "contains"][..]), text())
            .prop_map(|(a, function, b)| format!("{a}.{function}({b})")),
        1 => (text(), select(&["^worker-[0-9]+$", "b", ".", "^$"][..])).prop_map(|(a, p)| format!("{a}.matches({p:?})")),
        1 => select(&["true", "false"][..]).prop_map(str::to_owned),
    ];
    if known_to_cel {
        return common.boxed();
    }
    let networks = &["10.0.0.0/8", "10.1.0.0/16", "0.0.0.0/0", "fd00::/8"][..];
    prop_oneof![
        8 => common,
        1 => select(networks).prop_map(|network| format!("cidr(\"{network}\").containsIP(ip)")),
        1 => select(&TESTED[..]).prop_map(|field| format!("has({})", field.name())),
    ]
    .boxed()
}

/// An expression that is right.
fn source(known_to_cel: bool) -> impl Strategy<Value = String> {
    test(known_to_cel).prop_recursive(4, 24, 4, |inner| {
        let parts = || proptest::collection::vec(inner.clone(), 2..4);
        prop_oneof![
            inner.clone().prop_map(|a| format!("!({a})")),
            parts().prop_map(|parts| parts.join(" && ")),
            parts().prop_map(|parts| format!("({})", parts.join(" || "))),
        ]
    })
}

/// The expression; none for the few that fold to a number too large, which are refused.
fn expr(source: &str) -> Option<Expr> {
    match Expr::parse(source) {
        Ok(expr) => Some(expr),
        Err(errors) => {
            assert!(errors.iter().all(|error| error.message.contains("too large")), "{source}: {errors:?}");
            None
        }
    }
}

fn config(cases: u32) -> ProptestConfig {
    let failure_persistence = Some(Box::new(FileFailurePersistence::Off) as _);
    ProptestConfig { cases, failure_persistence, ..ProptestConfig::default() }
}

/// Whether `condition` may be `positive` if whatever lacks only `ip` goes its way: the definition, row by row.
fn were_ip_known(condition: &Condition, positive: bool, sessions: &Sessions, row: usize) -> bool {
    let mut parts = match condition {
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().map(|part| were_ip_known(part, positive, sessions, row))
        }
        Condition::Constant(value) => return *value == positive,
        Condition::Not(inner) => return were_ip_known(inner, !positive, sessions, row),
        Condition::Test(test) => {
            let missing = |field: &Field| sessions.value(*field, row).is_none();
            let lacks: Vec<Field> = test.needs().iter().filter(missing).collect();
            return test.known(Values::Row(sessions, row)) == Some(positive) || lacks == [Field::Ip];
        }
    };
    if matches!(condition, Condition::All(_)) == positive { parts.all(|part| part) } else { parts.any(|part| part) }
}

proptest! {
    #![proptest_config(config(300))]

    #[test]
    fn columns_answer_what_rows_answer(
        sources in proptest::collection::vec(source(false), 1..5),
        sessions in some_sessions(25),
    ) {
        let exprs: Vec<Expr> = sources.iter().filter_map(|source| expr(source)).collect();
        let wants = [Want::KnownTrue, Want::KnownFalse, Want::TrueWereIpKnown];
        let wanted: Vec<(&Expr, Want)> = exprs.iter().flat_map(|expr| wants.map(|want| (expr, want))).collect();
        let masks = Program::compile(&wanted).run(&sessions, &|_| true);
        for ((expr, want), mask) in wanted.into_iter().zip(masks) {
            let expected = Mask::of_rows(sessions.len(), |row| match want {
                Want::KnownTrue => expr.row(&sessions, row) == Tri::True,
                Want::KnownFalse => expr.row(&sessions, row) == Tri::False,
                Want::TrueWereIpKnown => {
                    expr.clauses().iter().all(|(_, clause)| were_ip_known(clause, true, &sessions, row))
                }
            });
            prop_assert_eq!(mask, Some(expected), "{:?} {:?}", want, expr);
        }
    }

    #[test]
    fn rows_answer_what_the_cel_interpreter_answers(source in source(true), sessions in some_sessions(0)) {
        let Some(expr) = expr(&source) else { return Ok(()) };
        for (row, expected) in interpreted(&source, &sessions).into_iter().enumerate() {
            prop_assert_eq!(expr.row(&sessions, row), expected, "{} in row {}", source, row);
        }
    }

    #[test]
    fn clauses_read_alone_answer_what_they_answer_together(source in source(false), sessions in some_sessions(25)) {
        let Some(whole) = expr(&source) else { return Ok(()) };
        for row in 0..sessions.len().min(2) {
            let clauses = whole.explain(&sessions, row);
            for clause in &clauses {
                let alone = Expr::parse(&clause.source).unwrap();
                prop_assert_eq!(alone.row(&sessions, row), clause.value, "{} of {}", &clause.source, &source);
            }
            let joined = Tri::join(clauses.iter().map(|clause| clause.value), Tri::False);
            prop_assert_eq!(joined, whole.row(&sessions, row));
        }
    }
}

/// What the interpreter answers for each session, on a stack of our own size because its parser needs it.
fn interpreted(source: &str, sessions: &Sessions) -> Vec<Tri> {
    let interpret = || {
        let program = Env::default().compile(source).unwrap();
        let answer = |row| match program.execute(&context(sessions, row)) {
            Ok(Value::Bool(value)) => Tri::of(Some(value)),
            Err(ExecutionError::Overflow(..)) => Tri::Unknown,
            other => panic!("{source}: {other:?}"),
        };
        (0..sessions.len().min(20)).map(answer).collect()
    };
    std::thread::scope(|scope| {
        std::thread::Builder::new().stack_size(16 << 20).spawn_scoped(scope, interpret).unwrap().join().unwrap()
    })
}

/// The session's values for the interpreter. Durations are milliseconds there too.
fn context(sessions: &Sessions, row: usize) -> Context<'static, 'static> {
    thread_local! {
        static ENV: Arc<Env> = Arc::new(Env::default().with_stdlib());
    }
    let mut context = Context::with_env(ENV.with(Arc::clone));
    context.add_function("duration", |text: Arc<String>| millis(parse_duration(&text).unwrap())).unwrap();
    for field in TESTED {
        match field.ty() {
            FieldType::Text => context.add_variable_from_value(field.name(), sessions.text(field, row).unwrap()),
            FieldType::Int | FieldType::Duration => {
                context.add_variable_from_value(field.name(), sessions.int(field, row).unwrap());
            }
        }
    }
    context
}

/// Tokens that the lexer takes, so that the parser gets to see them.
const TOKENS: [&str; 48] = [
    "idle",
    "db",
    "name",
    "ip",
    "kind",
    "nosuch",
    "has",
    "size",
    "cidr",
    "duration",
    "startsWith",
    "matches",
    "containsIP",
    "exists",
    "map",
    "x",
    "5",
    "5u",
    "0x1f",
    "0.5",
    "1e9",
    ".5",
    "99999999999999999999",
    "\"a\"",
    "'10.0.0.0/8'",
    "\"5m\"",
    "r\"\\d\"",
    "b\"x\"",
    "\"\\ud800\"",
    "and",
    "for",
    ".",
    ",",
    "?",
    ":",
    "!",
    "-",
    "+",
    "*",
    "/",
    "==",
    "!=",
    "<",
    "&&",
    "||",
    "in",
    "true",
    "null",
];

/// What it does not take.
const CHARACTERS: [&str; 13] = ["\"\"\"", "\"", "'", "\\", "(", ")", "[", "}", "=", "30m", "// x\n", "\u{e9}", "`a`"];

/// Tokens in any order, but with their brackets in pairs.
fn soup() -> impl Strategy<Value = String> {
    select(&TOKENS[..]).prop_map(str::to_owned).prop_recursive(6, 40, 6, |inner| {
        let parts = || proptest::collection::vec(inner.clone(), 0..6).prop_map(|parts| parts.join(" "));
        let brackets = select(&["()", "[]", "{}", "f()", "a.f()", "db == ()"][..]);
        prop_oneof![
            parts(),
            (brackets, parts()).prop_map(|(brackets, inner)| {
                let (open, close) = brackets.split_at(brackets.len() - 1);
                format!("{open}{inner}{close}")
            }),
        ]
    })
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn token_soup_never_panics(soup in soup()) {
        check(&soup);
    }

    #[test]
    fn unpaired_soup_never_panics(
        tokens in proptest::collection::vec(prop_oneof![4 => select(&TOKENS[..]), 1 => select(&CHARACTERS[..])], 0..20),
    ) {
        check(&tokens.concat());
    }

    #[test]
    fn any_text_never_panics(source in "\\PC{0,60}") {
        check(&source);
    }

    #[test]
    fn a_right_expression_with_one_slip_never_panics(source in source(false), at in any::<prop::sample::Index>(), token in prop_oneof![select(&TOKENS[..]), select(&CHARACTERS[..])]) {
        let mut at = at.index(source.len() + 1);
        while !source.is_char_boundary(at) {
            at -= 1;
        }
        let (before, after) = source.split_at(at);
        check(&[before, token, after].concat());
    }
}

/// Reads `source`; every mistake has a place in it and says something that is not a parser's debug text.
fn check(source: &str) {
    for error in Expr::parse(source).err().unwrap_or_default() {
        assert!(source.get(error.span.clone()).is_some(), "{source:?}: {error:?}");
        let debug = ["the parser could not run", "Syntax error", "expecting", "Context", "ParseErr", "UNKNOWN"];
        assert!(debug.iter().all(|debug| !error.message.contains(debug)), "{source:?}: {error:?}");
    }
}
