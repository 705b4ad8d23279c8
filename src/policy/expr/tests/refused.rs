//! Every mistake is refused, at its place, with what to write instead.

use super::super::{Expr, ExprError};

/// What is wrong with `source`: each place, message and help.
fn mistakes(source: &str) -> Vec<(&str, String, String)> {
    let errors = Expr::parse(source).err().unwrap_or_default();
    errors.into_iter().map(|error| (&source[error.span], error.message, error.help.unwrap_or_default())).collect()
}

/// Each source has exactly one mistake, at this place; message and help contain these words.
fn each_has_one(cases: &[(&str, &str, &str, &str)]) {
    for (source, place, message, help) in cases {
        let found = mistakes(source);
        assert_eq!(found.len(), 1, "{source}: {found:#?}");
        assert_eq!(found[0].0, *place, "{source}: {found:?}");
        assert!(found[0].1.contains(message), "{source}: {found:?}");
        assert!(found[0].2.contains(help), "{source}: {found:?}");
    }
}

#[test]
fn unknown_names() {
    each_has_one(&[
        ("idel > duration(\"5m\")", "idel", "unknown field `idel`", "did you mean `idle`?"),
        ("connected > 5", "connected", "unknown field `connected`", "the fields are id, addr, ip"),
        ("tot-mem > 5", "tot-mem", "unknown field `tot-mem`", "write tot_mem"),
        ("qbuf-free > 5", "qbuf-free", "unknown field `qbuf-free`", "write qbuf_free"),
        ("lib.name == \"x\"", "lib.name", "unknown field `lib.name`", "write lib_name"),
        ("session.idle > duration(\"5m\")", "session.idle", "unknown field `session.idle`", "write idle"),
        ("kind == normal", "normal", "unknown field `normal`", "write \"normal\" in quotes"),
        ("user == zebra", "zebra", "unknown field `zebra`", "write \"zebra\" in quotes"),
        ("name.startswith(\"x\")", "startswith", "unknown function `startswith`", "did you mean `startsWith`?"),
        ("lower(name) == \"x\"", "lower", "unknown function `lower`", "The functions are duration, has"),
        ("[1].exists(x, x > 0)", "exists", "`exists` is not supported", "&& and ||"),
        ("has(a.b)", "a.b", "unknown field `a.b`", "fields have no parts"),
        ("has(nmae)", "nmae", "unknown field `nmae`", "did you mean `name`?"),
        ("has(db == 1)", "db == 1", "has() takes the name of a field", "write has(name)"),
        ("db.has(a.b)", "db.has(a.b)", "`has` is not called like this", "write has(name)"),
    ]);
}

#[test]
fn wrong_types() {
    each_has_one(&[
        ("idle > 300", "300", "cannot compare `idle` (a duration) with `300` (a number)", "write duration(\"300s\")"),
        ("300 < idle", "300", "cannot compare", "write duration(\"300s\")"),
        ("idle > \"5m\"", "\"5m\"", "cannot compare", "write duration(\"5m\")"),
        ("db == \"0\"", "\"0\"", "cannot compare", "write 0, without quotes"),
        ("omem > \"64mb\"", "\"64mb\"", "cannot compare", "write a number"),
        ("omem > duration(\"5m\")", "duration(\"5m\")", "cannot compare", "write a number"),
        ("name == 5", "5", "cannot compare", "write \"5\""),
        ("idle > omem", "idle > omem", "cannot compare", ""),
        (
            "kind == \"Normal\"",
            "\"Normal\"",
            "there is no kind \"Normal\"",
            "did you mean \"normal\"? The kinds are replica",
        ),
        ("\"slave\" != kind", "\"slave\"", "there is no kind \"slave\"", "The kinds are"),
        ("kind in [\"normal\", \"x\"]", "\"x\"", "there is no kind \"x\"", "The kinds are"),
        ("kind < \"normal\"", "kind < \"normal\"", "kinds have no order", "kind =="),
        ("ip == \"10.0.0.0/8\"", "\"10.0.0.0/8\"", "is no address", "cidr(\"10.0.0.0/8\").containsIP(ip)"),
        ("ip == \"FD00::1\"", "\"FD00::1\"", "not how the address is listed", "write \"fd00::1\""),
        ("idle", "idle", "`idle` is a duration, not a condition", "compare it, as in idle > duration(\"30m\")"),
        ("db && db == 1", "db", "`db` is a number, not a condition", "db > 0"),
        ("!name", "name", "`name` is a text, not a condition", "name == \"...\""),
        ("cidr(\"10.0.0.0/8\")", "cidr(\"10.0.0.0/8\")", "is a network, not a condition", ".containsIP(ip)"),
        ("(db == 1) == true", "(db == 1) == true", "conditions cannot be compared", "&& and ||"),
        ("0 < db < 5", "0 < db < 5", "cannot compare `0 < db` (a condition) with `5` (a number)", ""),
        ("name + \"x\" == \"y\"", "name + \"x\"", "cannot calculate", "only numbers and durations"),
        ("idle * 2 > age", "idle * 2", "cannot calculate", "durations are added to"),
        ("idle + 2 > age", "idle + 2", "cannot calculate", "durations are added to"),
        ("-idle < duration(\"5m\")", "idle", "`-` needs a number; `idle` is a duration", ""),
        ("db in []", "[]", "nothing is in an empty list", ""),
        ("db in [1, \"2\"]", "\"2\"", "`db` is a number, `\"2\"` is a text", "write 2, without quotes"),
        ("idle in [300]", "300", "`idle` is a duration, `300` is a number", "write duration(\"300s\")"),
        ("db in [1, sub]", "sub", "`sub` is not a constant", "=="),
        ("\"w\" in name", "name", "`in` needs a list", "write name.contains(\"w\")"),
        ("ip in \"10.0.0.0/8\"", "\"10.0.0.0/8\"", "`in` needs a list", "write cidr(\"10.0.0.0/8\").containsIP(ip)"),
        ("db in 5", "5", "`in` needs a list", "write db in [5]"),
        ("[1] == db", "[1]", "a list stands only at the right of `in`", ""),
        ("size(db) > 1", "db", "size() needs a text; `db` is a number", ""),
        ("idle.contains(\"x\")", "idle", "contains() needs a text", ""),
        ("name.contains(5)", "5", "contains() needs a text", "write \"5\""),
    ]);
}

#[test]
fn what_cel_has_and_rules_do_not() {
    each_has_one(&[
        ("db == 5u", "5u", "no unsigned numbers", "write 5"),
        ("db > 0.8", "0.8", "no fractions", "limits: {share: 25%}"),
        ("omem / qbuf > 2", "omem / qbuf", "`/` is not supported", "multiply"),
        ("db % 2 == 0", "db % 2", "`%` is not supported", ""),
        ("db == 1 ? true : false", "db == 1 ? true : false", "`?:` is not supported", "&&"),
        ("name == null", "null", "there is no null", "has(name)"),
        ("name == b\"x\"", "b\"x\"", "there are no bytes", "write \"x\""),
        ("{1: 2} == db", "{1: 2}", "there are no maps", ""),
        ("name[0] == \"x\"", "name[0]", "nothing to take an element of", ""),
        ("9223372036854775807 + 1 == db", "9223372036854775807 + 1", "too large", ""),
    ]);
}

#[test]
fn wrong_arguments() {
    each_has_one(&[
        ("idle > duration(300)", "300", "duration() takes a text", "write duration(\"300s\")"),
        ("idle > duration(\"5 minutes\")", "\"5 minutes\"", "`5 minutes` is not a duration", ""),
        ("idle > duration(\"-5m\")", "\"-5m\"", "is negative", "subtract"),
        ("idle > \"5m\".duration()", "\"5m\".duration()", "not called like this", "write duration(\"5m\")"),
        ("startsWith(name, \"x\")", "startsWith(name, \"x\")", "not called like this", "write name.startsWith(\"x\")"),
        ("name.matches(\"(\")", "\"(\"", "no regular expression: unclosed group", ""),
        ("name.matches(user)", "user", "takes a regular expression in quotes", ""),
        ("name.matches(\"(a{1000}){1000}\")", "\"(a{1000}){1000}\"", "no regular expression", ""),
        ("cidr(\"10.0.0.0/33\").containsIP(ip)", "\"10.0.0.0/33\"", "is no network", "cidr(\"10.0.0.0/8\")"),
        ("cidr(\"10.0.0.1\").containsIP(ip)", "\"10.0.0.1\"", "is no network", "cidr(\"10.0.0.1/32\")"),
        ("cidr(\"10.0.0.0/8\").containsIP(addr)", "addr", "takes the field ip", "containsIP(ip)"),
        ("ip.containsIP(ip)", "ip", "is asked of a network", "cidr(\"10.0.0.0/8\").containsIP(ip)"),
    ]);
}

#[test]
fn all_mistakes_are_reported_at_once_and_in_order() {
    let source = "kind == \"Normal\" && idel > 5 && (idle > 300 || !name.foo(nmae)) && db == 5u";
    let places: Vec<&str> = mistakes(source).into_iter().map(|(place, ..)| place).collect();
    assert_eq!(places, ["\"Normal\"", "idel", "300", "foo", "nmae", "5u"]);
}

#[test]
fn what_is_probably_not_meant_is_a_lint() {
    let lints = |source: &str| -> Vec<ExprError> { Expr::parse(source).unwrap().lints().to_vec() };
    let source = "db == 1 && name.matches(\"worker\")";
    assert_eq!(&source[lints(source)[0].span.clone()], "name.matches(\"worker\")");
    assert_eq!(lints("lib_ver < \"1.10\"").len(), 1);
    for source in ["name.matches(\"^worker\")", "name.matches(\"worker$\")", "name == \"worker\""] {
        assert_eq!(lints(source), [], "{source}");
    }
}
