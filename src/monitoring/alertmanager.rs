//! What Alertmanager posts to a webhook: payload version 4.
//!
//! An alert is a state per fingerprint, not an event. Its own `status` counts, not the group's, which stays `firing`
//! while any alert of the group fires. `startsAt` is no identity and is not read: it moves when a second Prometheus
//! posts the same alert. What is not needed is skipped, and labels stay borrowed from the body until an alert is
//! worth keeping, because most alerts of a busy Alertmanager are none of our business.
//!
//! A payload is taken whole or refused whole.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use sha2::{Digest, Sha256};

use crate::policy::matcher::Labels;

/// Why a body is no payload.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Nothing was posted.
    #[error("the body is empty: expected an Alertmanager webhook payload of version 4")]
    Empty,
    /// It is not UTF-8.
    #[error("the body is not UTF-8 from byte {0} on")]
    NotUtf8(usize),
    /// It is no JSON, or not of this shape.
    #[error("not an Alertmanager webhook payload: {0}")]
    Shape(#[from] serde_json::Error),
    /// It is of another version.
    #[error("the payload has version `{0}`, and only version 4 is understood: Alertmanager 0.6 and later send it")]
    Version(String),
}

/// One webhook request.
#[derive(Debug, PartialEq, Eq)]
pub struct Payload<'a> {
    /// Its alerts.
    pub alerts: Vec<Alert<'a>>,
    /// How many alerts Alertmanager left out (its `max_alerts`).
    pub truncated_alerts: u64,
}

/// One alert of it.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub struct Alert<'a> {
    /// Whether it fires; otherwise it is resolved.
    #[serde(rename = "status", deserialize_with = "firing")]
    pub firing: bool,
    /// Its labels.
    #[serde(borrow)]
    pub labels: Pairs<'a>,
    #[serde(borrow, default)]
    fingerprint: Option<Text<'a>>,
}

impl Alert<'_> {
    /// What tells it from other alerts: Alertmanager's fingerprint, or, from a sender that leaves it out, the sha256 of
    /// the labels.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        match &self.fingerprint {
            Some(Text(given)) if !given.is_empty() => given.clone().into_owned(),
            Some(_) | None => {
                let mut hash = Sha256::new();
                for text in self.labels.to_labels().iter().flat_map(|(name, value)| [name, value]) {
                    hash.update(text);
                    // A byte that is in no UTF-8 text, so that no two sets of labels run together alike.
                    hash.update([0xff]);
                }
                hex::encode(hash.finalize())
            }
        }
    }
}

/// Reads a webhook body.
///
/// # Errors
/// [`PayloadError`] says what is wrong and where.
pub fn decode(body: &[u8]) -> Result<Payload<'_>, PayloadError> {
    if body.is_empty() {
        return Err(PayloadError::Empty);
    }
    // Once for the whole body: cheaper than for every string of it.
    let text = std::str::from_utf8(body).map_err(|error| PayloadError::NotUtf8(error.valid_up_to()))?;
    let Object(envelope): Object<Envelope<'_>> = serde_json::from_str(text)?;
    match &*envelope.version.0 {
        "4" => Ok(Payload { alerts: envelope.alerts, truncated_alerts: envelope.truncated_alerts }),
        other => Err(PayloadError::Version(other.chars().take(20).collect())),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    version: Text<'a>,
    #[serde(borrow, deserialize_with = "alerts")]
    alerts: Vec<Alert<'a>>,
    #[serde(default)]
    truncated_alerts: u64,
}

/// A struct that is written as an object. On its own, serde would take an array of its fields as well.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// Labels as they stand in the body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs<'a>(Vec<(Text<'a>, Text<'a>)>);

impl Pairs<'_> {
    /// The value of a label. Of a name that stands there twice the last one counts, as in Go.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(Text(found), _)| found == name).map(|(_, Text(value))| &**value)
    }

    /// The labels on their own.
    #[must_use]
    pub fn to_labels(&self) -> Labels {
        self.0.iter().map(|(Text(name), Text(value))| (name.to_string(), value.to_string())).collect()
    }
}

/// A text that stays in the body unless it has escapes. (`Cow` in a container would always be copied by serde.)
#[derive(Clone, Debug, PartialEq, Eq)]
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;

        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }

        deserializer.deserialize_str(TextVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PairsVisitor;

        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                // An alert has about a dozen labels.
                let mut pairs = Vec::with_capacity(12);
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(PairsVisitor)
    }
}

fn firing<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let Text(status) = Text::deserialize(deserializer)?;
    match &*status {
        "firing" => Ok(true),
        "resolved" => Ok(false),
        other => Err(D::Error::unknown_variant(other, &["firing", "resolved"])),
    }
}

/// The alerts; a mistake in one of them is told with its position.
fn alerts<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Alert<'a>>, D::Error> {
    struct AlertsVisitor;

    impl<'de> Visitor<'de> for AlertsVisitor {
        type Value = Vec<Alert<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of alerts")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut alerts = Vec::new();
            loop {
                match list.next_element() {
                    Ok(Some(Object(alert))) => alerts.push(alert),
                    Ok(None) => return Ok(alerts),
                    Err(error) => return Err(A::Error::custom(format_args!("alerts[{}]: {error}", alerts.len()))),
                }
            }
        }
    }

    deserializer.deserialize_seq(AlertsVisitor)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Alertmanager 0.25 posts it: the group fires while one of its alerts is resolved.
    const REAL: &str = r#"{"receiver":"reaperd","status":"firing","alerts":[
        {"status":"firing","labels":{"alertname":"TooMany","instance":"10.0.0.7:6379","note":"say \"hi\" \u00e9"},
         "annotations":{"summary":"x"},"startsAt":"2026-11-24T07:00:00.000Z","endsAt":"0001-01-01T00:00:00Z",
         "generatorURL":"http://prometheus/graph?g0.expr=up","fingerprint":"a7ba8e3b9e2c9f1b"},
        {"status":"resolved","labels":{"alertname":"TooMany"},"annotations":{},"fingerprint":"b7ba8e3b9e2c9f1b"}],
        "groupLabels":{"alertname":"TooMany"},"commonLabels":{},"commonAnnotations":{},
        "externalURL":"http://am:9093","version":"4","groupKey":"{}:{alertname=\"TooMany\"}","truncatedAlerts":3}"#;

    #[test]
    fn a_real_payload_is_read() {
        let payload = decode(REAL.as_bytes()).unwrap();
        assert_eq!(payload.truncated_alerts, 3);
        let [first, second] = payload.alerts.as_slice() else { panic!("{payload:?}") };
        assert!(first.firing && !second.firing);
        assert_eq!(first.fingerprint(), "a7ba8e3b9e2c9f1b");
        assert_eq!(first.labels.get("instance"), Some("10.0.0.7:6379"));
        assert_eq!(first.labels.get("target"), None);
        assert_eq!(first.labels.to_labels().get("note").map(String::as_str), Some("say \"hi\" é"));
        assert!(matches!(first.labels.0[0].1.0, Cow::Borrowed("TooMany")), "labels are copied");
    }

    fn one(alert: &str) -> String {
        format!(r#"{{"version":"4","alerts":[{{"status":"firing","labels":{{}}}},{alert}]}}"#)
    }

    #[test]
    fn hostile_bodies_are_refused_with_what_and_where() {
        for (body, says) in [
            ("", "the body is empty"),
            (" ", "EOF while parsing"),
            ("null", "expected an object"),
            ("[]", "expected an object"),
            (r#"["4",[],0]"#, "expected an object"),
            (&one(r#"["firing",{},"f"]"#), "alerts[1]: invalid type: sequence, expected an object"),
            ("{}", "missing field `version`"),
            (r#"{"version":"4"}"#, "missing field `alerts`"),
            (r#"{"version":"4","alerts":null}"#, "expected a list of alerts"),
            (r#"{"version":"4","alerts":{}}"#, "expected a list of alerts"),
            (r#"{"version":4,"alerts":[]}"#, "expected a string"),
            (r#"{"version":"3","alerts":[]}"#, "version `3`"),
            (r#"{"version":"4","alerts":[],"truncatedAlerts":-1}"#, "expected u64"),
            (r#"{"version":"4","alerts":[]"#, "EOF while parsing"),
            (r#"{"version":"4","alerts":[]} x"#, "trailing characters"),
            (&one("7"), "alerts[1]: invalid type"),
            (&one(r#"{"labels":{}}"#), "alerts[1]: missing field `status`"),
            (&one(r#"{"status":"firing"}"#), "alerts[1]: missing field `labels`"),
            (&one(r#"{"status":"suppressed","labels":{}}"#), "unknown variant `suppressed`"),
            (&one(r#"{"status":"firing","labels":{"a":1}}"#), "expected a string"),
            (&one(r#"{"status":"firing","labels":["a"]}"#), "expected an object of strings"),
            (&one(r#"{"status":"firing","labels":{"a":"\ud800"}}"#), "alerts[1]: unexpected end of hex escape"),
            (&one(r#"{"status":"firing","labels":{},"fingerprint":7}"#), "expected a string"),
            (&REAL[..REAL.len() / 2], "line 4 column"),
            (&"[".repeat(100_000), "line 1"),
            (&format!(r#"{{"x":{}"#, "[".repeat(100_000)), "EOF while parsing"),
        ] {
            let error = decode(body.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{error}\nfor {}", &body[..body.len().min(200)]);
        }
        assert_eq!(decode(b"{\"a\xff\"}").unwrap_err().to_string(), "the body is not UTF-8 from byte 3 on");
    }

    #[test]
    fn no_prefix_of_a_payload_is_taken() {
        for end in 0..REAL.len() {
            assert!(decode(REAL.as_bytes().get(..end).unwrap()).is_err(), "{end}");
        }
    }

    #[test]
    fn without_a_fingerprint_the_labels_are_the_identity() {
        let print = |labels: &str| {
            let body = format!(r#"{{"version":"4","alerts":[{{"status":"firing","labels":{labels}}}]}}"#);
            decode(body.as_bytes()).unwrap().alerts[0].fingerprint()
        };
        assert_eq!(print(r#"{"a":"1","b":"2"}"#), print(r#"{"b":"2","a":"1"}"#));
        assert_eq!(print(r#"{"a":"0","a":"1"}"#), print(r#"{"a":"1"}"#));
        assert_ne!(print(r#"{"a":"1","b":"2"}"#), print(r#"{"a":"1b","":"2"}"#));
        assert_eq!(print("{}").len(), 64);
    }

    #[test]
    fn of_a_label_twice_the_last_counts() {
        let alert = decode(br#"{"version":"4","alerts":[{"status":"firing","labels":{"a":"0","a":"1"}}]}"#).unwrap();
        assert_eq!(alert.alerts[0].labels.get("a"), Some("1"));
        assert_eq!(alert.alerts[0].labels.to_labels().get("a").map(String::as_str), Some("1"));
    }
}
