//! Label matchers in Alertmanager's syntax: `env="prod", team=~"orders|payments"`.
//!
//! A label that is not there has the empty value, as in Prometheus. Regular expressions are anchored at both ends.

use std::collections::BTreeMap;
use std::fmt;

use regex::Regex;

/// Labels of a target or an alert.
pub type Labels = BTreeMap<String, String>;

/// How a label is compared.
#[derive(Clone, Debug)]
enum Test {
    Equal(String),
    NotEqual(String),
    Like(Regex),
    NotLike(Regex),
}

/// One matcher.
#[derive(Clone, Debug)]
struct Matcher {
    label: String,
    test: Test,
}

/// Matchers that must all hold; none at all match everything.
#[derive(Clone, Debug, Default)]
pub struct Matchers {
    matchers: Vec<Matcher>,
    source: String,
}

/// Why a text is no matcher list.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct MatcherError {
    /// Where in the text, in bytes.
    pub offset: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Matchers {
    /// Reads `a="x", b!="y", c=~"z|w", d!~"v.*"`, with or without braces around it.
    ///
    /// # Errors
    /// [`MatcherError`] with the place of the mistake.
    pub fn parse(source: &str) -> Result<Self, MatcherError> {
        let mut parser = Parser { source, at: 0 };
        let braced = parser.eat("{");
        let mut matchers = Vec::new();
        while !(parser.at_end() || braced && parser.peek("}")) {
            matchers.push(parser.matcher()?);
            if !parser.eat(",") {
                break;
            }
        }
        if braced && !parser.eat("}") {
            return Err(parser.error("the `{` is not closed by a `}`"));
        }
        if !parser.at_end() {
            return Err(parser.error("expected a comma between matchers, as in env=\"prod\", team=\"orders\""));
        }
        Ok(Self { matchers, source: source.trim().to_owned() })
    }

    /// Whether every matcher holds for these labels.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|matcher| {
            let value = labels.get(&matcher.label).map_or("", String::as_str);
            match &matcher.test {
                Test::Equal(text) => value == text,
                Test::NotEqual(text) => value != text,
                Test::Like(regex) => regex.is_match(value),
                Test::NotLike(regex) => !regex.is_match(value),
            }
        })
    }

    /// Whether there is no matcher, so that everything matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.matchers.is_empty()
    }
}

impl fmt::Display for Matchers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

struct Parser<'a> {
    source: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn skip_space(&mut self) {
        self.at = self.source.len() - self.rest().trim_start().len();
    }

    fn at_end(&mut self) -> bool {
        self.skip_space();
        self.rest().is_empty()
    }

    fn peek(&mut self, token: &str) -> bool {
        self.skip_space();
        self.rest().starts_with(token)
    }

    fn eat(&mut self, token: &str) -> bool {
        let found = self.peek(token);
        if found {
            self.at += token.len();
        }
        found
    }

    fn error(&self, message: impl Into<String>) -> MatcherError {
        MatcherError { offset: self.at, message: message.into() }
    }

    fn matcher(&mut self) -> Result<Matcher, MatcherError> {
        let label = self.label()?;
        let operator = ["=~", "!~", "!=", "="]
            .into_iter()
            .find(|operator| self.eat(operator))
            .ok_or_else(|| self.error(format!("expected =, !=, =~ or !~ after `{label}`, as in {label}=\"prod\"")))?;
        let start = self.at;
        let value = self.value()?;
        let regex = || {
            Regex::new(&format!("^(?:{value})$")).map_err(|error| MatcherError {
                offset: start,
                message: format!("`{value}` is no regular expression: {error}"),
            })
        };
        let test = match operator {
            "=~" => Test::Like(regex()?),
            "!~" => Test::NotLike(regex()?),
            "!=" => Test::NotEqual(value),
            _ => Test::Equal(value),
        };
        Ok(Matcher { label, test })
    }

    fn label(&mut self) -> Result<String, MatcherError> {
        self.skip_space();
        let end =
            self.rest().find(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':').unwrap_or(self.rest().len());
        let label = self.rest()[..end].to_owned();
        if label.is_empty() || label.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(self.error("expected a label name, as in env=\"prod\""));
        }
        self.at += end;
        Ok(label)
    }

    /// A quoted value with Go's common escapes, or a bare word as Alertmanager allows.
    fn value(&mut self) -> Result<String, MatcherError> {
        if !self.eat("\"") {
            let end = self.rest().find([',', '}', '"', ' ']).unwrap_or(self.rest().len());
            let value = self.rest()[..end].to_owned();
            self.at += end;
            return Ok(value);
        }
        let mut value = String::new();
        let mut chars = self.source[self.at..].char_indices();
        while let Some((offset, char)) = chars.next() {
            match char {
                '"' => {
                    self.at += offset + 1;
                    return Ok(value);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, escaped @ ('"' | '\\'))) => value.push(escaped),
                    // Alertmanager keeps other escapes, which are mostly those of regular expressions.
                    Some((_, other)) => value.extend(['\\', other]),
                    None => break,
                },
                other => value.push(other),
            }
        }
        Err(self.error("the quoted value is not closed by a \""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn matchers_hold_as_in_alertmanager() {
        let prod = labels(&[("env", "prod"), ("team", "orders")]);
        for (source, holds) in [
            ("", true),
            ("{}", true),
            (r#"env="prod""#, true),
            (r#"{env="prod", team=~"orders|payments"}"#, true),
            (r#"env = "prod","#, true),
            ("env=prod", true),
            (r#"env="dev""#, false),
            (r#"team=~"order""#, false),
            (r#"team=~"order.*""#, true),
            (r#"zone="""#, true),
            (r#"zone!="a""#, true),
            (r#"zone!~"a.*""#, true),
            (r#"env!="prod""#, false),
            (r#"team=~"or\w+s""#, true),
        ] {
            assert_eq!(Matchers::parse(source).map(|m| m.matches(&prod)), Ok(holds), "{source}");
        }
    }

    #[test]
    fn mistakes_have_a_place() {
        for (source, offset) in [
            ("env", 3),
            (r#"env="prod"#, 5),
            (r#"="x""#, 0),
            (r#"a="x" b="y""#, 6),
            (r#"a=~"(""#, 3),
            ("{a=b", 4),
            ("1a=b", 0),
        ] {
            assert_eq!(Matchers::parse(source).map_err(|error| error.offset).err(), Some(offset), "{source}");
        }
    }
}
