//! The functions that expressions may call.

use std::ops::Range;

use ipnet::IpNet;
use regex::RegexBuilder;

use super::ExprError;
use super::ast::{Number, Pattern, Search, Test, Text};
use super::check::{Checker, Typed, short};
use super::help::closest;
use super::parse::{Node, NodeKind};
use crate::policy::field::Field;
use crate::policy::time::{millis, parse_duration};

/// Every function, with how it is written.
const FUNCTIONS: [(&str, &str); 9] = [
    ("duration", "duration(\"30m\")"),
    ("has", "has(name)"),
    ("cidr", "cidr(\"10.0.0.0/8\").containsIP(ip)"),
    ("containsIP", "cidr(\"10.0.0.0/8\").containsIP(ip)"),
    ("size", "size(name)"),
    ("startsWith", "name.startsWith(\"worker-\")"),
    ("endsWith", "name.endsWith(\"-worker\")"),
    ("contains", "name.contains(\"worker\")"),
    ("matches", "name.matches(\"^worker-[0-9]+$\")"),
];

/// What CEL expands into loops.
const MACROS: [&str; 5] = ["all", "exists", "exists_one", "filter", "map"];

/// The most memory that one regular expression may take, compiled.
const MAX_PATTERN: usize = 1 << 20;

impl Checker<'_> {
    pub(super) fn call(
        &mut self,
        node: &Node,
        name: &str,
        name_span: &Range<usize>,
        target: Option<&Node>,
        args: &[Node],
    ) -> Typed {
        match (name, target, args) {
            ("duration", None, [arg]) => self.duration(arg),
            ("cidr", None, [arg]) => self.cidr(arg),
            ("has", None, [arg]) => self.has(arg),
            ("size", None, [arg]) | ("size", Some(arg), []) => match self.text_operand(name, arg) {
                Some(text) => Typed::Number(Number::Size(text)),
                None => Typed::Wrong,
            },
            ("startsWith", Some(target), [arg]) => self.search(Search::StartsWith, name, target, arg),
            ("endsWith", Some(target), [arg]) => self.search(Search::EndsWith, name, target, arg),
            ("contains", Some(target), [arg]) => self.search(Search::Contains, name, target, arg),
            ("matches", Some(target), [arg]) => self.matches(target, arg, node),
            ("containsIP", Some(target), [arg]) => self.contains_ip(target, arg),
            _ => self.no_call(node, name, name_span, target, args),
        }
    }

    /// A function that does not exist, or not like this.
    fn no_call(
        &mut self,
        node: &Node,
        name: &str,
        name_span: &Range<usize>,
        target: Option<&Node>,
        args: &[Node],
    ) -> Typed {
        if MACROS.contains(&name) {
            // What stands inside has names of its own, about which there is nothing to say.
            let error = ExprError::new(name_span.clone(), format!("`{name}` is not supported: sessions have no lists"));
            return self.wrong(error.help("join conditions with && and ||"));
        }
        if name != "has" {
            target.into_iter().chain(args).for_each(|part| drop(self.typed(part)));
        }
        let Some((_, usage)) = FUNCTIONS.iter().find(|(known, _)| *known == name) else {
            let names: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
            let close = closest(name, names.iter().copied()).map(|close| format!("did you mean `{close}`? "));
            let help = format!("{}The functions are {}", close.unwrap_or_default(), names.join(", "));
            return self.wrong(ExprError::new(name_span.clone(), format!("unknown function `{name}`")).help(help));
        };
        let help = match (name, target, args) {
            ("startsWith" | "endsWith" | "contains" | "matches" | "containsIP", None, [on, arg]) => {
                format!("write {}.{name}({})", self.text(on), self.text(arg))
            }
            ("duration" | "cidr" | "has", Some(target), []) => format!("write {name}({})", self.text(target)),
            _ => format!("write {usage}"),
        };
        self.wrong(ExprError::new(node.span.clone(), format!("`{name}` is not called like this")).help(help))
    }

    fn duration(&mut self, arg: &Node) -> Typed {
        let NodeKind::Text(text) = &arg.kind else {
            let example = if let NodeKind::Int(seconds) = &arg.kind { format!("{seconds}s") } else { "30m".to_owned() };
            let error = ExprError::new(arg.span.clone(), "duration() takes a text in quotes");
            return self.wrong(error.help(format!("write duration(\"{example}\")")));
        };
        match parse_duration(text) {
            Ok(duration) => Typed::Duration(Number::Constant(millis(duration))),
            Err(_) if text.strip_prefix('-').is_some_and(|text| parse_duration(text).is_ok()) => {
                let error = ExprError::new(arg.span.clone(), format!("the duration \"{text}\" is negative"));
                self.wrong(error.help("subtract a duration instead, as in age - duration(\"5m\")"))
            }
            Err(error) => self.wrong(ExprError::new(arg.span.clone(), error.to_string())),
        }
    }

    fn cidr(&mut self, arg: &Node) -> Typed {
        let help = "write cidr(\"10.0.0.0/8\") or cidr(\"fd00::/8\")";
        let NodeKind::Text(text) = &arg.kind else {
            return self.wrong(ExprError::new(arg.span.clone(), "cidr() takes a text in quotes").help(help));
        };
        match text.parse::<IpNet>() {
            Ok(network) => Typed::Network(network.trunc()),
            Err(_) => {
                let help = match text.parse::<std::net::IpAddr>() {
                    Ok(ip) => format!("write cidr(\"{}\")", IpNet::from(ip)),
                    Err(_) => help.to_owned(),
                };
                let message = format!("\"{text}\" is no network: it needs an address and a prefix length");
                self.wrong(ExprError::new(arg.span.clone(), message).help(help))
            }
        }
    }

    fn has(&mut self, arg: &Node) -> Typed {
        if let NodeKind::Name(name) = &arg.kind
            && let Some(field) = Field::from_name(name)
        {
            return Test::Has(field).into();
        }
        if matches!(arg.kind, NodeKind::Name(_) | NodeKind::Select(_)) {
            return self.typed(arg);
        }
        let error = ExprError::new(arg.span.clone(), "has() takes the name of a field");
        self.wrong(error.help("write has(name)"))
    }

    /// An operand that must be a text.
    fn text_operand(&mut self, function: &str, node: &Node) -> Option<Text> {
        let found = self.typed(node);
        let noun = found.noun();
        match found {
            Typed::Text(text) => return Some(text),
            Typed::Wrong => return None,
            Typed::Condition(_) | Typed::Number(_) | Typed::Duration(_) | Typed::Network(_) => {}
        }
        let message = format!("{function}() needs a text; `{}` is {noun}", short(self.text(node)));
        let error = ExprError::new(node.span.clone(), message);
        self.errors.push(if let NodeKind::Int(number) = &node.kind {
            error.help(format!("write \"{number}\""))
        } else {
            error.help("the texts are name, user, addr, ip, cmd, flags and so on")
        });
        None
    }

    fn search(&mut self, search: Search, function: &str, target: &Node, arg: &Node) -> Typed {
        let (target, arg) = (self.text_operand(function, target), self.text_operand(function, arg));
        match (target, arg) {
            (Some(target), Some(arg)) => Test::Search(search, target, arg).into(),
            _ => Typed::Wrong,
        }
    }

    fn matches(&mut self, target: &Node, arg: &Node, node: &Node) -> Typed {
        let target = self.text_operand("matches", target);
        let NodeKind::Text(pattern) = &arg.kind else {
            let error = ExprError::new(arg.span.clone(), "matches() takes a regular expression in quotes");
            return self.wrong(error.help("write name.matches(\"^worker-[0-9]+$\")"));
        };
        let regex = match RegexBuilder::new(pattern).size_limit(MAX_PATTERN).build() {
            Ok(regex) => regex,
            Err(error) => {
                // The error draws the place over several lines; the last one says what it is.
                let error = error.to_string();
                let last = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                return self.wrong(ExprError::new(arg.span.clone(), format!("this is no regular expression: {last}")));
            }
        };
        if !pattern.starts_with('^')
            && !pattern.starts_with("\\A")
            && !pattern.ends_with('$')
            && !pattern.ends_with("\\z")
        {
            let lint = ExprError::new(node.span.clone(), "matches() without ^ and $ finds the pattern anywhere");
            self.lints.push(lint.help("anchor it, as in \"^worker-[0-9]+$\", or use contains()"));
        }
        target.map_or(Typed::Wrong, |target| Test::Matches(target, Pattern(regex)).into())
    }

    fn contains_ip(&mut self, target: &Node, arg: &Node) -> Typed {
        let network = match self.typed(target) {
            Typed::Network(network) => Some(network),
            Typed::Wrong => None,
            Typed::Condition(_) | Typed::Number(_) | Typed::Duration(_) | Typed::Text(_) => {
                let error = ExprError::new(target.span.clone(), "containsIP() is asked of a network");
                self.errors.push(error.help("write cidr(\"10.0.0.0/8\").containsIP(ip)"));
                None
            }
        };
        match (self.typed(arg), network) {
            (Typed::Text(Text::Field(Field::Ip)), Some(network)) => Test::InNetwork(network).into(),
            (Typed::Text(Text::Field(Field::Ip)), None) | (Typed::Wrong, _) => Typed::Wrong,
            _ => {
                let message = format!("containsIP() takes the field ip, not `{}`", short(self.text(arg)));
                self.wrong(ExprError::new(arg.span.clone(), message).help("write containsIP(ip)"))
            }
        }
    }
}
