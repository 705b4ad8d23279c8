//! Received alerts as triggers: a firing alert makes the rules that name it active on its target until it is resolved,
//! or until nobody has delivered it for `alert_timeout`.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::mailbox::Cause;
use super::settings::Settings;
use super::shared::Shared;
use crate::clock::UnixMillis;
use crate::policy::matcher::Labels;
use crate::policy::time::millis;
use crate::store::AlertRow;

/// Whether some rule is made active by an alert with these labels.
pub(super) fn wanted(settings: &Settings, labels: &Labels) -> bool {
    settings.rules.rules().iter().any(|rule| rule.on_alerts().any(|on| on.matches(labels)))
}

/// Takes what the store holds now, and evaluates at once the targets on which an alert began to fire. A repeat only
/// refreshes; `resolved` never starts anything.
pub(super) async fn refresh(shared: &Shared) {
    let rows = match shared.store.active_alerts().await {
        Ok(rows) => rows,
        Err(error) => {
            shared.metrics.store_failures_total.inc();
            return tracing::error!("cannot read the received alerts: {error}");
        }
    };
    let settings = shared.settings();
    let began: Vec<AlertRow> = {
        let before = shared.alerts();
        let known: HashMap<&str, i64> =
            before.iter().map(|alert| (alert.fingerprint.as_str(), alert.activation)).collect();
        let is_new = |alert: &&AlertRow| known.get(alert.fingerprint.as_str()) != Some(&alert.activation);
        rows.iter().filter(is_new).cloned().collect()
    };
    publish(shared, rows);
    for alert in began.iter().filter(|alert| wanted(&settings, &alert.labels)) {
        if let Some(entry) = shared.target(alert.target.as_str()) {
            tracing::info!(target = %alert.target, alert = alert.labels.get("alertname").map_or("", String::as_str), "an alert fires");
            entry.mailbox.post(Cause::Alert, shared.clock.steady());
        }
    }
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
