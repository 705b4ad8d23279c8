//! Readers of values that several sections share: modes, rates, windows, expressions, servers.

use std::path::Path;
use std::time::Duration;

use super::section::{Keys, Section, Value};
use super::suggest::nearest;
use crate::monitoring::config::Access;
use crate::policy::expr::{Expr, ExprError};
use crate::policy::ledger::HORIZON;
use crate::policy::rule::{Mode, Rate};
use crate::policy::time::ShowDuration;

/// The keys of [`Access`].
const ACCESS: [&str; 3] = ["username", "password_file", "ca_file"];

/// A mode.
pub(super) fn mode(value: &Value<'_>) -> Option<Mode> {
    let text = value.text()?;
    let mode = Mode::from_name(text);
    if text == "propose" {
        value.error("propose is not supported by this version yet", Some("write observe or enforce"));
    } else if mode.is_none() {
        let help = match nearest(text, ["observe", "enforce"]) {
            Some(word) => format!("did you mean `{word}`?"),
            None => "write observe or enforce".to_owned(),
        };
        value.error(format!("`{text}` is no mode"), Some(&help));
    }
    mode
}

/// A rate whose window the ledger can look back over.
pub(super) fn rate(value: &Value<'_>) -> Option<Rate> {
    let rate = value.parse(Rate::parse)?;
    within_horizon(value, rate.window)?;
    Some(rate)
}

/// A duration that the ledger can look back over.
pub(super) fn window(value: &Value<'_>) -> Option<Duration> {
    within_horizon(value, value.positive_duration()?)
}

/// Refuses what the ledger cannot look back over.
pub(super) fn within_horizon(value: &Value<'_>, duration: Duration) -> Option<Duration> {
    if duration > HORIZON {
        let help = format!("kills are counted over at most {}", ShowDuration(HORIZON));
        value.error(format!("{} is too long", ShowDuration(duration)), Some(&help));
        return None;
    }
    Some(duration)
}

/// An expression over sessions; each mistake is pointed at.
pub(super) fn expression(value: &Value<'_>) -> Option<Expr> {
    let expression = match Expr::parse(value.text()?) {
        Ok(expression) => expression,
        Err(mistakes) => {
            for ExprError { span, message, help } in mistakes {
                value.error_at(span, message, help.as_deref());
            }
            return None;
        }
    };
    for ExprError { span, message, help } in expression.lints() {
        value.warning_at(span.clone(), message, help.as_deref());
    }
    Some(expression)
}

/// A base URL without credentials.
pub(super) fn url(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if text.contains('@') {
        value.error("user and password do not belong in a URL", Some("use username and password_file"));
        return None;
    }
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    if rest
        .is_none_or(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']) || rest.contains(char::is_whitespace))
    {
        let help = "write http:// or https:// and a host, as in http://127.0.0.1:9090";
        value.error(format!("`{text}` is no URL"), Some(help));
        return None;
    }
    Some(text.trim_end_matches('/').to_owned())
}

/// How a server is asked.
pub(super) fn access(section: &Section<'_>, base: &Path) -> Access {
    let [username, password_file, ca_file] = ACCESS.map(|key| section.optional(key));
    Access {
        username: username.and_then(|value| value.text().map(str::to_owned)),
        password_file: password_file.and_then(|value| value.readable_file(base)),
        ca_file: ca_file.and_then(|value| value.readable_file(base)),
    }
}

/// Keys of which none is of a later version.
pub(super) const fn only(known: &'static [&'static str]) -> Keys {
    Keys { known, later: &[] }
}

#[cfg(test)]
mod tests {
    use super::super::findings::Report;
    use super::super::place::SourceFile;
    use super::super::tree;
    use super::*;

    #[test]
    fn mistakes_and_lints_of_an_expression_are_pointed_at_in_the_file() {
        let text = "match: |\n  name.matches(\"worker\") &&\n    idel < 3\nother: 'name.matches(\"a\")'\n";
        let report = Report::default();
        let node = tree::parse(SourceFile::new("f.yml", text.into()).into(), &report).unwrap();
        let root = Value::root(&node, &report).section(&only(&["match", "other"])).unwrap();
        assert!(expression(&root.optional("match").unwrap()).is_none());
        assert!(expression(&root.optional("other").unwrap()).is_some());
        let findings = report.finish();
        let lines = findings.one_line_each();
        assert!(lines.contains("f.yml:3:5: error: match: "), "{lines}");
        assert!(lines.contains("f.yml:4:"), "{lines}");
        assert!(lines.contains(": warning: other: "), "{lines}");
        let shown = findings.to_string();
        assert!(shown.contains("--> f.yml:3:5\n  |\n3 |     idel < 3\n  |     ^^^^\n"), "{shown}");
    }
}
