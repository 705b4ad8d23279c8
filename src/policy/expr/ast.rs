//! Checked expressions: every piece has the type it needs, and constants are folded.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use ipnet::IpNet;
use regex::Regex;

use crate::policy::field::{Field, FieldSet};

/// A condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Condition {
    /// Known from the start.
    Constant(bool),
    /// The opposite.
    Not(Box<Condition>),
    /// All of them.
    All(Vec<Condition>),
    /// Any of them.
    Any(Vec<Condition>),
    /// A test of values.
    Test(Test),
}

/// A test of values. It is unknown when one of them is, except for [`Test::Has`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Test {
    /// Whether the field has a value.
    Has(Field),
    /// Compares numbers, or durations in milliseconds.
    Numbers(Comparison, Number, Number),
    /// Whether the number is one of these.
    NumberIn(Number, Vec<i64>),
    /// Compares texts, byte by byte.
    Texts(Comparison, Text, Text),
    /// Whether the text is one of these.
    TextIn(Text, Vec<Box<str>>),
    /// Looks for the second text in the first.
    Search(Search, Text, Text),
    /// Whether the pattern is found in the text.
    Matches(Text, Pattern),
    /// Whether the field `ip` lies in this network.
    InNetwork(IpNet),
}

/// A number, or a duration in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Number {
    /// Written in the expression.
    Constant(i64),
    /// Of the session.
    Field(Field),
    /// How many characters the text has.
    Size(Text),
    /// The negative of it.
    Negative(Box<Number>),
    /// Computed from two; unknown when it overflows.
    Math(Math, Box<[Number; 2]>),
}

/// A text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Text {
    /// Written in the expression.
    Constant(Box<str>),
    /// Of the session.
    Field(Field),
}

/// How two values are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Comparison {
    /// `==`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Comparison {
    /// Whether two values that compare like this satisfy it.
    pub(super) fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::NotEqual => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }

    /// The comparison that holds exactly when this one does not.
    pub(super) const fn opposite(self) -> Self {
        match self {
            Self::Equal => Self::NotEqual,
            Self::NotEqual => Self::Equal,
            Self::Less => Self::GreaterOrEqual,
            Self::LessOrEqual => Self::Greater,
            Self::Greater => Self::LessOrEqual,
            Self::GreaterOrEqual => Self::Less,
        }
    }

    /// The comparison with its sides exchanged.
    pub(super) const fn mirrored(self) -> Self {
        match self {
            Self::Equal => Self::Equal,
            Self::NotEqual => Self::NotEqual,
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
        }
    }

    /// Whether it needs an order, not only equality.
    pub(super) const fn orders(self) -> bool {
        !matches!(self, Self::Equal | Self::NotEqual)
    }
}

/// How a number is computed from two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Math {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
}

impl Math {
    /// The result; none when it overflows.
    pub(super) const fn of(self, left: i64, right: i64) -> Option<i64> {
        match self {
            Self::Add => left.checked_add(right),
            Self::Subtract => left.checked_sub(right),
            Self::Multiply => left.checked_mul(right),
        }
    }
}

/// Where one text is looked for in another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Search {
    /// At its start.
    StartsWith,
    /// At its end.
    EndsWith,
    /// Anywhere.
    Contains,
}

/// A compiled regular expression, which is what it was compiled from.
#[derive(Clone, Debug)]
pub(super) struct Pattern(pub(super) Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.as_str().hash(state);
    }
}

impl Condition {
    /// Calls `visit` with every test in it, and whether it stands under an even number of `!`.
    pub(super) fn tests<'a>(&'a self, positive: bool, visit: &mut impl FnMut(&'a Test, bool)) {
        match self {
            Self::Constant(_) => {}
            Self::Not(inner) => inner.tests(!positive, visit),
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.tests(positive, visit)),
            Self::Test(test) => visit(test, positive),
        }
    }
}

impl Test {
    /// The fields it mentions, in their order, some more than once.
    pub(super) fn mentions(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        match self {
            Self::Has(field) => fields.push(*field),
            Self::Numbers(_, left, right) => {
                left.mentions(&mut fields);
                right.mentions(&mut fields);
            }
            Self::NumberIn(number, _) => number.mentions(&mut fields),
            Self::Texts(_, left, right) | Self::Search(_, left, right) => {
                fields.extend([left, right].into_iter().filter_map(Text::field));
            }
            Self::TextIn(text, _) | Self::Matches(text, _) => fields.extend(text.field()),
            Self::InNetwork(_) => fields.push(Field::Ip),
        }
        fields
    }

    /// The fields without which it is unknown.
    pub(super) fn needs(&self) -> FieldSet {
        if matches!(self, Self::Has(_)) { FieldSet::EMPTY } else { self.mentions().into_iter().collect() }
    }

    /// Whether it is true of sessions because they are of this kind.
    pub(super) fn names_kind(&self, kind: &str) -> bool {
        if let Self::Texts(Comparison::Equal, Text::Field(Field::Kind), Text::Constant(value)) = self {
            return **value == *kind;
        }
        matches!(self, Self::TextIn(Text::Field(Field::Kind), values) if values.iter().any(|value| **value == *kind))
    }
}

impl Number {
    fn mentions(&self, fields: &mut Vec<Field>) {
        match self {
            Self::Constant(_) => {}
            Self::Field(field) => fields.push(*field),
            Self::Size(text) => fields.extend(text.field()),
            Self::Negative(number) => number.mentions(fields),
            Self::Math(_, sides) => sides.iter().for_each(|side| side.mentions(fields)),
        }
    }
}

impl Text {
    /// The field it is, if it is one.
    pub(super) const fn field(&self) -> Option<Field> {
        match self {
            Self::Constant(_) => None,
            Self::Field(field) => Some(*field),
        }
    }
}
