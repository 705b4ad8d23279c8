//! From the `cel` parser's tree to a syntax tree of ours in which every node knows its whole text.

use std::ops::Range;

use cel::common::ast::{CallExpr, Expr as Cel, IdedExpr, LiteralValue, SourceInfo, operators};
use cel::{Env, ParseErrors};

use super::ExprError;
use super::ast::{Comparison, Math};
use super::lex::{Token, lex};

/// A piece of an expression that is not checked yet.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Where, in bytes of the source; brackets around it are not part of it.
    pub(super) span: Range<usize>,
    /// What.
    pub(super) kind: NodeKind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(super) enum NodeKind {
    /// A name: of a field, if all is well.
    Name(String),
    /// An integer.
    Int(i64),
    /// A text.
    Text(String),
    /// `true` or `false`.
    Bool(bool),
    /// A list.
    List(Vec<Node>),
    /// `!` before a node.
    Not(Box<Node>),
    /// `-` before a node.
    Negate(Box<Node>),
    /// An operator between two nodes.
    Binary(Operator, Box<[Node; 2]>),
    /// A function of arguments, called on a target or not.
    Call {
        /// Its name.
        name: String,
        /// Where the name is.
        name_span: Range<usize>,
        /// What it is called on.
        target: Option<Box<Node>>,
        /// Its arguments.
        args: Vec<Node>,
    },
    /// `.name` after a node.
    Select(Box<Node>),
    /// What CEL has and rules do not.
    Unsupported(Unsupported, Vec<Node>),
}

/// An operator between two nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    /// `&&`
    And,
    /// `||`
    Or,
    /// A comparison.
    Compare(Comparison),
    /// `in`
    In,
    /// `+`, `-`, `*`
    Math(Math),
    /// `/`
    Divide,
    /// `%`
    Remainder,
}

/// What CEL has and rules do not.
#[derive(Clone, Debug)]
pub(super) enum Unsupported {
    /// `5u`
    Uint(u64),
    /// `0.5`
    Double,
    /// `null`
    Null,
    /// `b"x"`
    Bytes,
    /// `{...}`, with a type name or without
    Map,
    /// `a[b]`
    Index,
    /// `a ? b : c`
    Conditional,
    /// Anything that cannot come without macros and optional syntax.
    Other,
}

/// The stack of the parser, which recurses through many large functions: measured at up to 180 KB for one pair of
/// brackets in a debug build, so that a dozen of them overflow the 2 MB of a worker thread. The lexer caps the depth at
/// 48. Only what is touched is ever allocated.
const STACK: usize = 16 << 20;

/// Parses `source`, on a stack that is large enough whoever calls.
pub(super) fn parse(source: &str) -> Result<Node, Vec<ExprError>> {
    let tokens = lex(source)?;
    let parsed = std::thread::scope(|scope| {
        let parser = std::thread::Builder::new().name("expression".to_owned()).stack_size(STACK);
        parser.spawn_scoped(scope, || parse_tokens(source, &tokens)).ok()?.join().ok()
    });
    parsed.unwrap_or_else(|| Err(vec![ExprError::new(0..source.len(), "the parser could not run")]))
}

fn parse_tokens(source: &str, tokens: &[Token]) -> Result<Node, Vec<ExprError>> {
    let parser = Env::default().with_optional_support(false).parser();
    match parser.parse_with_source_info(source) {
        Ok((root, info)) => Ok(Convert { source, tokens, info: &info }.node(&root)),
        Err(errors) => Err(in_words(source, tokens, &errors)),
    }
}

struct Convert<'a> {
    source: &'a str,
    tokens: &'a [Token],
    info: &'a SourceInfo,
}

impl Convert<'_> {
    /// Recurses as deep as the tree, which the lexer has capped.
    fn node(&self, from: &IdedExpr) -> Node {
        let at = self.token(from.id);
        let own = self.tokens[at].span.clone();
        let (span, kind) = match &from.expr {
            Cel::Ident(name) => (own, NodeKind::Name(name.clone())),
            Cel::Literal(literal) => (self.literal_span(literal, at), literal_kind(literal)),
            Cel::List(list) => (self.brackets(at), NodeKind::List(self.nodes(&list.elements))),
            Cel::Select(select) => {
                let operand = self.node(&select.operand);
                let end = self.tokens.get(at + 1).map_or(own.end, |field| field.span.end);
                (operand.span.start..end, NodeKind::Select(Box::new(operand)))
            }
            Cel::Call(call) => return self.call(call, at),
            Cel::Map(_) => (self.brackets(at), NodeKind::Unsupported(Unsupported::Map, Vec::new())),
            Cel::Struct(_) => {
                let start = self.tokens[at.saturating_sub(1)].span.start;
                (start..self.brackets(at).end, NodeKind::Unsupported(Unsupported::Map, Vec::new()))
            }
            Cel::Comprehension(_) | Cel::Unspecified => (own, NodeKind::Unsupported(Unsupported::Other, Vec::new())),
        };
        Node { span: self.balanced(span), kind }
    }

    fn nodes(&self, from: &[IdedExpr]) -> Vec<Node> {
        from.iter().map(|node| self.node(node)).collect()
    }

    fn call(&self, call: &CallExpr, at: usize) -> Node {
        let own = self.tokens[at].span.clone();
        let mut args = self.nodes(&call.args);
        if let Some(operator) = operator(&call.func_name)
            && let Ok(sides) = <[Node; 2]>::try_from(std::mem::take(&mut args))
        {
            let span = self.balanced(sides[0].span.start..sides[1].span.end);
            return Node { span, kind: NodeKind::Binary(operator, Box::new(sides)) };
        }
        let first = args.first().map_or(own.clone(), |arg| arg.span.clone());
        let last = args.last().map_or(own.clone(), |arg| arg.span.clone());
        let prefixed = |arg: Node| (own.start..arg.span.end, Box::new(arg));
        let (span, kind) = match (&*call.func_name, args.len()) {
            (operators::LOGICAL_NOT, 1) => {
                let (span, arg) = prefixed(args.remove(0));
                (span, NodeKind::Not(arg))
            }
            (operators::NEGATE, 1) => {
                let (span, arg) = prefixed(args.remove(0));
                (span, NodeKind::Negate(arg))
            }
            (operators::CONDITIONAL, _) => {
                (first.start..last.end, NodeKind::Unsupported(Unsupported::Conditional, args))
            }
            (operators::INDEX, _) => {
                let span = first.start..self.brackets(at).end;
                (span, NodeKind::Unsupported(Unsupported::Index, args))
            }
            _ => {
                let name_span = self.tokens[at.saturating_sub(1)].span.clone();
                let target = call.target.as_ref().map(|target| Box::new(self.node(target)));
                let start = target.as_ref().map_or(name_span.start, |target| target.span.start);
                let span = start..self.brackets(at).end;
                (span, NodeKind::Call { name: call.func_name.clone(), name_span, target, args })
            }
        };
        Node { span: self.balanced(span), kind }
    }

    /// The index of the token that the parser noted for a node.
    fn token(&self, id: u64) -> usize {
        let start = self.info.offset_for(id).map_or(0, |(start, _)| start as usize);
        self.tokens.partition_point(|token| token.span.end <= start).min(self.tokens.len() - 1)
    }

    /// From the bracket at token `at` to the one that closes it.
    fn brackets(&self, at: usize) -> Range<usize> {
        self.tokens[at].span.start..self.tokens[self.tokens[at].mate].span.end
    }

    /// The parser notes a negative number without its sign.
    fn literal_span(&self, literal: &LiteralValue, at: usize) -> Range<usize> {
        let own = self.tokens[at].span.clone();
        let before = at.checked_sub(1).map(|before| self.tokens[before].span.clone());
        let signed = matches!(literal, LiteralValue::Int(value) if *value.inner() < 0)
            || matches!(literal, LiteralValue::Double(value) if *value.inner() < 0.0);
        match before.filter(|before| signed && &self.source[before.clone()] == "-") {
            Some(sign) => sign.start..own.end,
            None => own,
        }
    }

    /// `span`, grown until it holds both or none of every pair of brackets.
    fn balanced(&self, mut span: Range<usize>) -> Range<usize> {
        let first = self.tokens.partition_point(|token| token.span.end <= span.start);
        for token in &self.tokens[first..] {
            if token.span.start >= span.end {
                break;
            }
            let mate = &self.tokens[token.mate].span;
            span = span.start.min(mate.start)..span.end.max(mate.end);
        }
        span
    }
}

fn literal_kind(literal: &LiteralValue) -> NodeKind {
    let unsupported = |what| NodeKind::Unsupported(what, Vec::new());
    match literal {
        LiteralValue::Boolean(value) => NodeKind::Bool(*value.inner()),
        LiteralValue::Int(value) => NodeKind::Int(*value.inner()),
        LiteralValue::String(value) => NodeKind::Text(value.inner().to_owned()),
        LiteralValue::UInt(value) => unsupported(Unsupported::Uint(*value.inner())),
        LiteralValue::Double(_) => unsupported(Unsupported::Double),
        LiteralValue::Bytes(_) => unsupported(Unsupported::Bytes),
        LiteralValue::Null => unsupported(Unsupported::Null),
    }
}

fn operator(name: &str) -> Option<Operator> {
    Some(match name {
        operators::LOGICAL_AND => Operator::And,
        operators::LOGICAL_OR => Operator::Or,
        operators::EQUALS => Operator::Compare(Comparison::Equal),
        operators::NOT_EQUALS => Operator::Compare(Comparison::NotEqual),
        operators::LESS => Operator::Compare(Comparison::Less),
        operators::LESS_EQUALS => Operator::Compare(Comparison::LessOrEqual),
        operators::GREATER => Operator::Compare(Comparison::Greater),
        operators::GREATER_EQUALS => Operator::Compare(Comparison::GreaterOrEqual),
        operators::IN => Operator::In,
        operators::ADD => Operator::Math(Math::Add),
        operators::SUBSTRACT => Operator::Math(Math::Subtract),
        operators::MULTIPLY => Operator::Math(Math::Multiply),
        operators::DIVIDE => Operator::Divide,
        operators::MODULO => Operator::Remainder,
        _ => return None,
    })
}

/// The parser's errors as sentences with places.
fn in_words(source: &str, tokens: &[Token], errors: &ParseErrors) -> Vec<ExprError> {
    let mut words: Vec<ExprError> = Vec::new();
    for error in &errors.errors {
        let at = offset(source, error.pos);
        let token = tokens.partition_point(|token| token.span.end <= at);
        let word = sentence(source, tokens, token, &error.msg);
        words.extend(word.filter(|word| words.iter().all(|other| other.span != word.span)));
    }
    if words.is_empty() {
        words.push(ExprError::new(0..source.len(), "this is not an expression"));
    }
    words
}

/// The byte that the parser means by a line and a column in characters, both from 1.
fn offset(source: &str, (line, column): (isize, isize)) -> usize {
    let (line, column) = (usize::try_from(line).unwrap_or(0), usize::try_from(column).unwrap_or(0));
    let before: usize = source.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    let within = source[before..].char_indices().nth(column.saturating_sub(1));
    within.map_or(source.len(), |(within, _)| before + within)
}

/// One error of the parser about the token with this index; none for what only follows from another error.
fn sentence(source: &str, tokens: &[Token], token: usize, message: &str) -> Option<ExprError> {
    let text = |token: &Token| &source[token.span.clone()];
    let last = tokens.last()?;
    let Some(found) = tokens.get(token) else {
        return Some(ExprError::new(last.span.clone(), format!("something is missing after `{}`", text(last))));
    };
    let (span, word) = (found.span.clone(), text(found));
    let error = |message: String| Some(ExprError::new(span.clone(), message));
    if message.starts_with("Syntax error") {
        let before = token.checked_sub(1).and_then(|before| tokens.get(before));
        return match before.filter(|before| text(before) == "not") {
            Some(not) => Some(ExprError::new(not.span.clone(), "unexpected `not`").help("write !")),
            None => Some(unexpected(span, word)),
        };
    }
    if message.starts_with("invalid int") || message.starts_with("invalid uint") {
        let largest = format!("the largest number is {}", i64::MAX);
        return error(format!("`{word}` is too large")).map(|error| error.help(largest));
    }
    if message.starts_with("invalid string") || message.starts_with("invalid bytes") {
        return error(format!("{word} has an escape that stands for no character"));
    }
    if message.starts_with("reserved identifier") {
        return error(format!("`{word}` is a reserved word"));
    }
    if message.starts_with("invalid double") || message.starts_with("unsupported syntax") {
        return error(format!("`{word}` is not supported"));
    }
    None
}

fn unexpected(span: Range<usize>, word: &str) -> ExprError {
    let error = ExprError::new(span, format!("unexpected `{word}`"));
    match &*word.to_ascii_lowercase() {
        "and" => error.help("write &&"),
        "or" => error.help("write ||"),
        "not" => error.help("write !"),
        "is" => error.help("write =="),
        "like" => error.help("write name.startsWith(\"worker-\"), or endsWith, contains, matches"),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(source: &str) -> Vec<(String, String)> {
        let errors = parse(source).err().unwrap_or_default();
        errors.into_iter().map(|error| (source[error.span].to_owned(), error.message)).collect()
    }

    /// The whole text of every node, outermost first.
    fn texts<'a>(source: &'a str, node: &Node, found: &mut Vec<&'a str>) {
        found.push(&source[node.span.clone()]);
        match &node.kind {
            NodeKind::Name(_) | NodeKind::Int(_) | NodeKind::Text(_) | NodeKind::Bool(_) => {}
            NodeKind::List(nodes) | NodeKind::Unsupported(_, nodes) => {
                nodes.iter().for_each(|node| texts(source, node, found));
            }
            NodeKind::Not(inner) | NodeKind::Negate(inner) | NodeKind::Select(inner) => texts(source, inner, found),
            NodeKind::Binary(_, sides) => sides.iter().for_each(|side| texts(source, side, found)),
            NodeKind::Call { target, args, .. } => {
                target.iter().for_each(|target| texts(source, target, found));
                args.iter().for_each(|arg| texts(source, arg, found));
            }
        }
    }

    #[test]
    fn nodes_know_their_whole_text() {
        for (source, expected) in [
            ("(a || b) && !(c)", vec!["(a || b) && !(c)", "a || b", "a", "b", "!(c)", "c"]),
            (
                "cidr('10.0.0.0/8').containsIP( ip )",
                vec!["cidr('10.0.0.0/8').containsIP( ip )", "cidr('10.0.0.0/8')", "'10.0.0.0/8'", "ip"],
            ),
            (
                "name == '\u{e9}\u{20ac}' && x > -5",
                vec![
                    "name == '\u{e9}\u{20ac}' && x > -5",
                    "name == '\u{e9}\u{20ac}'",
                    "name",
                    "'\u{e9}\u{20ac}'",
                    "x > -5",
                    "x",
                    "-5",
                ],
            ),
            ("x in [1, (2)]", vec!["x in [1, (2)]", "x", "[1, (2)]", "1", "2"]),
            ("(a.b)[0]", vec!["(a.b)[0]", "a.b", "a", "0"]),
            ("(a).f((b), c)", vec!["(a).f((b), c)", "a", "b", "c"]),
            ("a ? (b) : c", vec!["a ? (b) : c", "a", "b", "c"]),
            (
                "x == T{a: 1} || {1: 2} == y",
                vec!["x == T{a: 1} || {1: 2} == y", "x == T{a: 1}", "x", "T{a: 1}", "{1: 2} == y", "{1: 2}", "y"],
            ),
        ] {
            let mut found = Vec::new();
            texts(source, &parse(source).unwrap(), &mut found);
            assert_eq!(found, expected, "{source}");
        }
    }

    #[test]
    fn syntax_errors_are_sentences() {
        for (source, expected) in [
            ("db == ", vec![("==", "something is missing after `==`")]),
            ("db == 1 db", vec![("db", "unexpected `db`")]),
            ("db == 1 and db == 2", vec![("and", "unexpected `and`")]),
            ("not db", vec![("not", "unexpected `not`")]),
            ("db && && db == || idle", vec![("&&", "unexpected `&&`"), ("||", "unexpected `||`")]),
            ("x == '\u{e9}' db", vec![("db", "unexpected `db`")]),
            (
                "x == 1 &&\n  y == 99999999999999999999",
                vec![("99999999999999999999", "`99999999999999999999` is too large")],
            ),
            ("for == 1", vec![("for", "`for` is a reserved word")]),
            ("db in [?1]", vec![("?", "`?` is not supported")]),
            ("x == \"\\ud800\"", vec![("\"\\ud800\"", "\"\\ud800\" has an escape that stands for no character")]),
            ("()", vec![(")", "unexpected `)`")]),
            ("a ? b", vec![("b", "something is missing after `b`")]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|(at, text)| (at.to_owned(), text.to_owned())).collect();
            let mut found = mistakes(source);
            found.retain(|(_, text)| text != "this is not an expression");
            assert_eq!(found, expected, "{source}");
        }
    }

    #[test]
    fn the_deepest_tree_fits_a_small_stack() {
        for (open, close, times) in
            [("(db + ", ")", 24), ("(", ")", 48), ("f(", ")", 48), ("[", "]", 48), ("!(", ")", 24)]
        {
            let deep = format!("{}db{}", open.repeat(times), close.repeat(times));
            assert!(parse(&deep).is_ok(), "{deep}");
        }
    }
}
