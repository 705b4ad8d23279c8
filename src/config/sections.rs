//! The smaller sections of the config file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::section::{Keys, Value};
use super::values::{access, expression, only, rate, url, window};
use crate::monitoring::config::{AlertmanagerConfig, PrometheusConfig};
use crate::policy::ledger::HORIZON;
use crate::policy::limits::Limits;
use crate::policy::protect::Protection;
use crate::policy::rule::{Rate, Share};
use crate::policy::time::ShowDuration;
use crate::store::Config as StoreConfig;

const STORAGE: Keys = Keys { known: &["path", "retention"], later: &["postgres", "password_file"] };
const LIMITS: Keys = only(&["target", "fleet", "share", "share_window", "share_floor"]);
const SCOPE: Keys = only(&["kills"]);
const PROTECTION: Keys = only(&["match", "reason", "until"]);
const ALERTMANAGER: Keys = only(&["urls", "target_labels", "alert_timeout", "username", "password_file", "ca_file"]);
const PROMETHEUS: Keys = only(&["url", "username", "password_file", "ca_file"]);

/// `storage:`, by default 90 days in `/var/lib/reaperd`.
pub(super) fn storage(value: Option<Value<'_>>, base: &Path) -> StoreConfig {
    let mut config =
        StoreConfig { path: PathBuf::from("/var/lib/reaperd"), retention: Duration::from_secs(90 * 24 * 60 * 60) };
    let Some(section) = value.and_then(|value| value.section(&STORAGE)) else { return config };
    if let Some(path) = section.optional("path").and_then(|value| value.path(base)) {
        config.path = path;
    }
    if let Some(value) = section.optional("retention")
        && let Some(retention) = value.duration()
    {
        if retention < HORIZON {
            // What is forgotten would refill budgets.
            let help = format!("budgets need the kills of the last {0}: write {0} or more", ShowDuration(HORIZON));
            value.error(format!("{} is too short", ShowDuration(retention)), Some(&help));
        }
        config.retention = retention;
    }
    config
}

/// `limits:`
pub(super) fn limits(value: Option<Value<'_>>) -> Limits {
    let mut limits = Limits::default();
    let Some(section) = value.and_then(|value| value.section(&LIMITS)) else { return limits };
    let scope = |key: &str, default: Rate| {
        let scope = section.optional(key).and_then(|value| value.section(&SCOPE));
        scope.and_then(|scope| rate(&scope.optional("kills")?)).unwrap_or(default)
    };
    limits.target = scope("target", limits.target);
    limits.fleet = scope("fleet", limits.fleet);
    if let Some(share) = section.optional("share").and_then(|value| value.parse(Share::parse)) {
        limits.share = share;
    }
    if let Some(duration) = section.optional("share_window").and_then(|value| window(&value)) {
        limits.share_window = duration;
    }
    if let Some(floor) = section.optional("share_floor").and_then(|value| value.count()) {
        limits.share_floor = floor;
    }
    limits
}

/// `protect:`. An entry that cannot be read stops the load: to leave it out would widen the kill.
pub(super) fn protections(value: Option<Value<'_>>) -> Vec<Protection> {
    value.map(|value| value.list()).unwrap_or_default().iter().filter_map(protection).collect()
}

fn protection(value: &Value<'_>) -> Option<Protection> {
    let section = value.section(&PROTECTION)?;
    let matches = section.required("match", "say whom it protects, as in `match: user == \"admin\"`");
    let reason = section.required("reason", "say why, for who reads it in the journal");
    let until = section.optional("until").map(|value| value.parse(moment));
    let matches = matches.as_ref().and_then(expression);
    let reason = reason.and_then(|value| value.text())?;
    Some(Protection { matches: matches?, reason: reason.into(), until: until.flatten() })
}

/// The start of a day in UTC, or a moment, in unix milliseconds.
fn moment(text: &str) -> Result<i64, String> {
    let is_day = text.len() == "2027-01-01".len();
    let moment = if is_day { format!("{text}T00:00:00Z") } else { text.to_owned() };
    moment.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).map_err(|_| {
        format!("`{text}` is no day or moment: write 2027-01-01 (its start, UTC) or 2027-01-01T08:00:00+08:00")
    })
}

/// `alertmanager:`
pub(super) fn alertmanager(value: Option<Value<'_>>, base: &Path) -> AlertmanagerConfig {
    let mut config = AlertmanagerConfig::default();
    let Some(section) = value.and_then(|value| value.section(&ALERTMANAGER)) else { return config };
    if let Some(value) = section.optional("urls") {
        value.warning("this version does not read silences yet", Some("the URLs are accepted, but not used"));
        config.urls = value.list().iter().filter_map(url).collect();
    }
    if let Some(value) = section.optional("target_labels") {
        let labels = value.list();
        config.target_labels = labels.iter().filter_map(|label| Some(label.text()?.to_owned())).collect();
        if labels.is_empty() {
            value.error("no alert could name a target", Some("list labels, or leave the key out"));
        }
    }
    if let Some(timeout) = section.optional("alert_timeout").and_then(|value| value.positive_duration()) {
        config.alert_timeout = timeout;
    }
    config.access = access(&section, base);
    config
}

/// `prometheus:`
pub(super) fn prometheus(value: Option<Value<'_>>, base: &Path) -> Option<PrometheusConfig> {
    let value = value?;
    value.warning("this version does not query Prometheus yet", Some("the section is accepted, but not used"));
    let section = value.section(&PROMETHEUS)?;
    let found = section.required("url", "write its base URL, as in http://127.0.0.1:9090");
    let access = access(&section, base);
    Some(PrometheusConfig { url: url(&found?)?, access })
}
