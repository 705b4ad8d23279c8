//! Rules: which sessions are abusive, for how long, how many may go, how fast, in which mode.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::expr::Expr;
use super::field::{Field, FieldSet, FieldType};
use super::matcher::Matchers;
use super::names::RuleName;
use super::time::{ShowDuration, parse_duration};

/// What may be done about a candidate. A config, a target and a rule each have one; the lowest holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Journal only.
    Observe,
    /// Kill, within budgets.
    Enforce,
}

impl Mode {
    /// The name used in files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Enforce => "enforce",
        }
    }

    /// The mode with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Observe, Self::Enforce].into_iter().find(|mode| mode.as_str() == name)
    }
}

/// What makes a rule active on a target.
#[derive(Clone, Debug)]
pub enum When {
    /// Every poll.
    Poll,
    /// A firing alert with these labels.
    Alert(Matchers),
}

/// At most `kills` in any window of this length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// The number of kills.
    pub kills: u32,
    /// The length of the window.
    pub window: Duration,
}

impl Rate {
    /// Reads `20/1m`.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let help = "write kills per window, as in 20/1m";
        let (kills, window) = text.split_once('/').ok_or_else(|| format!("`{text}` is no rate: {help}"))?;
        let kills = kills.trim().parse().map_err(|_| format!("`{kills}` is no number of kills: {help}"))?;
        let window = window.trim();
        let window =
            if window.starts_with(|c: char| c.is_ascii_digit()) { window.to_owned() } else { format!("1{window}") };
        let window = parse_duration(&window).map_err(|error| format!("{error}; {help}"))?;
        if window.is_zero() {
            return Err(format!("`{text}` has an empty window: {help}"));
        }
        Ok(Self { kills, window })
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kills, ShowDuration(self.window))
    }
}

/// A part of a node's sessions, in ten-thousandths so that `12.5%` is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u32);

impl Share {
    /// All sessions.
    pub const ALL: Self = Self(10_000);

    /// `percent` hundredths.
    #[must_use]
    pub const fn percent(percent: u32) -> Self {
        Self(percent * 100)
    }

    /// Reads `25%` or `12.5%`.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{text}` is no share: write a percentage from 0% to 100%, as in 25%");
        let number = text.strip_suffix('%').ok_or_else(refuse)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if fraction.len() > 2 || !number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(refuse());
        }
        let whole: u32 = whole.parse().map_err(|_| refuse())?;
        let fraction: u32 = format!("{fraction:0<2}").parse().map_err(|_| refuse())?;
        whole
            .checked_mul(100)
            .and_then(|hundredths| hundredths.checked_add(fraction))
            .filter(|hundredths| *hundredths <= 10_000)
            .map(Self)
            .ok_or_else(refuse)
    }

    /// The largest whole number of sessions within this share of `sessions`, rounded down.
    #[must_use]
    pub const fn of(self, sessions: usize) -> usize {
        sessions * self.0 as usize / 10_000
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, fraction) = (self.0 / 100, self.0 % 100);
        if fraction == 0 {
            write!(f, "{whole}%")
        } else {
            write!(f, "{whole}.{}%", format!("{fraction:02}").trim_end_matches('0'))
        }
    }
}

/// A rule's own limits; what is not set is limited by the config alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleLimits {
    /// Per target.
    pub kills: Option<Rate>,
    /// Over all targets.
    pub fleet: Option<Rate>,
    /// Of a node's sessions.
    pub share: Option<Share>,
    /// After a kill on a target, none there for this long.
    pub cooldown: Duration,
}

/// Which of a rule's sessions go first. Ties go by node, then id, so that the order is always the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// A number or duration.
    pub field: Field,
    /// Largest first.
    pub descending: bool,
}

impl Default for Order {
    fn default() -> Self {
        Self { field: Field::Idle, descending: true }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.field.name(), if self.descending { "desc" } else { "asc" })
    }
}

impl Order {
    /// Reads `idle desc` or `age asc`; without a direction, `desc`.
    ///
    /// # Errors
    /// A sentence that says what to write instead.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let name = words.next().unwrap_or_default();
        let field = Field::from_name(name).filter(|field| field.ty() != FieldType::Text).ok_or_else(|| {
            format!("cannot order by `{name}`: write a numeric or duration field, as in `idle desc` or `omem desc`")
        })?;
        let descending = match (words.next(), words.next()) {
            (None | Some("desc"), None) => true,
            (Some("asc"), None) => false,
            _ => return Err(format!("`{text}` is no order: write a field and asc or desc, as in `idle desc`")),
        };
        Ok(Self { field, descending })
    }
}

/// Where a rule was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The file, as named in the config.
    pub file: Arc<str>,
    /// The line of `rule:`, from 1.
    pub line: usize,
}

/// One rule, valid: its expression is type-checked against the session schema.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Unique over all files.
    pub name: RuleName,
    /// The group it stands in.
    pub group: Arc<str>,
    /// What it is for, and when it is wrong to use.
    pub summary: Arc<str>,
    /// What makes it active.
    pub when: Vec<When>,
    /// On which targets it applies.
    pub targets: Matchers,
    /// Which sessions it names.
    pub matches: Expr,
    /// For how long a session must have matched, on every snapshot and on at least two, unless it is zero.
    pub hold: Duration,
    /// What may be done.
    pub mode: Mode,
    /// How many, how fast.
    pub limits: RuleLimits,
    /// Who goes first.
    pub order: Order,
    /// At most this many at one evaluation.
    pub max: Option<usize>,
    /// Where it was read.
    pub source: Source,
}

impl Rule {
    /// What `for` timers are kept under: they start anew when the rule's meaning changes, and survive a reload that
    /// changes only its limits, order or mode.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint(format!("{}\u{1f}{}\u{1f}{}", self.name, self.matches.source(), self.targets).into())
    }

    /// The fields without which the rule cannot be judged.
    #[must_use]
    pub fn needs(&self) -> FieldSet {
        self.matches.needs().with(self.order.field)
    }

    /// Whether polls make the rule active.
    #[must_use]
    pub fn on_poll(&self) -> bool {
        self.when.iter().any(|when| matches!(when, When::Poll))
    }

    /// The alert matchers that make the rule active.
    pub fn on_alerts(&self) -> impl Iterator<Item = &Matchers> {
        self.when.iter().filter_map(|when| match when {
            When::Alert(matchers) => Some(matchers),
            When::Poll => None,
        })
    }
}

/// The meaning of a rule, as far as its `for` timers depend on it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(Arc<str>);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        assert_eq!(Rate::parse("20/1m"), Ok(Rate { kills: 20, window: Duration::from_secs(60) }));
        assert_eq!(Rate::parse("20/m"), Ok(Rate { kills: 20, window: Duration::from_secs(60) }));
        assert_eq!(Rate::parse("0/1h").map(|rate| rate.to_string()), Ok("0/1h".to_owned()));
        for text in ["", "20", "x/1m", "20/", "20/0s", "-1/1m", "1.5/1m", "20/1x"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_round_down() {
        assert_eq!(Share::parse("25%").map(|share| share.of(55)), Ok(13));
        assert_eq!(Share::parse("12.5%").map(|share| share.to_string()), Ok("12.5%".to_owned()));
        assert_eq!(Share::parse("100%"), Ok(Share::ALL));
        for text in ["25", "101%", "-1%", "%", "1.234%", "a%", ".%"] {
            assert!(Share::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn orders() {
        assert_eq!(Order::parse("idle desc"), Ok(Order::default()));
        assert_eq!(Order::parse("omem asc"), Ok(Order { field: Field::Omem, descending: false }));
        for text in ["", "name desc", "idle down", "idle desc asc", "idel"] {
            assert!(Order::parse(text).is_err(), "{text}");
        }
    }
}
