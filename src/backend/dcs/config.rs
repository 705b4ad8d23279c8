//! How DCS instances are reached and found.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::policy::matcher::Labels;
use crate::policy::names::TargetName;
use crate::policy::rule::Rate;

/// The oldest list that may be killed from, unless the config says otherwise: a DCS scan takes its time.
pub const MAX_SNAPSHOT_AGE: Duration = Duration::from_secs(60);

/// One account and region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The label `provider` of its targets.
    pub name: String,
    /// As in `cn-north-4`.
    pub region: String,
    /// The base URL of the API, unless the region's own is meant.
    pub endpoint: Option<String>,
    /// Looked up through IAM when absent.
    pub project_id: Option<String>,
    /// What requests are signed with.
    pub credentials: Credentials,
    /// Calls per operation, below the account's flow control.
    pub rate_limit: Option<Rate>,
    /// Which instances of the account become targets by themselves.
    pub discover: Option<Discover>,
    /// Instances that are targets by name.
    pub instances: Vec<Instance>,
    /// How often a target is listed.
    pub poll_interval: Duration,
    /// No kill from a list that is older.
    pub max_snapshot_age: Duration,
    /// Labels of all its targets.
    pub labels: Labels,
}

/// Where access key and secret, or a token, come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A fixed access key.
    Keys {
        /// The access key.
        access_key: String,
        /// The file that holds its secret.
        secret_key_file: PathBuf,
    },
    /// `HUAWEICLOUD_SDK_AK` and its siblings.
    Environment,
    /// A profile of the command line client's file.
    Profile(String),
    /// A token from IAM.
    Iam {
        /// The account.
        domain: String,
        /// The user.
        user: String,
        /// The file that holds the password.
        password_file: PathBuf,
    },
    /// The agency of the virtual machine, through its metadata service.
    EcsAgency,
}

/// Which instances become targets; all conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discover {
    /// Tags that an instance must carry.
    pub tags: BTreeMap<String, String>,
    /// A pattern that its name must match: `*` is anything.
    pub name: Option<String>,
    /// The status that it must be in.
    pub status: Option<String>,
}

/// An instance that is a target by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The instance's id.
    pub id: String,
    /// The target's name.
    pub target: TargetName,
    /// Its labels, over those of the provider.
    pub labels: Labels,
}
