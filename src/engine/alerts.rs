//! Received alerts as triggers: a firing alert makes the rules that name it active on its target until it is resolved,
//! or until nobody has delivered it for `alert_timeout`.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::mailbox::Cause;
use super::settings::Settings;
use super::shared::Shared;
use crate::clock::UnixMillis;
use crate::policy::directory::Resolution;
use crate::policy::matcher::Labels;
use crate::policy::names::TargetName;
use crate::policy::time::millis;
use crate::store::{AlertRow, StoreError};

/// Whether some rule is made active on the target by an alert with these labels.
pub(super) fn wanted(settings: &Settings, target: &TargetName, labels: &Labels) -> bool {
    let Some(target) = settings.targets.get(target) else { return false };
    let mut rules = settings.rules.rules().iter().filter(|rule| rule.targets.matches(&target.labels));
    rules.any(|rule| rule.on_alerts().any(|on| on.matches(labels)))
}

/// The labels of the alerts that fire on a target. Which target they name is asked anew, since a reload may have changed
/// that; one that timed out does not fire, recorded or not.
pub(super) fn firing<'a>(
    alerts: &'a [AlertRow],
    settings: &'a Settings,
    target: &'a TargetName,
    now: UnixMillis,
) -> impl Iterator<Item = &'a Labels> {
    let fires = move |alert: &&AlertRow| {
        !is_late(alert, settings.alert_timeout, now) && target_of(settings, alert).as_ref() == Some(target)
    };
    alerts.iter().filter(fires).map(|alert| &alert.labels)
}

fn target_of(settings: &Settings, alert: &AlertRow) -> Option<TargetName> {
    match settings.directory.resolve(|label| alert.labels.get(label).map(String::as_str)) {
        Resolution::Target(target) => Some(target),
        Resolution::Unknown { .. } | Resolution::NoLabel => None,
    }
}

/// Takes what the store holds now, and evaluates at once the targets on which an alert began to fire. A repeat only
/// refreshes; `resolved` never starts anything.
///
/// # Errors
/// When the store could not be read: it is to be asked again, since nobody will deliver these alerts soon.
pub(super) async fn refresh(shared: &Shared) -> Result<(), StoreError> {
    let rows = shared.store.active_alerts().await.inspect_err(|error| {
        shared.metrics.store_failures_total.inc();
        tracing::error!("cannot read the received alerts: {error}");
    })?;
    let settings = shared.settings();
    let began: Vec<AlertRow> = {
        let before = shared.alerts();
        let known: HashMap<&str, i64> =
            before.iter().map(|alert| (alert.fingerprint.as_str(), alert.activation)).collect();
        let is_new = |alert: &&AlertRow| known.get(alert.fingerprint.as_str()) != Some(&alert.activation);
        rows.iter().filter(is_new).cloned().collect()
    };
    publish(shared, rows);
    let mut by_target: BTreeMap<TargetName, Vec<&AlertRow>> = BTreeMap::new();
    for alert in &began {
        if let Some(target) = target_of(&settings, alert).filter(|target| wanted(&settings, target, &alert.labels)) {
            by_target.entry(target).or_default().push(alert);
        }
    }
    for (target, alerts) in by_target {
        if let Some(entry) = shared.target(target.as_str()) {
            let first = alerts.first().and_then(|alert| alert.labels.get("alertname"));
            tracing::info!(%target, alert = first.map_or("", String::as_str), "alerts that began to fire: {}", alerts.len());
            entry.mailbox.post(Cause::Alert, shared.clock.steady());
        }
    }
    Ok(())
}

/// Makes these the alerts that fire now.
pub(super) fn publish(shared: &Shared, rows: Vec<AlertRow>) {
    shared.metrics.alerts_active.set(i64::try_from(rows.len()).unwrap_or(i64::MAX));
    *shared.alerts.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rows);
}

/// Takes alerts as resolved that nobody has delivered for `alert_timeout`.
pub(super) async fn expire(shared: &Shared) {
    let timeout = shared.settings().alert_timeout;
    let now = shared.clock.wall();
    let alerts = shared.alerts();
    let late: Vec<AlertRow> = alerts.iter().filter(|alert| is_late(alert, timeout, now)).cloned().collect();
    if late.is_empty() {
        return;
    }
    tracing::warn!("{} alerts were not delivered again within alert_timeout; they are taken as resolved", late.len());
    if let Err(error) = shared.store.resolve_alerts(late).await {
        shared.metrics.store_failures_total.inc();
        tracing::error!("cannot record that alerts timed out: {error}");
    }
}

fn is_late(alert: &AlertRow, timeout: Duration, now: UnixMillis) -> bool {
    now.saturating_sub(alert.received) > millis(timeout)
}
