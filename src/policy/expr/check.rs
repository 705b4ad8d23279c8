//! Gives every piece of an expression its type against the session schema, and refuses the rest.
//!
//! A rule that cannot mean what it says must not load: a misspelt field would be a rule that silently never fires. All
//! mistakes of an expression are found in one pass; a piece that is wrong answers [`Typed::Wrong`], about which
//! nothing more is said.

use std::ops::Range;

use ipnet::IpNet;

use super::ExprError;
use super::ast::{Condition, Math, Number, Test, Text};
use super::help;
use super::parse::{Node, NodeKind, Operator, Unsupported};
use crate::policy::field::{Field, FieldType};

/// An expression that is right.
pub(super) struct Checked {
    /// The conditions that must all hold, each with its place in the source.
    pub(super) clauses: Vec<(Range<usize>, Condition)>,
    /// What is allowed but probably not meant.
    pub(super) lints: Vec<ExprError>,
}

/// Checks a syntax tree.
pub(super) fn check(source: &str, root: &Node) -> Result<Checked, Vec<ExprError>> {
    let mut checker = Checker { source, errors: Vec::new(), lints: Vec::new() };
    let mut parts = Vec::new();
    flatten(Operator::And, root, &mut parts);
    let clauses = parts.into_iter().filter_map(|part| Some((part.span.clone(), checker.condition(part)?))).collect();
    let Checker { mut errors, lints, .. } = checker;
    if errors.is_empty() {
        return Ok(Checked { clauses, lints });
    }
    errors.sort_by_key(|error| error.span.start);
    errors.dedup();
    Err(errors)
}

/// The nodes that `operator` joins: the parser builds chains of `&&` and `||` as balanced trees.
fn flatten<'a>(operator: Operator, node: &'a Node, parts: &mut Vec<&'a Node>) {
    if let NodeKind::Binary(found, sides) = &node.kind
        && *found == operator
    {
        sides.iter().for_each(|side| flatten(operator, side, parts));
    } else {
        parts.push(node);
    }
}

/// A piece with its type.
#[derive(Debug)]
pub(super) enum Typed {
    /// True, false or unknown.
    Condition(Condition),
    /// An integer.
    Number(Number),
    /// A duration.
    Duration(Number),
    /// A text.
    Text(Text),
    /// What `cidr()` makes.
    Network(IpNet),
    /// A mistake that is already reported.
    Wrong,
}

impl Typed {
    fn of(field: Field) -> Self {
        match field.ty() {
            FieldType::Int => Self::Number(Number::Field(field)),
            FieldType::Duration => Self::Duration(Number::Field(field)),
            FieldType::Text => Self::Text(Text::Field(field)),
        }
    }

    pub(super) const fn noun(&self) -> &'static str {
        match self {
            Self::Condition(_) => "a condition",
            Self::Number(_) => "a number",
            Self::Duration(_) => "a duration",
            Self::Text(_) => "a text",
            Self::Network(_) => "a network",
            Self::Wrong => "wrong",
        }
    }
}

impl From<Test> for Typed {
    fn from(test: Test) -> Self {
        Self::Condition(Condition::Test(test))
    }
}

pub(super) struct Checker<'a> {
    pub(super) source: &'a str,
    pub(super) errors: Vec<ExprError>,
    pub(super) lints: Vec<ExprError>,
}

impl<'a> Checker<'a> {
    pub(super) fn wrong(&mut self, error: ExprError) -> Typed {
        self.errors.push(error);
        Typed::Wrong
    }

    pub(super) fn text(&self, node: &Node) -> &'a str {
        &self.source[node.span.clone()]
    }

    fn condition(&mut self, node: &Node) -> Option<Condition> {
        let found = self.typed(node);
        let noun = found.noun();
        let text = short(self.text(node));
        let help = match found {
            Typed::Condition(condition) => return Some(condition),
            Typed::Wrong => return None,
            Typed::Number(_) => format!("compare it, as in {text} > 0"),
            Typed::Duration(_) => format!("compare it, as in {text} > duration(\"30m\")"),
            Typed::Text(_) => format!("compare it, as in {text} == \"...\""),
            Typed::Network(_) => format!("write {text}.containsIP(ip)"),
        };
        let message = format!("`{text}` is {noun}, not a condition");
        self.errors.push(ExprError::new(node.span.clone(), message).help(help));
        None
    }

    /// Recurses as deep as the tree, which the lexer has capped.
    pub(super) fn typed(&mut self, node: &Node) -> Typed {
        match &node.kind {
            NodeKind::Name(name) => match Field::from_name(name) {
                Some(field) => Typed::of(field),
                None => self.unknown_field(node, name, false),
            },
            NodeKind::Int(value) => Typed::Number(Number::Constant(*value)),
            NodeKind::Text(value) => Typed::Text(Text::Constant(value.as_str().into())),
            NodeKind::Bool(value) => Typed::Condition(Condition::Constant(*value)),
            NodeKind::List(_) => {
                let error = ExprError::new(node.span.clone(), "a list stands only at the right of `in`");
                self.wrong(error.help("write db in [1, 2]"))
            }
            NodeKind::Not(inner) => match self.condition(inner) {
                Some(condition) => Typed::Condition(Condition::Not(Box::new(condition))),
                None => Typed::Wrong,
            },
            NodeKind::Negate(inner) => self.negate(inner),
            NodeKind::Binary(operator, sides) => self.binary(*operator, sides, node),
            NodeKind::Call { name, name_span, target, args } => {
                self.call(node, name, name_span, target.as_deref(), args)
            }
            NodeKind::Select(operand) => self.select(node, operand),
            NodeKind::Unsupported(what, parts) => self.unsupported(node, what, parts),
        }
    }

    pub(super) fn unknown_field(&mut self, node: &Node, name: &str, quotable: bool) -> Typed {
        let help = help::for_unknown_field(name, quotable);
        self.wrong(ExprError::new(node.span.clone(), format!("unknown field `{name}`")).help(help))
    }

    fn binary(&mut self, operator: Operator, sides: &[Node; 2], node: &Node) -> Typed {
        match operator {
            Operator::And => {
                self.chain(operator, node).map_or(Typed::Wrong, |all| Typed::Condition(Condition::All(all)))
            }
            Operator::Or => {
                self.chain(operator, node).map_or(Typed::Wrong, |any| Typed::Condition(Condition::Any(any)))
            }
            Operator::Compare(comparison) => self.compare(comparison, sides, node),
            Operator::In => self.member(sides),
            Operator::Math(math) => self.math(math, sides, node),
            Operator::Divide | Operator::Remainder => {
                sides.iter().for_each(|side| drop(self.typed(side)));
                let sign = if operator == Operator::Divide { "/" } else { "%" };
                let message =
                    format!("`{sign}` is not supported: it drops what is left over, so ratios are always 0 or 1");
                let help = "multiply the other side instead, as in omem > 2 * qbuf; for a part of all sessions, use `limits: {share: 25%}`";
                self.wrong(ExprError::new(node.span.clone(), message).help(help))
            }
        }
    }

    fn chain(&mut self, operator: Operator, node: &Node) -> Option<Vec<Condition>> {
        let mut parts = Vec::new();
        flatten(operator, node, &mut parts);
        let count = parts.len();
        let conditions: Vec<Condition> = parts.into_iter().filter_map(|part| self.condition(part)).collect();
        (conditions.len() == count).then_some(conditions)
    }

    fn negate(&mut self, inner: &Node) -> Typed {
        match self.typed(inner) {
            Typed::Wrong => Typed::Wrong,
            Typed::Number(Number::Constant(value)) => match value.checked_neg() {
                Some(value) => Typed::Number(Number::Constant(value)),
                None => self.wrong(ExprError::new(inner.span.clone(), "the negative of this is too large")),
            },
            Typed::Number(number) => Typed::Number(Number::Negative(Box::new(number))),
            found @ (Typed::Condition(_) | Typed::Duration(_) | Typed::Text(_) | Typed::Network(_)) => {
                let message = format!("`-` needs a number; `{}` is {}", short(self.text(inner)), found.noun());
                self.wrong(ExprError::new(inner.span.clone(), message))
            }
        }
    }

    fn math(&mut self, math: Math, sides: &[Node; 2], node: &Node) -> Typed {
        if let (Math::Subtract, NodeKind::Name(left), NodeKind::Name(right)) = (math, &sides[0].kind, &sides[1].kind)
            && let Some(field) = Field::from_name(&format!("{left}_{right}"))
        {
            let error = ExprError::new(node.span.clone(), format!("unknown field `{}`", self.text(node)));
            return self.wrong(error.help(format!("write {}", field.name())));
        }
        let (left, right) = (self.typed(&sides[0]), self.typed(&sides[1]));
        let (left, right, duration) = match (left, right) {
            (Typed::Wrong, _) | (_, Typed::Wrong) => return Typed::Wrong,
            (Typed::Number(left), Typed::Number(right)) => (left, right, false),
            (Typed::Duration(left), Typed::Duration(right)) if math != Math::Multiply => (left, right, true),
            (left, right) => return self.no_math(&left, &right, sides, node),
        };
        let number = match (&left, &right) {
            (Number::Constant(a), Number::Constant(b)) => match math.of(*a, *b) {
                Some(value) => Number::Constant(value),
                None => return self.wrong(ExprError::new(node.span.clone(), "the result is too large")),
            },
            _ => Number::Math(math, Box::new([left, right])),
        };
        if duration { Typed::Duration(number) } else { Typed::Number(number) }
    }

    fn no_math(&mut self, left: &Typed, right: &Typed, sides: &[Node; 2], node: &Node) -> Typed {
        let message = format!(
            "cannot calculate with `{}` ({}) and `{}` ({})",
            short(self.text(&sides[0])),
            left.noun(),
            short(self.text(&sides[1])),
            right.noun()
        );
        let help = match (left, right) {
            (Typed::Duration(_), _) | (_, Typed::Duration(_)) => {
                "durations are added to and subtracted from durations, as in age - idle > duration(\"5m\")"
            }
            _ => "only numbers and durations can be calculated with",
        };
        self.wrong(ExprError::new(node.span.clone(), message).help(help))
    }

    fn select(&mut self, node: &Node, operand: &Node) -> Typed {
        if !matches!(operand.kind, NodeKind::Name(_) | NodeKind::Select(_)) {
            drop(self.typed(operand));
        }
        let text = self.text(node);
        let name = text.rsplit('.').next().unwrap_or(text).trim();
        let joined = text.replace('.', "_");
        let error = ExprError::new(node.span.clone(), format!("unknown field `{}`", short(text)));
        let help = match Field::from_name(&joined).or_else(|| Field::from_name(name)) {
            Some(field) => format!("write {}", field.name()),
            None => "fields have no parts".to_owned(),
        };
        self.wrong(error.help(help))
    }

    fn unsupported(&mut self, node: &Node, what: &Unsupported, parts: &[Node]) -> Typed {
        parts.iter().for_each(|part| drop(self.typed(part)));
        let text = short(self.text(node));
        let (message, help) = match what {
            Unsupported::Uint(value) => ("there are no unsigned numbers", format!("write {value}")),
            Unsupported::Double => (
                "there are no fractions",
                "write a whole number; for a part of all sessions, use `limits: {share: 25%}`".to_owned(),
            ),
            Unsupported::Null => ("there is no null", "write has(name), or !has(name)".to_owned()),
            Unsupported::Bytes => ("there are no bytes", format!("write {}", text.trim_start_matches(['b', 'B']))),
            Unsupported::Map => ("there are no maps", "write a condition, as in db == 1".to_owned()),
            Unsupported::Index => ("there is nothing to take an element of", "compare the field itself".to_owned()),
            Unsupported::Conditional => ("`?:` is not supported", "write a && b || !a && c".to_owned()),
            Unsupported::Other => ("this is not supported", "write a condition, as in db == 1".to_owned()),
        };
        self.wrong(ExprError::new(node.span.clone(), message).help(help))
    }
}

/// `text`, or its beginning.
pub(super) fn short(text: &str) -> String {
    const LONGEST: usize = 40;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
