//! `providers.dcs`: one account and region an entry.

use std::collections::BTreeMap;
use std::path::Path;

use super::section::{Keys, Section, Value};
use super::targets::{Defaults, Taken, pace};
use super::values::{only, rate, url};
use crate::backend::dcs::config::{Config, Credentials, Discover, Instance, MAX_SNAPSHOT_AGE};

const PROVIDER: Keys = only(&[
    "name",
    "region",
    "endpoint",
    "project_id",
    "credentials",
    "rate_limit",
    "discover",
    "instances",
    "poll_interval",
    "max_snapshot_age",
    "labels",
]);
const CREDENTIALS: Keys = only(&["access_key", "secret_key_file", "environment", "profile", "iam", "ecs_agency"]);
const IAM: Keys = only(&["domain", "user", "password_file"]);
const DISCOVER: Keys = only(&["tags", "name", "status"]);
const INSTANCE: Keys = only(&["id", "target", "labels"]);

/// Reads an entry. `None` when it could not be.
pub(super) fn provider(value: &Value<'_>, base: &Path, defaults: Defaults, taken: &mut Taken) -> Option<Config> {
    let section = value.section(&PROVIDER)?;
    let name = section.required("name", "give the provider a name");
    let region = section.required("region", "say which, as in `region: cn-north-4`");
    let credentials =
        section.required("credentials", "say what to sign with, as in `credentials: {environment: true}`");
    let credentials = credentials.and_then(|value| self::credentials(&value, base));
    let instances = section.optional("instances").map(|value| value.list()).unwrap_or_default();
    let discover = section.optional("discover");
    if instances.is_empty() && discover.is_none() {
        section.value().error("no instance is named", Some("add instances, or discover"));
    }
    let (poll_interval, max_snapshot_age) = pace(&section, Defaults { max_snapshot_age: MAX_SNAPSHOT_AGE, ..defaults });
    let config = Config {
        name: text(name.and_then(|value| value.name()))?,
        region: text(region.and_then(|value| value.name()))?,
        endpoint: section.optional("endpoint").as_ref().and_then(url),
        project_id: text(section.optional("project_id").and_then(|value| value.name())),
        credentials: credentials?,
        rate_limit: section.optional("rate_limit").as_ref().and_then(rate),
        discover: discover.as_ref().and_then(self::discover),
        instances: instances.iter().filter_map(|value| instance(value, taken)).collect(),
        poll_interval,
        max_snapshot_age,
        labels: section.optional("labels").map(|value| value.labels()).unwrap_or_default(),
    };
    Some(config)
}

fn text(text: Option<&str>) -> Option<String> {
    text.map(str::to_owned)
}

/// Exactly one of the ways to get at credentials.
fn credentials(value: &Value<'_>, base: &Path) -> Option<Credentials> {
    let section = value.section(&CREDENTIALS)?;
    let ways = ["access_key", "environment", "profile", "iam", "ecs_agency"];
    let mut named = ways.iter().filter_map(|way| Some((*way, section.optional(way)?)));
    let (Some((way, value)), None) = (named.next(), named.next()) else {
        let help = "write access_key and secret_key_file, or one of environment: true, profile, iam, ecs_agency: true";
        value.error("name exactly one way to get credentials", Some(help));
        return None;
    };
    match way {
        "access_key" => Some(Credentials::Keys {
            access_key: value.text()?.to_owned(),
            secret_key_file: section.required("secret_key_file", "it goes with access_key")?.readable_file(base)?,
        }),
        "profile" => Some(Credentials::Profile(value.name()?.to_owned())),
        "iam" => iam(&value.section(&IAM)?, base),
        "environment" => is_true(&value).then_some(Credentials::Environment),
        _ => is_true(&value).then_some(Credentials::EcsAgency),
    }
}

/// What can only be said, not denied.
fn is_true(value: &Value<'_>) -> bool {
    let is_true = value.text() == Some("true");
    if !is_true && value.as_text().is_some() {
        value.error("can only be true", Some("write true, or leave the key out"));
    }
    is_true
}

fn iam(section: &Section<'_>, base: &Path) -> Option<Credentials> {
    let [domain, user, password] = ["domain", "user", "password_file"]
        .map(|key| section.required(key, "IAM needs domain, user and password_file"));
    Some(Credentials::Iam {
        domain: domain?.text()?.to_owned(),
        user: user?.text()?.to_owned(),
        password_file: password?.readable_file(base)?,
    })
}

fn discover(value: &Value<'_>) -> Option<Discover> {
    let section = value.section(&DISCOVER)?;
    let tags: BTreeMap<String, String> = section
        .optional("tags")
        .map(|value| value.entries())
        .unwrap_or_default()
        .into_iter()
        .filter_map(|(entry, value)| Some((entry.key.clone(), value.text()?.to_owned())))
        .collect();
    let read = |key: &str| text(section.optional(key).and_then(|value| value.text()));
    Some(Discover { tags, name: read("name"), status: read("status") })
}

fn instance(value: &Value<'_>, taken: &mut Taken) -> Option<Instance> {
    let section = value.section(&INSTANCE)?;
    let id = section.required("id", "write the instance's id");
    let target = section.required("target", "give the target a name").and_then(|value| taken.name(&value));
    let labels = section.optional("labels").map(|value| value.labels()).unwrap_or_default();
    Some(Instance { id: id?.name()?.to_owned(), target: target?, labels })
}
