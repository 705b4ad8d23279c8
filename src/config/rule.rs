//! One rule of a rule file.

use std::sync::Arc;

use super::section::{Keys, Value};
use super::values::{expression, mode, only, rate, within_horizon};
use crate::policy::rule::{Mode, Order, Rule, RuleLimits, Share, Source, When};

const RULE: Keys = Keys {
    known: &["rule", "summary", "when", "targets", "match", "for", "mode", "limits", "order", "max"],
    later: &["only_if", "group_by", "having", "victims", "keep", "older_than_alert"],
};
const WHEN: Keys = Keys { known: &["alert"], later: &["query"] };
const LIMITS: Keys = only(&["kills", "fleet", "share", "cooldown"]);

/// A rule and where its name and its `targets` are written.
pub(super) struct Decoded<'a> {
    pub(super) rule: Rule,
    pub(super) name: Value<'a>,
    pub(super) targets: Option<Value<'a>>,
}

/// Reads a rule. `None` when it could not be.
pub(super) fn rule<'a>(value: &Value<'a>, group: &Arc<str>) -> Option<Decoded<'a>> {
    let section = value.section(&RULE)?;
    let name = section.required("rule", "give the rule a name that no other rule has");
    let matches =
        section.required("match", "say which sessions the rule names, as in `match: idle > duration(\"1h\")`");
    let targets = section.optional("targets");
    let mode_value = section.optional("mode");
    let mode = mode_value.as_ref().and_then(mode).unwrap_or(Mode::Observe);
    let limits = section.optional("limits").map(|value| limits(&value)).unwrap_or_default();
    if let (Mode::Enforce, Some(value), None, None) = (mode, mode_value, limits.kills, limits.fleet) {
        let help = "add limits, as in `limits: {kills: 20/1m}`";
        value.warning("this rule kills without a limit of its own: only those of the config hold", Some(help));
    }
    let when = section.optional("when").map_or_else(|| vec![When::Poll], |value| when(&value));
    let matcher = targets.as_ref().and_then(Value::matchers).unwrap_or_default();
    let hold = section.optional("for").and_then(|value| value.duration()).unwrap_or_default();
    let order = section.optional("order").and_then(|value| value.parse(Order::parse)).unwrap_or_default();
    let max = section.optional("max").and_then(|value| max(&value));
    let summary = section.optional("summary").and_then(|value| value.text()).unwrap_or_default().trim().into();
    let matches = matches.as_ref().and_then(expression);
    let name = name?;
    let (line, _) = name.place().line_and_column();
    let rule = Rule {
        name: name.name()?.into(),
        group: group.clone(),
        summary,
        when,
        targets: matcher,
        matches: matches?,
        hold,
        mode,
        limits,
        order,
        max,
        source: Source { file: name.place().file().cloned().unwrap_or_default(), line },
    };
    Some(Decoded { rule, name, targets })
}

fn limits(value: &Value<'_>) -> RuleLimits {
    let Some(section) = value.section(&LIMITS) else { return RuleLimits::default() };
    RuleLimits {
        kills: section.optional("kills").and_then(|value| rate(&value)),
        fleet: section.optional("fleet").and_then(|value| rate(&value)),
        share: section.optional("share").and_then(|value| value.parse(Share::parse)),
        cooldown: section
            .optional("cooldown")
            .and_then(|value| within_horizon(&value, value.duration()?))
            .unwrap_or_default(),
    }
}

fn max(value: &Value<'_>) -> Option<usize> {
    let max = value.count()?;
    if max == 0 {
        value.error("a rule with `max: 0` never kills", Some("use `mode: observe`, or leave the rule out"));
        return None;
    }
    Some(max)
}

fn when(value: &Value<'_>) -> Vec<When> {
    if value.as_text().is_some() {
        value.error("expected a list", Some("write `[poll]` or `[{alert: 'alertname=\"...\"'}]`"));
        return Vec::new();
    }
    let triggers = value.list();
    if triggers.is_empty() {
        value.error(
            "nothing makes this rule active",
            Some("write `[poll]`, or leave the key out, which means the same"),
        );
    }
    triggers.iter().filter_map(trigger).collect()
}

fn trigger(value: &Value<'_>) -> Option<When> {
    if let Some(text) = value.as_text() {
        if text == "poll" {
            return Some(When::Poll);
        }
        value.error(format!("`{text}` is no trigger"), Some("write poll or {alert: 'alertname=\"...\"'}"));
        return None;
    }
    let section = value.section(&WHEN)?;
    if section.optional("query").is_some() {
        return None;
    }
    let alert = section.required("alert", "write poll or {alert: 'alertname=\"...\"'}")?;
    let matchers = alert.matchers()?;
    if matchers.is_empty() {
        alert.error(
            "every alert would make this rule active",
            Some("name the alert, as in 'alertname=\"RedisTooManyConnections\"'"),
        );
        return None;
    }
    Some(When::Alert(matchers))
}
