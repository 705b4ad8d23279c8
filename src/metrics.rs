//! Every metric of the daemon, registered in one place, with the prefix `reaperd_`.
//!
//! The doc comment of a field is its help text, so a metric without help cannot exist. Label sets that are known start
//! at 0 ([`Metrics::target`], [`Metrics::rule`], [`Metrics::rule_on_target`]), so that `rate()` sees the first event;
//! what a reload removed is forgotten ([`Metrics::retain`]). No session, peer or user is ever a label.

use std::collections::HashMap;
use std::sync::Arc;

use prometheus::core::{Collector, MetricVec, MetricVecBuilder};
use prometheus::proto::{LabelPair, Metric};
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    TextEncoder,
};

use crate::policy::decide::Reason;
use crate::policy::outcome::Outcome;
use crate::policy::rule::Mode;

/// The media type of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The statuses that the webhook is known to answer with.
const WEBHOOK_CODES: [&str; 8] = ["200", "400", "403", "405", "413", "415", "421", "503"];
/// Why an alert is ignored.
const IGNORED: [&str; 3] = ["no_target_label", "unknown_target", "no_rule"];
/// What makes the daemon evaluate a target.
const CAUSES: [&str; 3] = ["poll", "alert", "manual"];
/// The words of [`crate::policy::intent::Answer`] that are no success.
const KILL_FAILURES: [&str; 3] = ["refused", "not_sent", "unanswered"];

/// Seconds of a call to a server.
const CALL: &[f64] = &[0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0];
/// Seconds of work on the CPU.
const WORK: &[f64] = &[0.000_01, 0.000_1, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0];
/// Seconds from a cause to its effect, which on a cloud API is a matter of minutes.
const REACTION: &[f64] = &[0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0];

/// Series of one metric that are put in order.
const READ_BY_PEOPLE: usize = 1_000;

/// Declares [`Metrics`] and its registration. Labels stand in brackets, the buckets of a histogram after `in`.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $name:ident: $kind:ident $([$($label:literal),+])? $(in $buckets:ident)?;)+) => {
        /// Every metric; a field is named as the metric is after its prefix.
        pub struct Metrics {
            collectors: Vec<Box<dyn Collector>>,
            $($(#[doc = $help])+ pub $name: $kind,)+
        }

        impl Metrics {
            fn register() -> prometheus::Result<Self> {
                let mut collectors: Vec<Box<dyn Collector>> = Vec::new();
                $(
                    let opts = Opts::new(concat!("reaperd_", stringify!($name)), concat!($($help),+).trim());
                    let labels: &[&str] = &[$($($label),+)?];
                    let buckets: &[f64] = [$($buckets)?].first().copied().unwrap_or(&[]);
                    let $name = <$kind as Instrument>::make(opts, labels, buckets)?;
                    collectors.push(Box::new($name.clone()));
                )+
                Ok(Self { collectors, $($name),+ })
            }

            /// Removes every series for whose target and rule labels `live` answers false.
            fn sweep(&self, live: &dyn Fn(Option<&str>, Option<&str>) -> bool) {
                $(self.$name.sweep(live);)+
            }
        }
    };
}

metrics! {
    /// The running version; always 1.
    build_info: IntGaugeVec["version"];
    /// Whether the last reload of config and rules succeeded.
    config_last_reload_successful: IntGauge;
    /// Unix time of the last successful load of config and rules.
    config_last_reload_success_timestamp_seconds: Gauge;
    /// Targets of the config in force.
    targets: IntGauge;
    /// Whether the last call to a provider succeeded.
    provider_up: IntGaugeVec["provider"];
    /// Whether every node of a target was listed at the last attempt.
    target_up: IntGaugeVec["target"];
    /// Whether a node was listed at the last attempt.
    node_up: IntGaugeVec["target", "node"];
    /// Whether a target is paused, by itself or with everything.
    target_paused: IntGaugeVec["target"];
    /// Whether everything is paused.
    paused: IntGauge;
    /// Seconds between two polls of a target.
    poll_interval_seconds: GaugeVec["target"];
    /// Sessions of a target at its last listing.
    sessions: IntGaugeVec["target"];
    /// Age of the oldest node listing of a target.
    snapshot_age_seconds: GaugeVec["target"];
    /// Time that listing all nodes of a target took.
    list_duration_seconds: HistogramVec["target"] in CALL;
    /// Nodes that could not be listed or looked at, by reason.
    list_failures_total: IntCounterVec["target", "reason"];
    /// Evaluations by what caused them.
    triggers_total: IntCounterVec["cause"];
    /// Alerts received in webhook requests that were answered with 2xx.
    alerts_received_total: IntCounter;
    /// Received alerts that were not stored, by reason.
    alerts_ignored_total: IntCounterVec["reason"];
    /// Stored alerts that fire now.
    alerts_active: IntGauge;
    /// Alerts that Alertmanager left out of its requests (its max_alerts), so that nothing is known of them.
    alerts_truncated_total: IntCounter;
    /// Requests to the Alertmanager webhook by status code.
    webhook_requests_total: IntCounterVec["code"];
    /// The rules in force and their own modes; always 1.
    rule_info: IntGaugeVec["rule", "mode"];
    /// Time that evaluating one target took, without calls to servers.
    evaluation_duration_seconds: Histogram in WORK;
    /// Candidates of a rule on a target at its last evaluation.
    candidates: IntGaugeVec["target", "rule"];
    /// Sessions whose kill the server accepted.
    kills_total: IntCounterVec["target", "rule"];
    /// Kills that the server did not accept, by reason.
    kill_failures_total: IntCounterVec["target", "reason"];
    /// Candidates whose verdict became spared, by reason.
    spared_total: IntCounterVec["rule", "reason"];
    /// Whether a rule does nothing on a target because the target lacks a field that it needs.
    rule_not_applicable: IntGaugeVec["target", "rule"];
    /// What became of intents, as a later look showed.
    outcomes_total: IntCounterVec["target", "outcome"];
    /// Intents that are not settled yet.
    open_intents: IntGauge;
    /// Writes that the store refused or failed.
    store_failures_total: IntCounter;
    /// Sessions that observe would have killed and that did useful work later.
    regret_total: IntCounterVec["rule"];
    /// Sessions that observe would have killed, each counted once.
    would_kill_total: IntCounterVec["rule"];
    /// Kills that a budget still allows now: fleet, target/NAME, and rule/NAME/TARGET while it is not full.
    budget_remaining: IntGaugeVec["scope"];
    /// Time from the trigger to the server's answer to a kill.
    trigger_to_kill_seconds: Histogram in REACTION;
    /// Time from asking for the list to the server's answer to a kill.
    list_to_kill_seconds: Histogram in REACTION;
    /// Entries written to the journal.
    journal_entries_total: IntCounter;
}

impl Metrics {
    /// All metrics, those without labels and those with closed label sets at 0.
    #[must_use]
    pub fn new() -> Arc<Self> {
        let mut metrics = Self::register().expect("names, labels and buckets are literals, and a test registers them");
        #[cfg(target_os = "linux")]
        metrics.collectors.push(Box::new(prometheus::process_collector::ProcessCollector::for_self()));
        metrics.build_info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        start(&metrics.triggers_total, &[], CAUSES);
        start(&metrics.alerts_ignored_total, &[], IGNORED);
        start(&metrics.webhook_requests_total, &[], WEBHOOK_CODES);
        Arc::new(metrics)
    }

    /// Starts the series of a target at 0; `list_failures` are the reasons why a listing can fail.
    pub fn target<'a>(&self, target: &'a str, list_failures: impl IntoIterator<Item = &'a str>) {
        start(&self.list_failures_total, &[target], list_failures);
        start(&self.kill_failures_total, &[target], KILL_FAILURES);
        start(&self.outcomes_total, &[target], Outcome::ALL.map(Outcome::as_str));
        self.list_duration_seconds.with_label_values(&[target]);
        self.target_paused.with_label_values(&[target]);
    }

    /// Starts the series of a rule at 0, and tells its mode.
    pub fn rule(&self, rule: &str, mode: Mode) {
        self.rule_info.sweep(&|_, of| of != Some(rule));
        self.rule_info.with_label_values(&[rule, mode.as_str()]).set(1);
        start(&self.spared_total, &[rule], Reason::ALL.map(Reason::as_str));
        self.regret_total.with_label_values(&[rule]);
        self.would_kill_total.with_label_values(&[rule]);
    }

    /// Starts the series of a rule on a target that it applies to at 0.
    pub fn rule_on_target(&self, target: &str, rule: &str) {
        self.kills_total.with_label_values(&[target, rule]);
    }

    /// Forgets every series about a target, a rule, or a rule on a target that is not `live` any more. `live` is asked
    /// with what the series is about: the target, if it has one, and the rule, if it has one. Call it once after a
    /// reload: it visits every series.
    pub fn retain(&self, live: impl Fn(Option<&str>, Option<&str>) -> bool) {
        self.sweep(&live);
    }

    /// Forgets the series of a target's nodes that are not `live` any more.
    pub fn forget_nodes(&self, target: &str, live: impl Fn(&str) -> bool) {
        for family in self.node_up.collect() {
            for metric in family.get_metric() {
                let value =
                    |name: &str| metric.get_label().iter().find(|label| label.name() == name).map(LabelPair::value);
                if let (Some(of), Some(node)) = (value("target"), value("node"))
                    && of == target
                    && !live(node)
                {
                    // It fails only where somebody else removed the series meanwhile, which is as good.
                    self.node_up.remove_label_values(&[of, node]).ok();
                }
            }
        }
    }

    /// Forgets every series about a target.
    pub fn forget_target(&self, target: &str) {
        self.sweep(&|of, _| of != Some(target));
    }

    /// Forgets every series about a rule.
    pub fn forget_rule(&self, rule: &str) {
        self.sweep(&|_, of| of != Some(rule));
    }

    /// All series in Prometheus's text format 0.0.4.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        // One family after the other, so that not all series are in memory twice.
        for mut family in self.collectors.iter().flat_map(|collector| collector.collect()) {
            if family.get_metric().is_empty() {
                continue;
            }
            sort(family.mut_metric());
            if let Err(error) = TextEncoder::new().encode_utf8(&[family], &mut text) {
                tracing::error!("a metric cannot be encoded: {error}");
            }
        }
        text
    }
}

/// Puts the series in the order of their labels, for people. Programs do not need it, and in a family that nobody reads
/// through it costs as much as half the scrape.
fn sort(series: &mut [Metric]) {
    if series.len() <= READ_BY_PEOPLE {
        series.sort_by(|a, b| values(a).cmp(values(b)));
    }
}

fn values(series: &Metric) -> impl Iterator<Item = &str> {
    series.get_label().iter().map(LabelPair::value)
}

/// Creates one series for each value of the last label.
fn start<'a>(counter: &IntCounterVec, first: &[&'a str], last: impl IntoIterator<Item = &'a str>) {
    for value in last {
        let values: Vec<&str> = first.iter().copied().chain([value]).collect();
        counter.with_label_values(&values);
    }
}

/// What [`metrics!`] needs of a metric type.
trait Instrument: Sized {
    fn make(opts: Opts, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self>;

    /// Removes the series that `live` does not want; a metric without labels has none to remove.
    fn sweep(&self, _live: &dyn Fn(Option<&str>, Option<&str>) -> bool) {}
}

macro_rules! plain {
    ($($kind:ident)+) => {$(
        impl Instrument for $kind {
            fn make(opts: Opts, _: &[&str], _: &[f64]) -> prometheus::Result<Self> {
                Self::with_opts(opts)
            }
        }
    )+};
}

macro_rules! labelled {
    ($($kind:ident)+) => {$(
        impl Instrument for $kind {
            fn make(opts: Opts, labels: &[&str], _: &[f64]) -> prometheus::Result<Self> {
                Self::new(opts, labels)
            }

            fn sweep(&self, live: &dyn Fn(Option<&str>, Option<&str>) -> bool) {
                sweep(self, live);
            }
        }
    )+};
}

plain!(Gauge IntGauge IntCounter);
labelled!(GaugeVec IntGaugeVec IntCounterVec);

impl Instrument for Histogram {
    fn make(opts: Opts, _: &[&str], buckets: &[f64]) -> prometheus::Result<Self> {
        Self::with_opts(HistogramOpts::from(opts).buckets(buckets.to_vec()))
    }
}

impl Instrument for HistogramVec {
    fn make(opts: Opts, labels: &[&str], buckets: &[f64]) -> prometheus::Result<Self> {
        Self::new(HistogramOpts::from(opts).buckets(buckets.to_vec()), labels)
    }

    fn sweep(&self, live: &dyn Fn(Option<&str>, Option<&str>) -> bool) {
        sweep(self, live);
    }
}

fn sweep<T: MetricVecBuilder>(series: &MetricVec<T>, live: &dyn Fn(Option<&str>, Option<&str>) -> bool)
where
    MetricVec<T>: Collector,
{
    for family in series.collect() {
        for metric in family.get_metric() {
            let labels: HashMap<&str, &str> =
                metric.get_label().iter().map(|label| (label.name(), label.value())).collect();
            let (target, rule) = subject(&labels);
            if !live(target, rule) {
                // It fails only where somebody else removed the series meanwhile, which is as good.
                series.remove(&labels).ok();
            }
        }
    }
}

/// The target and the rule that a series is about.
fn subject<'a>(labels: &HashMap<&str, &'a str>) -> (Option<&'a str>, Option<&'a str>) {
    let Some(scope) = labels.get("scope") else {
        return (labels.get("target").copied(), labels.get("rule").copied());
    };
    let (kind, name) = scope.split_once('/').unwrap_or((scope, ""));
    match kind {
        "target" => (Some(name), None),
        "rule" => name.split_once('/').map_or((None, None), |(rule, target)| (Some(target), Some(rule))),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of one metric, without help and type.
    fn series(text: &str, name: &str) -> Vec<String> {
        let is_it = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        text.lines().filter(is_it).map(str::to_owned).collect()
    }

    #[test]
    fn what_needs_no_label_and_what_has_a_closed_set_starts_at_zero() {
        let text = Metrics::new().encode();
        assert_eq!(series(&text, "reaperd_open_intents"), ["reaperd_open_intents 0"]);
        assert_eq!(
            series(&text, "reaperd_triggers_total"),
            ["alert", "manual", "poll"].map(|cause| format!("reaperd_triggers_total{{cause=\"{cause}\"}} 0"))
        );
        assert_eq!(series(&text, "reaperd_alerts_ignored_total").len(), IGNORED.len());
        assert_eq!(series(&text, "reaperd_webhook_requests_total").len(), WEBHOOK_CODES.len());
        assert_eq!(series(&text, "reaperd_kills_total"), [""; 0]);
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(series(&text, "reaperd_build_info"), [format!("reaperd_build_info{{version=\"{version}\"}} 1")]);
        assert_eq!(series(&text, "process_open_fds").len(), 1);
    }

    #[test]
    fn the_series_of_targets_and_rules_start_at_zero() {
        let metrics = Metrics::new();
        metrics.target("orders", ["connect", "timeout"]);
        metrics.rule("idle", Mode::Observe);
        metrics.rule_on_target("orders", "idle");
        let text = metrics.encode();
        assert_eq!(series(&text, "reaperd_kills_total"), ["reaperd_kills_total{rule=\"idle\",target=\"orders\"} 0"]);
        assert_eq!(series(&text, "reaperd_outcomes_total").len(), Outcome::ALL.len());
        assert_eq!(series(&text, "reaperd_spared_total").len(), Reason::ALL.len());
        assert_eq!(series(&text, "reaperd_list_failures_total").len(), 2);
        assert_eq!(series(&text, "reaperd_list_duration_seconds_count").len(), 1);
        assert_eq!(series(&text, "reaperd_rule_info"), ["reaperd_rule_info{mode=\"observe\",rule=\"idle\"} 1"]);
    }

    #[test]
    fn a_rule_has_one_mode() {
        let metrics = Metrics::new();
        metrics.rule("idle", Mode::Observe);
        metrics.rule("other", Mode::Observe);
        metrics.rule("idle", Mode::Enforce);
        assert_eq!(
            series(&metrics.encode(), "reaperd_rule_info"),
            [
                "reaperd_rule_info{mode=\"enforce\",rule=\"idle\"} 1",
                "reaperd_rule_info{mode=\"observe\",rule=\"other\"} 1"
            ]
        );
    }

    #[test]
    fn what_a_reload_removed_is_forgotten_and_nothing_else() {
        let metrics = Metrics::new();
        for target in ["a", "b"] {
            metrics.target(target, ["connect"]);
            metrics.budget_remaining.with_label_values(&[&format!("target/{target}")]).set(5);
            for rule in ["r", "s"] {
                metrics.rule(rule, Mode::Enforce);
                metrics.rule_on_target(target, rule);
                metrics.budget_remaining.with_label_values(&[&format!("rule/{rule}/{target}")]).set(5);
            }
        }
        metrics.budget_remaining.with_label_values(&["fleet"]).set(5);
        metrics.retain(|target, rule| (target, rule) != (Some("a"), Some("r")));
        assert_eq!(series(&metrics.encode(), "reaperd_kills_total").len(), 3);
        metrics.forget_rule("r");
        metrics.forget_target("b");
        let text = metrics.encode();
        assert!(!text.contains("\"b\"") && !text.contains("\"r\""), "{text}");
        assert_eq!(series(&text, "reaperd_kills_total"), ["reaperd_kills_total{rule=\"s\",target=\"a\"} 0"]);
        assert_eq!(
            series(&text, "reaperd_budget_remaining"),
            ["fleet", "rule/s/a", "target/a"].map(|scope| format!("reaperd_budget_remaining{{scope=\"{scope}\"}} 5"))
        );
        assert_eq!(series(&text, "reaperd_list_duration_seconds_count").len(), 1);
    }

    #[test]
    fn every_metric_has_help_and_hostile_label_values_are_escaped() {
        let metrics = Metrics::new();
        metrics.target("a\"} 1\nevil", ["connect"]);
        let text = metrics.encode();
        for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            let name = line.split(' ').nth(2).unwrap();
            assert!(
                text.lines().any(|line| line.starts_with(&format!("# HELP {name} ")) && line.ends_with('.')),
                "{name}"
            );
        }
        assert!(!text.lines().any(|line| line.starts_with("evil")), "{text}");
    }

    /// The design asks for a scrape of 1,000 targets x 20 rules in 100 ms; this prints what it costs here, and asserts
    /// only that it is all there.
    #[test]
    fn a_thousand_targets_with_twenty_rules_scrape() {
        let metrics = Metrics::new();
        let rules: Vec<String> = (0..20).map(|number| format!("rule-{number}")).collect();
        rules.iter().for_each(|rule| metrics.rule(rule, Mode::Enforce));
        for target in (0..1000).map(|number| format!("target-{number}")) {
            metrics.target(&target, ["connect", "auth", "timeout", "server", "garbled"]);
            for rule in &rules {
                metrics.rule_on_target(&target, rule);
                metrics.candidates.with_label_values(&[target.as_str(), rule]).set(1);
            }
        }
        let clock = crate::clock::Clock::start();
        let start = clock.steady();
        let text = metrics.encode();
        println!("{} lines, {} bytes, {:?}", text.lines().count(), text.len(), clock.steady().since(start));
        assert_eq!(series(&text, "reaperd_kills_total").len(), 20_000);
        assert_eq!(series(&text, "reaperd_candidates").len(), 20_000);
    }
}
