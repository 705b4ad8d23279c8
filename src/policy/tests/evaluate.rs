//! Who is named, in which order, after how long; who is protected.

use super::super::confirm::{Confirmation, confirm};
use super::super::field::Field;
use super::super::pending::Pending;
use super::super::rule::Order;
use super::{One, compile, find, idle, list, list_of, protection, rule};
use std::time::Duration;

const IDLE: &str = r#"kind == "normal" && idle > duration("10s")"#;

fn ids(found: &super::Found) -> Vec<i64> {
    found.candidates.iter().map(|candidate| candidate.session().key.id).collect()
}

#[test]
fn the_most_deserving_come_first_and_ties_go_by_id() {
    let rules = compile(vec![rule("r", IDLE)], vec![]);
    let found = find(&rules, &mut Pending::default(), &[list(0, &[idle(4, 20), idle(3, 20), idle(5, 90), idle(6, 5)])]);
    assert_eq!(ids(&found), [5, 3, 4]);
}

#[test]
fn max_takes_the_most_deserving_and_leaves_the_protected_visible() {
    let mut one = rule("r", IDLE);
    one.max = Some(2);
    one.order = Order { field: Field::Age, descending: false };
    let rules = compile(vec![one], vec![protection(r#"name == "vip""#, None)]);
    let vip = One { name: "vip", ..idle(9, 500) };
    let found = find(&rules, &mut Pending::default(), &[list(0, &[idle(2, 50), idle(3, 40), idle(4, 30), vip])]);
    assert_eq!(ids(&found), [4, 3, 9]);
    assert_eq!(found.candidates[2].protection().map(AsRef::as_ref), Some("operators"));
}

#[test]
fn always_protected() {
    let rules = compile(vec![rule("r", r#"idle > duration("10s")"#)], vec![]);
    let with = |id, flags, name| One { flags, name, ..idle(id, 60) };
    let found = find(
        &rules,
        &mut Pending::default(),
        &[list(
            0,
            &[
                idle(1, 60),
                with(2, "S", ""),
                with(3, "M", ""),
                with(4, "O", ""),
                with(5, "P", ""),
                with(6, "b", ""),
                with(7, "N", "reaperd"),
                with(8, "N", "sentinel-1a2b3c4d-cmd"),
                with(9, "P", "sentinel-1a2b3c4d-pubsub"),
                with(10, "N", "worker"),
            ],
        )],
    );
    let protected: Vec<i64> = found
        .candidates
        .iter()
        .filter(|candidate| candidate.protection().is_some())
        .map(|candidate| candidate.session().key.id)
        .collect();
    assert_eq!(protected, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(ids(&found)[0], 10);
}

#[test]
fn a_rule_reaches_other_kinds_only_by_naming_them() {
    let monitor = One { flags: "O", ..idle(2, 60) };
    let replica = One { flags: "S", ..idle(3, 60) };
    for (matches, reaches) in [
        (r#"kind == "monitor""#, true),
        (r#"kind in ["monitor", "pubsub"]"#, true),
        (r#"flags.contains("O")"#, true),
        (r#"age > duration("1s")"#, false),
        (r#"kind != "normal""#, false),
    ] {
        let rules = compile(vec![rule("r", matches)], vec![]);
        let found = find(&rules, &mut Pending::default(), &[list(0, &[monitor.clone(), replica.clone()])]);
        let free = found.candidates.iter().any(|candidate| candidate.protection().is_none());
        assert_eq!(free, reaches, "{matches}");
        let replica = found.candidates.iter().find(|candidate| candidate.session().key.id == 3);
        assert!(replica.is_none_or(|replica| replica.protection().is_some()), "{matches}");
    }
}

#[test]
fn a_protection_holds_unless_it_is_known_false_and_until_it_expires() {
    let from_socket = One { peer: "/run/redis.sock:0".to_owned(), ..idle(2, 60) };
    let by_address = protection(r#"cidr("10.0.0.0/8").containsIP(ip)"#, None);
    let elsewhere = protection(r#"cidr("192.168.0.0/16").containsIP(ip)"#, None);
    let expired = protection(r#"name == """#, Some(-1));
    for (protection, who, held) in [
        (&by_address, idle(3, 60), true),
        (&elsewhere, idle(3, 60), false),
        (&elsewhere, from_socket.clone(), true),
        (&expired, idle(3, 60), false),
    ] {
        let rules = compile(vec![rule("r", IDLE)], vec![protection.clone()]);
        let found = find(&rules, &mut Pending::default(), &[list(0, &[who])]);
        assert_eq!(found.candidates[0].protection().is_some(), held, "{protection:?}");
    }
}

#[test]
fn a_protection_that_a_target_cannot_evaluate_protects_everything_there() {
    let rules = compile(vec![rule("r", IDLE)], vec![protection(r#"lib_name == "jedis""#, None)]);
    let found = find(&rules, &mut Pending::default(), &[list(0, &[idle(2, 60), idle(3, 60)])]);
    assert!(found.candidates.iter().all(|candidate| candidate.protection().is_some()));
    assert_eq!(found.candidates.len(), 2);
}

#[test]
fn a_hidden_address_is_unidentified_and_never_named() {
    let from_socket = One { peer: "/run/redis.sock:0".to_owned(), ..idle(2, 60) };
    for matches in [
        r#"idle > duration("10s") && cidr("10.0.0.0/8").containsIP(ip)"#,
        r#"idle > duration("10s") && !cidr("10.0.0.0/8").containsIP(ip)"#,
        r#"idle > duration("10s") && ip != "10.0.0.1""#,
    ] {
        let rules = compile(vec![rule("r", matches)], vec![]);
        let found = find(&rules, &mut Pending::default(), &[list(0, std::slice::from_ref(&from_socket))]);
        assert!(found.candidates.iter().all(super::Candidate::is_unidentified), "{matches}");
        assert_eq!(found.candidates.len(), 1, "{matches}");
    }
    let rules = compile(vec![rule("r", r#"idle > duration("90s") && ip == "10.0.0.1""#)], vec![]);
    let found = find(&rules, &mut Pending::default(), &[list(0, &[from_socket])]);
    assert!(found.candidates.is_empty(), "what is false whatever the address is, is not unidentified");
}

#[test]
fn a_rule_that_needs_what_the_node_does_not_list_is_not_applicable() {
    let rules = compile(vec![rule("r", r#"lib_name == "jedis""#)], vec![]);
    let found = find(&rules, &mut Pending::default(), &[list(0, &[idle(2, 60)])]);
    assert_eq!(found.not_applicable, [(0, super::super::field::FieldSet::EMPTY.with(Field::LibName))]);
    assert!(found.candidates.is_empty());
}

#[test]
fn for_needs_every_snapshot_two_of_them_and_no_gap() {
    let mut held = rule("r", IDLE);
    held.hold = Duration::from_secs(30);
    let rules = compile(vec![held], vec![]);
    let mut pending = Pending::default();
    let mut named = |seconds, who: &[One]| ids(&find(&rules, &mut pending, &[list(seconds, who)]));
    assert_eq!(named(0, &[idle(2, 60), idle(3, 60)]), [0; 0], "the first snapshot");
    assert_eq!(named(20, &[idle(2, 80), idle(3, 1)]), [0; 0], "not long enough");
    assert_eq!(named(30, &[idle(2, 90), idle(3, 11)]), [2], "3 did not match in between");
    assert_eq!(named(60, &[idle(2, 120), idle(3, 41)]), [2, 3]);
    assert_eq!(named(121, &[idle(2, 181), idle(3, 102)]), [0; 0], "a gap of more than a minute starts anew");
    assert_eq!(named(151, &[idle(2, 211)]), [2]);
}

#[test]
fn for_starts_anew_on_another_run_and_survives_a_failed_list() {
    let mut held = rule("r", IDLE);
    held.hold = Duration::from_secs(30);
    let rules = compile(vec![held], vec![]);
    let mut pending = Pending::default();
    let mut named = |lists: &[_]| ids(&find(&rules, &mut pending, lists));
    assert_eq!(named(&[list_of("n", "r1", 0, &[idle(2, 60)])]), [0; 0]);
    assert_eq!(named(&[]), [0; 0], "the node could not be listed");
    assert_eq!(named(&[list_of("n", "r1", 40, &[idle(2, 100)])]), [2]);
    assert_eq!(named(&[list_of("n", "r2", 50, &[idle(2, 100)])]), [0; 0], "another run hands out the same id");
}

#[test]
fn confirm_wants_the_same_session_still_named_and_still_unprotected() {
    let rules = compile(vec![rule("r", IDLE)], vec![protection(r#"name == "vip""#, None)]);
    let found = find(&rules, &mut Pending::default(), &[list(0, &[idle(2, 60)])]).candidates;
    let key = (0, found[0].session().key.clone());
    for (looked, confirmed, what) in [
        (vec![idle(2, 61)], true, "the same"),
        (vec![], false, "it left"),
        (vec![One { idle: 0, age: 61, ..idle(2, 0) }], false, "it woke up"),
        (vec![One { age: 20, ..idle(2, 20) }], false, "it is younger: another session has its place"),
        (vec![One { peer: "10.0.0.9:2".to_owned(), ..idle(2, 61) }], false, "another peer"),
        (vec![One { flags: "P", ..idle(2, 61) }], false, "it subscribed"),
        (vec![One { name: "vip", ..idle(2, 61) }], false, "it is protected by now"),
    ] {
        let confirmations = confirm(&found, &[list(1, &looked)], &rules, 0);
        let is_confirmed = matches!(confirmations[&key], Confirmation::Confirmed(..));
        assert_eq!(is_confirmed, confirmed, "{what}");
    }
    let restarted = confirm(&found, &[list_of("n", "r2", 1, &[idle(2, 61)])], &rules, 0);
    assert_eq!(restarted[&key], Confirmation::Changed, "another run hands out the same id");
    assert_eq!(confirm(&found, &[], &rules, 0)[&key], Confirmation::LookFailed);
}
