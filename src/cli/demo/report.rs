//! The end of the demo: who is alive by the server's own client list, and whether journal, budgets and metrics agree.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context;
use reqwest::Method;
use serde::Serialize;

use super::crowd::{Crowd, Role};
use super::follow::Follower;
use super::screen::verdict;
use super::wire::Client;
use crate::cli::client::Daemon;
use crate::cli::table::Table;
use crate::policy::rule::Rate;
use crate::policy::time::millis;
use crate::store::journal::{Filter, Verified};
use crate::view::journal::{EntryKind, Recorded};
use crate::view::status::RuleView;

/// How the demo went.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// All the unruly are gone and everybody else is alive.
    pub(super) passed: bool,
    seconds: f64,
    groups: Vec<GroupReport>,
    rules: Vec<RuleReport>,
    /// Commands of the busy clients that were answered.
    commands_served: u64,
    /// Entries of the journal; its hash chain was computed anew.
    journal_entries: u64,
}

#[derive(Debug, Serialize)]
struct GroupReport {
    group: String,
    from: String,
    role: Role,
    started: usize,
    alive: usize,
    expected: usize,
    verdict: String,
}

#[derive(Debug, Serialize)]
struct RuleReport {
    rule: String,
    mode: String,
    /// Kills that were recorded and sent.
    kills: usize,
    /// Of these, how many a later look did not show any more.
    gone: usize,
    /// The limit, and the most kills that any window of its length saw.
    limit: Option<String>,
    most_in_a_window: Option<usize>,
    would_kill: usize,
    /// Of these, how many did useful work later, as the metric tells.
    regret: u64,
}

impl Report {
    /// Asks the server, the journal and the metrics.
    pub(super) async fn make(
        crowd: &Crowd,
        server: SocketAddr,
        follower: &Follower,
        url: &str,
        lasted: Duration,
    ) -> anyhow::Result<Self> {
        let alive = crowd.count(&listed(server).await?);
        let entries = follower.reader().query(&Filter::default())?;
        let Verified { entries: journal_entries, .. } = follower.reader().verify()?;
        let metrics = scrape(url).await?;
        let groups: Vec<GroupReport> = crowd
            .groups()
            .zip(alive)
            .map(|((group, started), alive)| GroupReport {
                group: group.name.to_owned(),
                from: group.from.to_string(),
                role: group.role,
                started,
                alive,
                expected: if group.role == Role::Unruly { 0 } else { started },
                verdict: verdict(group.role, started, alive),
            })
            .collect();
        Ok(Self {
            passed: groups.iter().all(|group| group.alive == group.expected),
            seconds: lasted.as_secs_f64(),
            groups,
            rules: follower.rules().iter().map(|rule| of_rule(rule, &entries, &metrics)).collect(),
            commands_served: crowd.served(),
            journal_entries,
        })
    }

    /// The report for people.
    pub(super) fn shown(&self) -> String {
        let mut groups = Table::new(&["clients", "from", "role", "started", "alive", "expected", "verdict"]);
        for group in &self.groups {
            let numbers = [group.started, group.alive, group.expected].map(|number| number.to_string());
            let [started, alive, expected] = &numbers;
            groups.row([&group.group, &group.from, group.role.as_str(), started, alive, expected, &group.verdict]);
        }
        let headings = ["rule", "mode", "kills", "gone", "limit", "most in a window", "would kill", "regret"];
        let mut rules = Table::new(&headings);
        for rule in &self.rules {
            rules.row([
                rule.rule.clone(),
                rule.mode.clone(),
                rule.kills.to_string(),
                rule.gone.to_string(),
                rule.limit.clone().unwrap_or_default(),
                rule.most_in_a_window.map_or(String::new(), |most| most.to_string()),
                rule.would_kill.to_string(),
                rule.regret.to_string(),
            ]);
        }
        let mut regrets = String::new();
        for rule in self.rules.iter().filter(|rule| rule.regret > 0) {
            regrets += &format!(
                "{} would have killed {}, of which {} did useful work later: that is what observe is for.\n",
                rule.rule, rule.would_kill, rule.regret
            );
        }
        let end = if self.passed {
            "All the unruly are gone, and everybody else is alive."
        } else if self.seconds < super::SHORTEST.as_secs_f64() {
            "It was stopped before the rules had the time that they need."
        } else {
            "NOT AS IT SHOULD BE: see the verdicts."
        };
        format!(
            "\nAfter {:.0} s:\n\n{groups}\n{rules}\n{regrets}\
             The busy clients had {} commands answered; the journal is whole: {} entries.\n{end}\n",
            self.seconds, self.commands_served, self.journal_entries,
        )
    }
}

/// The addresses of all clients, as the server lists them.
async fn listed(server: SocketAddr) -> anyhow::Result<HashSet<SocketAddr>> {
    let mut client = Client::connect(Ipv4Addr::LOCALHOST, server, None).await?;
    let list = client.ask(&["CLIENT", "LIST"]).await.context("the server does not list its clients")?;
    let address =
        |line: &str| line.split(' ').find_map(|part| part.strip_prefix("addr=")).and_then(|at| at.parse().ok());
    Ok(list.lines().filter_map(address).collect())
}

async fn scrape(url: &str) -> anyhow::Result<String> {
    let daemon = Daemon { url: url.to_owned() };
    let request = daemon.request(Method::GET, "metrics")?;
    daemon.send(request).await?.text().await.context("the metrics were cut off")
}

fn of_rule(rule: &RuleView, entries: &[Recorded], metrics: &str) -> RuleReport {
    let of_kind = |kind| {
        let of_rule = move |recorded: &&Recorded| {
            recorded.entry.kind == kind && recorded.entry.rule.as_deref() == Some(rule.rule.as_str())
        };
        entries.iter().filter(of_rule)
    };
    let kills: Vec<&Recorded> = of_kind(EntryKind::Intent).collect();
    let rate = rule.limits.get("kills").and_then(|limit| Rate::parse(limit).ok());
    let sessions: BTreeMap<i64, ()> = of_kind(EntryKind::Spared)
        .filter(|recorded| recorded.entry.reason.as_deref() == Some("observe"))
        .filter_map(|recorded| recorded.entry.session.as_ref().map(|session| (session.id, ())))
        .collect();
    RuleReport {
        rule: rule.rule.clone(),
        mode: rule.mode.clone(),
        gone: of_kind(EntryKind::Outcome).filter(|one| one.entry.outcome.as_deref() == Some("gone")).count(),
        limit: rate.map(|rate| rate.to_string()),
        most_in_a_window: rate.map(|rate| most_within(&kills, rate.window)),
        kills: kills.len(),
        would_kill: sessions.len(),
        regret: value(metrics, &format!("reaperd_regret_total{{rule=\"{}\"}} ", rule.rule)),
    }
}

/// The most of these entries that lie in any one window of this length.
fn most_within(entries: &[&Recorded], window: Duration) -> usize {
    let mut inside = VecDeque::new();
    let mut most = 0;
    for recorded in entries {
        let at = super::follow::millis(&recorded.at);
        inside.push_back(at);
        while inside.front().is_some_and(|first| at - first >= millis(window)) {
            inside.pop_front();
        }
        most = most.max(inside.len());
    }
    most
}

/// The value of the series that starts so; 0 where there is none.
fn value(metrics: &str, series: &str) -> u64 {
    metrics.lines().find_map(|line| line.strip_prefix(series)).and_then(|value| value.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::journal::Entry;

    #[test]
    fn the_fullest_window_is_found_wherever_it_lies() {
        let at = |millis: i64| Recorded {
            seq: 1,
            at: crate::clock::rfc3339(millis),
            entry: Entry::new(EntryKind::Intent),
            hash: String::new(),
        };
        let entries: Vec<Recorded> = [0, 1500, 1900, 2000, 3499, 3500, 9000].map(at).into();
        let entries: Vec<&Recorded> = entries.iter().collect();
        assert_eq!(most_within(&entries, Duration::from_secs(2)), 4);
        assert_eq!(most_within(&entries, Duration::from_secs(60)), 7);
        assert_eq!(most_within(&[], Duration::from_secs(2)), 0);
    }

    #[test]
    fn a_group_fares_as_its_role_asks() {
        assert_eq!(verdict(Role::Unruly, 40, 0), "all gone");
        assert_eq!(verdict(Role::Unruly, 40, 3), "3 STILL THERE");
        assert_eq!(verdict(Role::Healthy, 12, 12), "all alive");
        assert_eq!(verdict(Role::Healthy, 12, 11), "1 MISSING");
    }
}
