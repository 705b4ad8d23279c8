//! Follows the daemon's journal and tells it in lines for a person: one line for what happened to many for one reason.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::clock::UnixMillis;
use crate::store::journal::{Filter, Reader};
use crate::view::journal::{Entry, EntryKind, Recorded};
use crate::view::session::SessionView;
use crate::view::status::RuleView;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// A kill was recorded and sent.
    Kill,
    /// The rule only observes.
    WouldKill,
    /// Spared for another reason.
    Spared,
    /// A later look does not show it any more.
    Gone,
    /// Another outcome.
    NotGone,
}

/// What happened to how many, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// When the first of them was written, wall time.
    pub(super) at: UnixMillis,
    pub(super) what: What,
    pub(super) count: usize,
    pub(super) rule: String,
    pub(super) who: String,
    pub(super) why: String,
}

/// A reader of the journal that goes on where it was.
pub(super) struct Follower {
    reader: Reader,
    last: i64,
    rules: Vec<RuleView>,
}

impl Follower {
    pub(super) fn open(storage: PathBuf, rules: &[RuleView]) -> anyhow::Result<Self> {
        Ok(Self { reader: Reader::open(&storage)?, last: 0, rules: rules.to_vec() })
    }

    /// The rules that the daemon started with.
    pub(super) fn rules(&self) -> &[RuleView] {
        &self.rules
    }

    /// What was written since the last call. A commit is seen whole or not at all.
    pub(super) fn news(&mut self) -> anyhow::Result<Vec<Line>> {
        let filter = Filter { after_seq: Some(self.last), ..Filter::default() };
        let news = self.reader.query(&filter)?;
        self.last = news.last().map_or(self.last, |recorded| recorded.seq);
        Ok(lines(&news, &self.rules))
    }

    /// The journal itself.
    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }
}

/// Entries that say the same of different sessions become one line, in the order of the first of them.
fn lines(entries: &[Recorded], rules: &[RuleView]) -> Vec<Line> {
    let mut told: Vec<(Line, Vec<&SessionView>)> = Vec::new();
    for Recorded { at, entry, .. } in entries {
        let (Some((what, why)), Some(rule), Some(session)) = (verdict(entry), &entry.rule, &entry.session) else {
            continue;
        };
        let line = Line { at: millis(at), what, count: 0, rule: rule.clone(), who: who(session), why };
        match told.iter_mut().find(|(known, _)| Line { at: known.at, ..line.clone() } == *known) {
            Some((_, sessions)) => sessions.push(session),
            None => told.push((line, vec![session])),
        }
    }
    let waiting = waiting(entries, &told);
    let finish = |(mut line, sessions): (Line, Vec<&SessionView>)| {
        line.count = sessions.len();
        let values = rules.iter().find(|rule| rule.rule == line.rule).and_then(|rule| values(rule, &sessions));
        let waiting = waiting.get(&line.rule).map(|count| format!("{count} wait for the budget"));
        let parts = match line.what {
            What::Kill => vec![values, waiting],
            What::WouldKill | What::Spared => vec![values, Some(line.why)],
            What::Gone | What::NotGone => vec![Some(line.why)],
        };
        line.why = parts.into_iter().flatten().collect::<Vec<_>>().join("; ");
        line
    };
    let mut lines: Vec<Line> = told.into_iter().map(finish).collect();
    // By rule, the killed before the spared; outcomes in a batch are those of an earlier evaluation's kills.
    let position = |line: &Line| rules.iter().position(|rule| rule.rule == line.rule);
    lines.sort_by_key(|line| (line.what < What::Gone, position(line), line.what));
    lines
}

/// A time of the journal.
pub(super) fn millis(at: &str) -> UnixMillis {
    // It wrote it, so it is one.
    at.parse().map_or(0, jiff::Timestamp::as_millisecond)
}

/// What the entry says of its session, and why; `None` when it is about none.
fn verdict(entry: &Entry) -> Option<(What, String)> {
    match entry.kind {
        EntryKind::Intent => Some((What::Kill, String::new())),
        EntryKind::Spared => match (entry.reason.as_deref(), &entry.detail) {
            (Some("observe"), _) => Some((What::WouldKill, "the rule's mode is observe".to_owned())),
            (reason, detail) => {
                let words: Vec<&str> = reason.into_iter().chain(detail.as_deref()).collect();
                Some((What::Spared, words.join(": ")))
            }
        },
        EntryKind::Outcome => match (entry.outcome.as_deref(), &entry.detail) {
            (Some("gone"), _) => Some((What::Gone, "a later look does not show it any more".to_owned())),
            (outcome, detail) => {
                let words: Vec<&str> = outcome.into_iter().chain(detail.as_deref()).collect();
                Some((What::NotGone, words.join(": ")))
            }
        },
        EntryKind::Start | EntryKind::Evaluation | EntryKind::Reload | EntryKind::Pause | EntryKind::Resume => None,
    }
}

/// Who waits for a budget and was told so before: verdicts that did not change have no entries of their own.
fn waiting(entries: &[Recorded], told: &[(Line, Vec<&SessionView>)]) -> BTreeMap<String, u64> {
    let mut waiting = BTreeMap::new();
    for Recorded { entry, .. } in entries.iter().filter(|recorded| recorded.entry.kind == EntryKind::Evaluation) {
        if let (Some(rule), Some(count)) = (&entry.rule, entry.counts.get("budget")) {
            waiting.insert(rule.clone(), *count);
        }
    }
    waiting.retain(|rule, _| {
        told.iter().all(|(line, _)| line.what != What::Spared || line.rule != *rule || !line.why.starts_with("budget"))
    });
    waiting
}

/// `billing-worker 127.0.0.2`
fn who(session: &SessionView) -> String {
    let name = session.name.as_deref().unwrap_or("(no name)");
    let ip = session.addr.as_deref().and_then(|addr| addr.rsplit_once(':')).map_or("?", |(ip, _)| ip);
    format!("{name} {ip}")
}

/// The values that the rule orders by, which are what it is about: `idle 4s` or `idle 4s to 6s`.
fn values(rule: &RuleView, sessions: &[&SessionView]) -> Option<String> {
    let field = rule.order.split(' ').next()?;
    let of = |session: &&SessionView| -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let bytes = |size: Option<i64>| size.map(|size| size as f64);
        match field {
            "idle" => session.idle,
            "age" => session.age,
            "omem" => bytes(session.omem),
            "qbuf" => bytes(session.qbuf),
            _ => None,
        }
    };
    let found: Vec<f64> = sessions.iter().filter_map(of).collect();
    let least = found.iter().copied().reduce(f64::min)?;
    let most = found.iter().copied().reduce(f64::max)?;
    let show = |value: f64| match field {
        "idle" | "age" => format!("{value:.0}s"),
        _ => format!("{:.1} MiB", value / f64::from(1 << 20)),
    };
    let (least, most) = (show(least), show(most));
    Some(if least == most { format!("{field} {most}") } else { format!("{field} {least} to {most}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recorded(seq: i64, entry: Entry) -> Recorded {
        Recorded { seq, at: String::new(), entry, hash: String::new() }
    }

    fn entry(kind: EntryKind, name: &str, idle: f64) -> Entry {
        let session = SessionView {
            name: Some(name.to_owned()),
            addr: Some("127.0.0.2:4711".to_owned()),
            idle: Some(idle),
            ..SessionView::default()
        };
        Entry { rule: Some("idle".to_owned()), session: Some(session), ..Entry::new(kind) }
    }

    fn spared(reason: &str, detail: Option<&str>) -> Entry {
        let (reason, detail) = (Some(reason.to_owned()), detail.map(str::to_owned));
        Entry { reason, detail, ..entry(EntryKind::Spared, "pool", 5.0) }
    }

    fn rules() -> Vec<RuleView> {
        let rule = serde_json::json!({
            "rule": "idle", "group": "g", "summary": "", "when": [], "targets": "", "match": "", "for": "0s",
            "mode": "enforce", "limits": {}, "order": "idle desc", "file": "", "line": 1
        });
        vec![serde_json::from_value(rule).unwrap()]
    }

    fn told(entries: Vec<Entry>) -> Vec<String> {
        let entries: Vec<Recorded> = entries.into_iter().zip(1..).map(|(entry, seq)| recorded(seq, entry)).collect();
        let show = |line: Line| format!("{:?} {} {} {}: {}", line.what, line.count, line.rule, line.who, line.why);
        lines(&entries, &rules()).into_iter().map(show).collect()
    }

    #[test]
    fn many_of_the_same_are_one_line_with_their_values() {
        let counts = BTreeMap::from([("kill".to_owned(), 2), ("budget".to_owned(), 7)]);
        let evaluation = Entry { rule: Some("idle".to_owned()), counts, ..Entry::new(EntryKind::Evaluation) };
        let told = told(vec![
            evaluation,
            entry(EntryKind::Intent, "pool", 6.0),
            entry(EntryKind::Intent, "pool", 4.0),
            entry(EntryKind::Intent, "other", 5.0),
        ]);
        assert_eq!(
            told,
            [
                "Kill 2 idle pool 127.0.0.2: idle 4s to 6s; 7 wait for the budget",
                "Kill 1 idle other 127.0.0.2: idle 5s; 7 wait for the budget"
            ]
        );
    }

    #[test]
    fn the_reasons_are_told_as_the_journal_has_them() {
        let outcome = |outcome: &str| {
            let outcome = Some(outcome.to_owned());
            Entry { outcome, ..entry(EntryKind::Outcome, "pool", 5.0) }
        };
        let told = told(vec![
            Entry::new(EntryKind::Start),
            spared("protected", Some("a console")),
            spared("observe", None),
            outcome("gone"),
            outcome("gone"),
            outcome("survived"),
        ]);
        assert_eq!(
            told,
            [
                "Gone 2 idle pool 127.0.0.2: a later look does not show it any more",
                "NotGone 1 idle pool 127.0.0.2: survived",
                "WouldKill 1 idle pool 127.0.0.2: idle 5s; the rule's mode is observe",
                "Spared 1 idle pool 127.0.0.2: idle 5s; protected: a console"
            ]
        );
    }

    #[test]
    fn those_who_wait_are_told_once_in_a_batch() {
        let counts = BTreeMap::from([("budget".to_owned(), 1)]);
        let evaluation = Entry { rule: Some("idle".to_owned()), counts, ..Entry::new(EntryKind::Evaluation) };
        let told = told(vec![evaluation, entry(EntryKind::Intent, "pool", 5.0), spared("budget", Some("15/2s"))]);
        assert_eq!(
            told,
            ["Kill 1 idle pool 127.0.0.2: idle 5s", "Spared 1 idle pool 127.0.0.2: idle 5s; budget: 15/2s"]
        );
    }
}
