//! How Alertmanager and Prometheus are reached, and how an alert's target is found.

use std::path::PathBuf;
use std::time::Duration;

/// How a monitoring server is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// The user of basic authentication.
    pub username: Option<String>,
    /// The file that holds the password; read anew when it is needed.
    pub password_file: Option<PathBuf>,
    /// The certificates that the server's is checked against, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// What alerts mean, and where Alertmanager is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertmanagerConfig {
    /// Its base URLs; silences are read from the first that answers.
    pub urls: Vec<String>,
    /// The labels that may name an alert's target. The first that the alert carries decides.
    pub target_labels: Vec<String>,
    /// A firing alert that was not delivered again for this long counts as resolved.
    pub alert_timeout: Duration,
    /// How it is asked.
    pub access: Access,
}

impl Default for AlertmanagerConfig {
    fn default() -> Self {
        let target_labels = ["dcs_instance_id", "instance_id", "target", "instance", "addr"];
        Self {
            urls: Vec::new(),
            target_labels: target_labels.map(str::to_owned).into(),
            alert_timeout: Duration::from_secs(5 * 60 * 60),
            access: Access::default(),
        }
    }
}

/// Where Prometheus is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrometheusConfig {
    /// Its base URL.
    pub url: String,
    /// How it is asked.
    pub access: Access,
}
