//! What a later look shows of a kill; what becomes of ghosts.

use std::time::Duration;

use super::super::ghosts::Ghosts;
use super::super::intent::{Answer, IntentId};
use super::super::outcome::{DEADLINE, IN_FLIGHT, Open, Outcome, Progress, expire, of_answers, settle, unsent};
use super::super::session::SessionKey;
use super::{One, at, idle, list, list_of};

fn open(progress: Progress) -> Vec<Open> {
    let key = SessionKey { node: "n".into(), run: "r".into(), id: 2 };
    vec![Open { id: IntentId(1), rule: "r".into(), key, progress }]
}

#[test]
fn an_answered_kill_is_settled_by_the_first_list_after_the_answer() {
    let answered = open(Progress::Answered(at(10)));
    for (list, outcome, what) in [
        (list(10, &[idle(3, 1)]), Some(Outcome::Gone), "not there"),
        (list(10, &[idle(2, 1)]), Some(Outcome::Survived), "there"),
        (list(9, &[idle(3, 1)]), None, "asked for before the answer"),
        (list(11, &[One { flags: "A", ..idle(2, 1) }]), None, "being closed"),
        (list(11, &[One { flags: "c", ..idle(2, 1) }]), None, "closed after its reply"),
        (list_of("n", "r2", 11, &[idle(2, 1)]), Some(Outcome::Gone), "another run"),
        (list_of("m", "r", 11, &[]), None, "another node"),
    ] {
        let settled = settle(&answered, &[list]);
        assert_eq!(settled.first().map(|(_, outcome)| *outcome), outcome, "{what}");
    }
}

#[test]
fn a_lost_kill_that_is_alive_may_still_be_on_its_way() {
    let lost = open(Progress::Lost(at(10)));
    let outcome = |list| settle(&lost, &[list]).first().map(|(_, outcome)| *outcome);
    let flight = i64::try_from(IN_FLIGHT.as_secs()).unwrap();
    assert_eq!(outcome(list(11, &[])), Some(Outcome::Gone));
    assert_eq!(outcome(list(10 + flight - 1, &[idle(2, 1)])), None);
    assert_eq!(outcome(list(10 + flight, &[idle(2, 1)])), Some(Outcome::Survived));
}

#[test]
fn a_kill_that_never_left_is_settled_by_no_look() {
    let never_left = open(Progress::Unsent);
    assert_eq!(settle(&never_left, &[list(11, &[])]), []);
    assert_eq!(expire(&never_left, at(10).plus(DEADLINE * 100)), []);
    assert_eq!(unsent(&never_left), [(IntentId(1), Outcome::NotSent)]);
    assert_eq!(unsent(&open(Progress::Lost(at(10)))), []);
}

#[test]
fn without_a_look_an_outcome_is_unverified_never_gone() {
    let answered = open(Progress::Answered(at(10)));
    let late = at(10).plus(DEADLINE);
    assert_eq!(expire(&answered, late), []);
    assert_eq!(expire(&answered, late.plus(Duration::from_millis(1))), [(IntentId(1), Outcome::Unverified)]);
}

#[test]
fn an_answer_settles_only_what_never_left() {
    let answers = [
        (IntentId(1), Answer::Accepted),
        (IntentId(2), Answer::NoSuchSession),
        (IntentId(3), Answer::Refused("no".to_owned())),
        (IntentId(4), Answer::NotSent("gone".to_owned())),
        (IntentId(5), Answer::Unanswered("timeout".to_owned())),
    ];
    assert_eq!(of_answers(&answers), [(IntentId(4), Outcome::NotSent)]);
}

#[test]
fn a_ghost_that_works_again_is_regretted_once_and_forgotten_when_it_leaves() {
    let mut ghosts = Ghosts::default();
    let key = |id| SessionKey { node: "n".into(), run: "r".into(), id };
    ghosts.insert("r".into(), key(2), at(100));
    ghosts.insert("r".into(), key(3), at(100));
    assert!(ghosts.watch(&list(110, &[idle(2, 70), idle(3, 70)])).is_empty(), "still idle");
    let subscriber = One { flags: "P", ..idle(3, 0) };
    assert_eq!(
        ghosts.watch(&list(120, &[idle(2, 5), subscriber.clone()])).len(),
        1,
        "2 worked; writes to 3 do not count"
    );
    assert!(ghosts.watch(&list(130, &[idle(2, 0), subscriber])).is_empty(), "once");
    assert!(ghosts.watch(&list(140, &[])).is_empty());
    assert!(ghosts.pairs().is_empty());
}
