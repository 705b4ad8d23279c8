//! What is hidden in a line of a file before it is shown: a mistake must not put a password into a log.
//!
//! The config file holds no secrets, only the paths of files that do; so a secret in it is itself a mistake, which is
//! reported with its line. Hidden is what stands before an `@`, as in `redis://user:password@host`, and what follows a
//! key that speaks of a secret, to the end of the line. Every byte of it becomes a `*`, so that columns stay.

use std::sync::LazyLock;

use regex::Regex;

/// What stands before an `@`: without the scheme, and with whatever may stand in a password.
static BEFORE_AT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r#"(?:\w+://(.*)|([^\s"'\[\]{},]+))@"#).ok());
/// A key and the rest of its line.
static AFTER_KEY: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r#"(?i)([\w-]*(?:passw|passphrase|secret|token|credential)[\w-]*)["']?\s*:\s+(.*)"#).ok()
});

/// The line without what may be a secret.
pub(super) fn redacted(line: &str) -> String {
    let (Some(before_at), Some(after_key)) = (&*BEFORE_AT, &*AFTER_KEY) else { return "*".repeat(line.len()) };
    let mut shown = line.to_owned();
    for found in before_at.captures_iter(line) {
        let hidden = found.get(1).or_else(|| found.get(2));
        hidden.into_iter().for_each(|hidden| hide(&mut shown, hidden.range()));
    }
    let mut from = 0;
    while let Some(found) = after_key.captures_at(line, from) {
        let (Some(key), Some(value)) = (found.get(1), found.get(2)) else { break };
        if !key.as_str().to_ascii_lowercase().ends_with("_file") && !value.as_str().starts_with(['{', '[']) {
            hide(&mut shown, value.range());
            break;
        }
        from = value.start();
    }
    shown
}

fn hide(text: &mut String, part: std::ops::Range<usize>) {
    let stars = "*".repeat(part.len());
    text.replace_range(part, &stars);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_hidden_and_columns_stay() {
        for (line, shown) in [
            ("nodes: [redis://u:p@h:1]", "nodes: [redis://***@h:1]"),
            ("nodes: ['u:p@s@h:1', h:2]", "nodes: ['*****@h:1', h:2]"),
            ("url: http://a:b c@h", "url: http://*****@h"),
            ("password: hunter2, x", "password: **********"),
            ("{target: a, Password: 'p, q'}", "{target: a, Password: *******"),
            ("\"auth_token\": x", "\"auth_token\": *"),
            ("password_file: a, secret_key: b", "password_file: a, secret_key: *"),
            ("credentials: {access_key: a, secret_key_file: sk}", "credentials: {access_key: a, secret_key_file: sk}"),
            ("match: user == \"admin\"", "match: user == \"admin\""),
        ] {
            assert_eq!(redacted(line), shown);
            assert_eq!(redacted(line).len(), line.len());
        }
    }
}
