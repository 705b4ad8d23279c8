//! Comparisons and `in`: both sides must have the same type, and a text a value that the field can have.

use std::net::IpAddr;

use ipnet::IpNet;

use super::ExprError;
use super::ast::{Comparison, Number, Test, Text};
use super::check::{Checker, Typed, short};
use super::help;
use super::parse::{Node, NodeKind};
use crate::policy::field::{Field, FieldType, Kind};
use crate::policy::time::parse_duration;

impl Checker<'_> {
    /// The type of one side of a comparison. An unknown name beside a text is probably a text without quotes.
    fn side(&mut self, node: &Node, other: &Node) -> Typed {
        let beside_text = matches!(&other.kind, NodeKind::Name(name)
            if Field::from_name(name).is_some_and(|field| field.ty() == FieldType::Text));
        if let NodeKind::Name(name) = &node.kind
            && beside_text
            && Field::from_name(name).is_none()
        {
            return self.unknown_field(node, name, true);
        }
        self.typed(node)
    }

    pub(super) fn compare(&mut self, comparison: Comparison, sides: &[Node; 2], node: &Node) -> Typed {
        let left = self.side(&sides[0], &sides[1]);
        let right = self.side(&sides[1], &sides[0]);
        match (left, right) {
            (Typed::Wrong, _) | (_, Typed::Wrong) => Typed::Wrong,
            (Typed::Number(left), Typed::Number(right)) | (Typed::Duration(left), Typed::Duration(right)) => {
                // A constant stands at the right, so that equal tests look equal.
                match (&left, &right) {
                    (Number::Constant(_), Number::Constant(_)) => Test::Numbers(comparison, left, right).into(),
                    (Number::Constant(_), _) => Test::Numbers(comparison.mirrored(), right, left).into(),
                    _ => Test::Numbers(comparison, left, right).into(),
                }
            }
            (Typed::Text(left), Typed::Text(right)) => self.compare_texts(comparison, left, right, sides, node),
            (Typed::Condition(_), Typed::Condition(_)) => {
                let error = ExprError::new(node.span.clone(), "conditions cannot be compared");
                self.wrong(
                    error.help("join them with && and ||, and write the condition itself, or !, for true and false"),
                )
            }
            (left, right) => self.cannot_compare(&left, &right, sides, node),
        }
    }

    fn cannot_compare(&mut self, left: &Typed, right: &Typed, sides: &[Node; 2], node: &Node) -> Typed {
        let message = format!(
            "cannot compare `{}` ({}) with `{}` ({})",
            short(self.text(&sides[0])),
            left.noun(),
            short(self.text(&sides[1])),
            right.noun()
        );
        let (wanted, span) = [(left, right, &sides[1]), (right, left, &sides[0])]
            .into_iter()
            .find_map(|(keep, replace, side)| Some((instead(keep, replace)?, side.span.clone())))
            .map_or((None, node.span.clone()), |(help, span)| (Some(help), span));
        self.wrong(ExprError { span, message, help: wanted })
    }

    fn compare_texts(
        &mut self,
        comparison: Comparison,
        left: Text,
        right: Text,
        sides: &[Node; 2],
        node: &Node,
    ) -> Typed {
        let (comparison, left, right, right_node) = match (&left, &right) {
            (Text::Constant(_), Text::Field(_)) => (comparison.mirrored(), right, left, &sides[0]),
            _ => (comparison, left, right, &sides[1]),
        };
        if let (Text::Field(field), Text::Constant(value)) = (&left, &right)
            && !self.possible(*field, value, right_node)
        {
            return Typed::Wrong;
        }
        if comparison.orders() {
            if left.field() == Some(Field::Kind) {
                let error = ExprError::new(node.span.clone(), "kinds have no order");
                return self.wrong(error.help("write kind == \"normal\", or kind in [\"normal\", \"blocked\"]"));
            }
            let message = "texts are compared letter by letter, so \"10\" < \"9\"";
            self.lints
                .push(ExprError::new(node.span.clone(), message).help("list the texts with `in`, or use matches()"));
        }
        Test::Texts(comparison, left, right).into()
    }

    /// Whether `field` can have this value at all: a comparison that is never true is a mistake.
    fn possible(&mut self, field: Field, value: &str, node: &Node) -> bool {
        let error = if field == Field::Kind {
            Kind::from_name(value)
                .is_none()
                .then(|| (format!("there is no kind \"{value}\""), help::for_unknown_kind(value)))
        } else if field == Field::Ip {
            not_an_address(value)
        } else {
            None
        };
        let wrong = error.map(|(message, help)| ExprError::new(node.span.clone(), message).help(help));
        let possible = wrong.is_none();
        self.errors.extend(wrong);
        possible
    }

    /// `left in [...]`
    pub(super) fn member(&mut self, sides: &[Node; 2]) -> Typed {
        let [left_node, list_node] = sides;
        let left = self.typed(left_node);
        let NodeKind::List(elements) = &list_node.kind else { return self.no_list(left_node, list_node) };
        if elements.is_empty() {
            return self.wrong(ExprError::new(list_node.span.clone(), "nothing is in an empty list"));
        }
        if let Typed::Condition(_) | Typed::Network(_) = left {
            let message = format!("`{}` is {} and is in no list", short(self.text(left_node)), left.noun());
            return self.wrong(ExprError::new(left_node.span.clone(), message));
        }
        let before = self.errors.len();
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for element in elements {
            let value = self.typed(element);
            match (&left, value) {
                (Typed::Wrong, _) | (_, Typed::Wrong) => {}
                (Typed::Number(_), Typed::Number(Number::Constant(value)))
                | (Typed::Duration(_), Typed::Duration(Number::Constant(value))) => numbers.push(value),
                (Typed::Text(text), Typed::Text(Text::Constant(value))) => {
                    if text.field().is_none_or(|field| self.possible(field, &value, element)) {
                        texts.push(value);
                    }
                }
                (left, value) => self.no_element(left, &value, left_node, element),
            }
        }
        match left {
            _ if self.errors.len() > before => Typed::Wrong,
            Typed::Number(number) | Typed::Duration(number) => {
                numbers.sort_unstable();
                numbers.dedup();
                Test::NumberIn(number, numbers).into()
            }
            Typed::Text(text) => {
                texts.sort_unstable();
                texts.dedup();
                Test::TextIn(text, texts).into()
            }
            Typed::Condition(_) | Typed::Network(_) | Typed::Wrong => Typed::Wrong,
        }
    }

    fn no_element(&mut self, left: &Typed, value: &Typed, left_node: &Node, element: &Node) {
        let (text, list_of) = (short(self.text(element)), short(self.text(left_node)));
        let error = if left.noun() == value.noun() {
            ExprError::new(element.span.clone(), format!("`{text}` is not a constant"))
                .help("compare it with == and join with ||")
        } else {
            let message = format!("`{list_of}` is {}, `{text}` is {}", left.noun(), value.noun());
            ExprError { span: element.span.clone(), message, help: instead(left, value) }
        };
        self.errors.push(error);
    }

    /// `in` with something else than a list at its right.
    fn no_list(&mut self, left: &Node, right: &Node) -> Typed {
        let (left_text, right_text) = (self.text(left), self.text(right));
        let help = match (&right.kind, self.typed(right)) {
            (_, Typed::Wrong) => return Typed::Wrong,
            (_, Typed::Network(_)) => format!("write {right_text}.containsIP({left_text})"),
            (NodeKind::Text(text), _) if text.parse::<IpNet>().is_ok() => {
                format!("write cidr({right_text}).containsIP({left_text})")
            }
            (NodeKind::Name(_), Typed::Text(_)) => format!("write {right_text}.contains({left_text})"),
            _ => format!("write {left_text} in [{right_text}]"),
        };
        self.wrong(ExprError::new(right.span.clone(), "`in` needs a list at its right").help(help))
    }
}

/// Why no session can have this `ip`, and what to write instead.
fn not_an_address(value: &str) -> Option<(String, String)> {
    match value.parse::<IpAddr>() {
        Ok(ip) if ip.to_string() == value => None,
        Ok(ip) => Some((format!("\"{value}\" is not how the address is listed"), format!("write \"{ip}\""))),
        Err(_) => {
            let network = value.parse::<IpNet>().map_or("10.0.0.0/8".to_owned(), |network| network.to_string());
            let help = format!("write an address, or cidr(\"{network}\").containsIP(ip)");
            Some((format!("\"{value}\" is no address"), help))
        }
    }
}

/// What to write for `replace`, a constant of the wrong type, beside `keep`.
fn instead(keep: &Typed, replace: &Typed) -> Option<String> {
    match (keep, replace) {
        (Typed::Duration(_), Typed::Number(Number::Constant(seconds))) => {
            Some(format!("write duration(\"{seconds}s\")"))
        }
        (Typed::Duration(_), Typed::Text(Text::Constant(text))) => {
            Some(format!("write duration(\"{}\")", if parse_duration(text).is_ok() { text } else { "30m" }))
        }
        (Typed::Number(_), Typed::Text(Text::Constant(text))) => Some(match text.parse::<i64>() {
            Ok(number) => format!("write {number}, without quotes"),
            Err(_) => "write a number, as in 64 * 1024 * 1024".to_owned(),
        }),
        (Typed::Number(_), Typed::Duration(Number::Constant(_))) => Some("write a number".to_owned()),
        (Typed::Text(_), Typed::Number(Number::Constant(number))) => Some(format!("write \"{number}\"")),
        (Typed::Text(Text::Field(Field::Ip)), Typed::Network(_)) => {
            Some("write cidr(\"10.0.0.0/8\").containsIP(ip)".to_owned())
        }
        _ => None,
    }
}
