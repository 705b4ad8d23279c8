//! What expressions mean: values, missing values, kinds, explanations.

use super::super::{Clause, Expr, Program, Tri, Want};
use super::sessions;
use crate::policy::field::{Field, FieldSet, Kind};

fn expr(source: &str) -> Expr {
    Expr::parse(source).unwrap_or_else(|errors| panic!("{source}: {errors:#?}"))
}

/// A session that has these values and no others.
fn one() -> crate::policy::session::Sessions {
    sessions(&[vec![
        (Field::Name, "w\u{f6}rker-1"),
        (Field::User, ""),
        (Field::Ip, "10.1.2.3"),
        (Field::Addr, "10.1.2.3:50"),
        (Field::Flags, "O"),
        (Field::Idle, "7500000"),
        (Field::Age, "7500001"),
        (Field::Db, "3"),
        (Field::Multi, "-1"),
        (Field::Omem, "9223372036854775807"),
    ]])
}

#[test]
fn one_session() {
    for (source, expected) in [
        ("idle == duration(\"2h5m\")", Tri::True),
        ("idle > duration(\"125m\") || idle < duration(\"125m\")", Tri::False),
        ("age - idle == duration(\"1ms\")", Tri::True),
        ("idle + duration(\"1ms\") >= age", Tri::True),
        ("idle in [duration(\"1s\"), duration(\"2h5m\")]", Tri::True),
        ("3 == db && 4 > db && db != -3", Tri::True),
        ("db * 2 - 1 == 5 && -db == -3", Tri::True),
        ("multi == -1 && multi < 0", Tri::True),
        ("omem > 64 * 1024 * 1024", Tri::True),
        ("omem + 1 > 0", Tri::Unknown),
        ("!(omem + 1 > 0)", Tri::Unknown),
        ("db in [1, 2] || db in [3]", Tri::True),
        ("!(db in [1, 2])", Tri::True),
        ("name.startsWith(\"w\u{f6}\") && name.endsWith(\"-1\") && name.contains('ker')", Tri::True),
        ("size(name) == 8 && name.size() == 8 && size(user) == 0", Tri::True),
        ("name.matches(r\"^w.rker-\\d+$\")", Tri::True),
        ("user == \"\" && has(user)", Tri::True),
        ("addr.startsWith(ip)", Tri::True),
        ("cidr(\"10.0.0.0/8\").containsIP(ip) && !cidr(\"10.2.0.0/16\").containsIP(ip)", Tri::True),
        ("cidr(\"fd00::/8\").containsIP(ip)", Tri::False),
        ("kind == \"monitor\" && node == \"node-1\"", Tri::True),
        ("true && !false", Tri::True),
        ("1 < 2", Tri::True),
    ] {
        assert_eq!(expr(source).row(&one(), 0), expected, "{source}");
    }
}

#[test]
fn addresses_of_both_kinds() {
    let sessions = sessions(&[
        vec![(Field::Ip, "fd00::1")],
        vec![(Field::Ip, "::ffff:10.0.0.1")],
        vec![(Field::Ip, "no address")],
        vec![],
    ]);
    let rows = |source: &str| -> Vec<Tri> { (0..4).map(|row| expr(source).row(&sessions, row)).collect() };
    assert_eq!(rows("cidr(\"fd00::/8\").containsIP(ip)"), [Tri::True, Tri::False, Tri::Unknown, Tri::Unknown]);
    assert_eq!(rows("!cidr(\"10.0.0.0/8\").containsIP(ip)"), [Tri::True, Tri::False, Tri::Unknown, Tri::Unknown]);
}

/// `sub == 1` is true, `sub == 2` is false, `tot_mem == 1` is unknown.
#[test]
fn logic_is_kleenes() {
    let sessions = sessions(&[vec![(Field::Sub, "1")]]);
    let values = [("sub == 1", Tri::True), ("sub == 2", Tri::False), ("tot_mem == 1", Tri::Unknown)];
    let all = |a, b| match (a, b) {
        (Tri::False, _) | (_, Tri::False) => Tri::False,
        (Tri::True, Tri::True) => Tri::True,
        _ => Tri::Unknown,
    };
    let not = |a| match a {
        Tri::True => Tri::False,
        Tri::False => Tri::True,
        Tri::Unknown => Tri::Unknown,
    };
    for (a, a_is) in values {
        assert_eq!(expr(&format!("!({a})")).row(&sessions, 0), not(a_is));
        for (b, b_is) in values {
            assert_eq!(expr(&format!("{a} && {b}")).row(&sessions, 0), all(a_is, b_is), "{a} && {b}");
            assert_eq!(expr(&format!("{a} || {b}")).row(&sessions, 0), not(all(not(a_is), not(b_is))), "{a} || {b}");
        }
    }
}

#[test]
fn has_is_always_known() {
    let sessions = sessions(&[vec![(Field::Sub, "1")], vec![(Field::Name, "")]]);
    for (source, expected) in [
        ("has(sub)", [Tri::True, Tri::False]),
        ("!has(sub)", [Tri::False, Tri::True]),
        ("has(name)", [Tri::False, Tri::True]),
        ("has(tot_mem)", [Tri::False, Tri::False]),
        ("!has(lib_name)", [Tri::True, Tri::True]),
        ("has(addr)", [Tri::False, Tri::False]),
        ("has(id) && has(node)", [Tri::True, Tri::True]),
    ] {
        let expr = expr(source);
        assert_eq!([expr.row(&sessions, 0), expr.row(&sessions, 1)], expected, "{source}");
        let masks = Program::compile(&[(&expr, Want::KnownTrue)]).run(&sessions, &|_| true);
        let mask = masks[0].as_ref().unwrap();
        assert_eq!([mask.get(0), mask.get(1)], expected.map(|value| value == Tri::True), "{source}");
    }
}

#[test]
fn a_hidden_ip_is_told_from_other_missing_values() {
    let sessions = sessions(&[
        vec![(Field::Idle, "1"), (Field::Ip, "10.0.0.1")],
        vec![(Field::Idle, "1")],
        vec![(Field::Idle, "1"), (Field::Ip, "11.0.0.1")],
        vec![],
    ]);
    let ones = |source: &str, want| -> Vec<usize> {
        let program = Program::compile(&[(&expr(source), want)]);
        program.run(&sessions, &|_| true)[0].as_ref().unwrap().iter_ones().collect()
    };
    for source in ["cidr(\"10.0.0.0/8\").containsIP(ip) && idle > duration(\"0s\")", "ip == \"10.0.0.1\" && has(idle)"]
    {
        assert_eq!(ones(source, Want::KnownTrue), [0], "{source}");
        assert_eq!(ones(source, Want::TrueWereIpKnown), [0, 1], "{source}");
    }
    let source = "!cidr(\"10.0.0.0/8\").containsIP(ip) && idle > duration(\"0s\")";
    assert_eq!(ones(source, Want::KnownTrue), [2]);
    assert_eq!(ones(source, Want::KnownFalse), [0]);
    assert_eq!(ones(source, Want::TrueWereIpKnown), [1, 2]);
    assert_eq!(ones("has(ip) && ip != \"10.0.0.1\"", Want::TrueWereIpKnown), [2]);
}

#[test]
fn slots_that_are_not_wanted_have_no_mask() {
    let (a, b) = (expr("db == 1"), expr("db == 2"));
    let program = Program::compile(&[(&a, Want::KnownTrue), (&b, Want::KnownTrue)]);
    let masks = program.run(&sessions(&[vec![(Field::Db, "2")]]), &|slot| slot == 1);
    assert_eq!(masks[0], None);
    assert_eq!(masks[1].as_ref().map(super::super::Mask::count), Some(1));
}

#[test]
fn no_sessions_are_no_trouble() {
    let expr = expr("db == 1 || name.contains(\"x\") || !has(addr) || addr == \"x\"");
    let masks = Program::compile(&[(&expr, Want::KnownTrue)]).run(&sessions(&[]), &|_| true);
    assert_eq!(masks[0].as_ref().map(super::super::Mask::rows), Some(0));
}

#[test]
fn needs_are_the_tested_values() {
    let fields = |source: &str| expr(source).needs();
    let set = |fields: &[Field]| fields.iter().copied().collect::<FieldSet>();
    assert_eq!(fields("has(tot_mem) && idle > age"), set(&[Field::Idle, Field::Age]));
    assert_eq!(fields("kind == \"normal\" || !name.contains(user)"), set(&[Field::Kind, Field::Name, Field::User]));
    assert_eq!(fields("cidr(\"10.0.0.0/8\").containsIP(ip)"), set(&[Field::Ip]));
    assert!(expr("size(flags) > 1").tests_flags() && !expr("has(flags)").tests_flags());
    assert!(expr("ip != \"10.0.0.1\"").tests_ip() && !expr("addr == \"x\"").tests_ip());
}

#[test]
fn kinds_are_named_where_they_are_asked_for() {
    for (source, expected) in [
        ("kind == \"monitor\"", vec![Kind::Monitor]),
        ("\"monitor\" == kind && idle > duration(\"5m\")", vec![Kind::Monitor]),
        (
            "idle > duration(\"5m\") && (db == 1 || kind in [\"pubsub\", \"blocked\"])",
            vec![Kind::Pubsub, Kind::Blocked],
        ),
        ("!(!(kind == \"normal\"))", vec![Kind::Normal]),
        ("kind != \"normal\"", vec![]),
        ("!(kind == \"monitor\")", vec![]),
        ("!(kind in [\"monitor\"])", vec![]),
        ("kind.contains(\"monitor\")", vec![]),
        ("name == \"monitor\"", vec![]),
    ] {
        let named: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| expr(source).names_kind(*kind)).collect();
        assert_eq!(named, expected, "{source}");
    }
}

#[test]
fn explanations_show_every_clause_as_written() {
    let source =
        "kind == \"normal\" && (idle > duration(\"30m\")\n  && !name.startsWith(\"w\")) && (db == 1 || tot_mem > 5)";
    let clause =
        |source: &str, value, shown: &str| Clause { source: source.to_owned(), value, shown: shown.to_owned() };
    assert_eq!(
        expr(source).explain(&one(), 0),
        [
            clause("kind == \"normal\"", Tri::False, "kind = \"monitor\""),
            clause("idle > duration(\"30m\")", Tri::True, "idle = 2h5m"),
            clause("!name.startsWith(\"w\")", Tri::False, "name = \"w\u{f6}rker-1\""),
            clause("db == 1 || tot_mem > 5", Tri::Unknown, "db = 3, tot_mem is unknown"),
        ]
    );
}
