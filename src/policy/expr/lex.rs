//! Tokens of an expression: what is wrong with single characters, brackets, texts and numbers, and where everything is.
//!
//! The `cel` parser decides what an expression means. It reports the place of a node as one token, and its messages
//! are written for its authors, so this pass goes first: it refuses what no parser could take, in words for people,
//! keeps nesting within what a recursive parser can stand, and lets later passes find the whole text of a node.

use std::ops::Range;

use super::ExprError;
use crate::policy::time::parse_duration;

/// The longest expression, in bytes.
const MAX_LENGTH: usize = 4096;
/// How deep a syntax tree may get.
const MAX_DEPTH: usize = 48;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A name or a keyword.
    Name,
    /// A number of any type.
    Number,
    /// A text or bytes literal, with its quotes.
    Text,
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close,
    /// Everything else.
    Operator,
}

/// One token.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// What it is.
    pub(super) kind: TokenKind,
    /// Where, in bytes of the source.
    pub(super) span: Range<usize>,
    /// The index of the bracket that closes or opens this one; its own index for other tokens.
    pub(super) mate: usize,
}

/// Splits `source` into tokens, comments left out. There is at least one, and brackets are balanced.
pub(super) fn lex(source: &str) -> Result<Vec<Token>, Vec<ExprError>> {
    if source.len() > MAX_LENGTH {
        let error = ExprError::new(0..source.len(), format!("the expression is longer than {MAX_LENGTH} bytes"));
        return Err(vec![error.help("split the rule into several")]);
    }
    let mut lexer = Lexer { source, at: 0, tokens: Vec::new(), open: Vec::new(), errors: Vec::new() };
    lexer.run();
    let Lexer { tokens, open, mut errors, .. } = lexer;
    for index in open {
        let span = tokens[index].span.clone();
        errors.push(ExprError::new(span.clone(), format!("this `{}` is never closed", &source[span])));
    }
    if errors.is_empty() {
        errors.extend(too_deep(source, &tokens));
    }
    if errors.is_empty() && tokens.is_empty() {
        let error = ExprError::new(0..source.len(), "the expression is empty");
        errors.push(error.help("write a condition, as in kind == \"normal\" && idle > duration(\"30m\")"));
    }
    if errors.is_empty() { Ok(tokens) } else { Err(errors) }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
    tokens: Vec<Token>,
    /// Brackets that are not closed yet, as indexes of tokens.
    open: Vec<usize>,
    errors: Vec<ExprError>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.source.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    /// How many bytes from here on satisfy `test`, starting `ahead`.
    fn run_of(&self, ahead: usize, test: impl Fn(u8) -> bool) -> usize {
        self.source.as_bytes()[self.at + ahead..].iter().take_while(|byte| test(**byte)).count()
    }

    fn push(&mut self, kind: TokenKind, length: usize) {
        let mate = self.tokens.len();
        self.tokens.push(Token { kind, span: self.at..self.at + length, mate });
        self.at += length;
    }

    fn run(&mut self) {
        while self.at < self.source.len() {
            match self.byte(0) {
                b' ' | b'\t' | b'\r' | b'\n' | 0x0c => self.at += 1,
                b'/' if self.byte(1) == b'/' => self.at += self.run_of(0, |byte| byte != b'\n'),
                b'0'..=b'9' => self.number(),
                b'.' if self.byte(1).is_ascii_digit() => self.number(),
                b'"' | b'\'' => self.text(0),
                byte if byte.is_ascii_alphabetic() || byte == b'_' => match self.text_prefix() {
                    Some(prefix) => self.text(prefix),
                    None => self.push(TokenKind::Name, self.run_of(0, is_word)),
                },
                b'(' | b'[' | b'{' => {
                    self.open.push(self.tokens.len());
                    self.push(TokenKind::Open, 1);
                }
                b')' | b']' | b'}' => self.close(),
                _ => self.operator(),
            }
        }
    }

    /// The length of `r`, `b`, `br` before a quote.
    fn text_prefix(&self) -> Option<usize> {
        let length = self.run_of(0, |byte| byte.is_ascii_alphabetic());
        let prefix = self.rest()[..length].to_ascii_lowercase();
        (matches!(&*prefix, "r" | "b" | "br") && matches!(self.byte(length), b'"' | b'\'')).then_some(length)
    }

    fn close(&mut self) {
        let close = self.byte(0);
        let index = self.tokens.len();
        self.push(TokenKind::Close, 1);
        let span = self.tokens[index].span.clone();
        let opener = match close {
            b')' => b'(',
            b']' => b'[',
            _ => b'{',
        };
        let Some(open) = self.open.pop() else {
            self.errors.push(ExprError::new(span, format!("this `{}` closes nothing", close as char)));
            return;
        };
        let found = self.source.as_bytes()[self.tokens[open].span.start];
        if found != opener {
            let message = format!("this `{}` cannot close the `{}` before it", close as char, found as char);
            self.errors.push(ExprError::new(span, message));
        }
        self.tokens[open].mate = index;
        self.tokens[index].mate = open;
    }

    /// A number: digits, `0x` digits, a fraction, an exponent, `u`. What is not an integer is refused by the checker,
    /// which knows what to offer instead; here only what is no number at all.
    fn number(&mut self) {
        let digit = |byte: u8| byte.is_ascii_digit();
        let mut length = if self.byte(0) == b'0' && self.byte(1) == b'x' && self.byte(2).is_ascii_hexdigit() {
            2 + self.run_of(2, |byte| byte.is_ascii_hexdigit())
        } else {
            let mut length = self.run_of(0, digit);
            if self.byte(length) == b'.' && digit(self.byte(length + 1)) {
                length += 1 + self.run_of(length + 1, digit);
            }
            let sign = usize::from(matches!(self.byte(length + 1), b'+' | b'-'));
            if matches!(self.byte(length), b'e' | b'E') && digit(self.byte(length + 1 + sign)) {
                length += 1 + sign + self.run_of(length + 1 + sign, digit);
            }
            length
        };
        length += usize::from(matches!(self.byte(length), b'u' | b'U'));
        let tail = self.run_of(length, is_word);
        if tail > 0 {
            let word = self.rest()[..length + tail].to_owned();
            let error = ExprError::new(self.at..self.at + word.len(), format!("`{word}` is no number"));
            self.errors.push(error.help(number_help(&word)));
        }
        self.push(TokenKind::Number, length + tail);
    }

    /// A text literal whose quotes start `prefix` bytes from here.
    fn text(&mut self, prefix: usize) {
        let raw = self.rest()[..prefix].contains(['r', 'R']);
        let quote = &self.rest()[prefix..=prefix];
        let triple = quote.repeat(3);
        let body = &self.rest()[prefix..];
        let quotes = if body.starts_with(&triple) && body[3..].contains(&triple) { triple } else { quote.to_owned() };
        let start = self.at;
        let mut at = self.at + prefix + quotes.len();
        while let Some(next) = self.source[at..].chars().next() {
            if self.source[at..].starts_with(&quotes) {
                self.push(TokenKind::Text, at + quotes.len() - start);
                return;
            }
            if quotes.len() == 1 && matches!(next, '\n' | '\r') {
                break;
            }
            at += if next == '\\' && !raw { self.escape(at) } else { next.len_utf8() };
        }
        let error = ExprError::new(start..at, "this text is never closed");
        self.errors.push(error.help(format!("end it with {quotes}")));
        self.at = at;
    }

    /// Checks the escape at `at`, and answers its length.
    fn escape(&mut self, at: usize) -> usize {
        let bytes = &self.source.as_bytes()[at + 1..];
        let hex = |count: usize| bytes.get(1..=count).is_some_and(|all| all.iter().all(u8::is_ascii_hexdigit));
        let octal = |index: usize| bytes.get(index).is_some_and(|byte| matches!(byte, b'0'..=b'7'));
        let length = match bytes.first() {
            Some(b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`') => Some(2),
            Some(b'x' | b'X') if hex(2) => Some(4),
            Some(b'u') if hex(4) => Some(6),
            Some(b'U') if hex(8) => Some(10),
            Some(b'0'..=b'3') if octal(1) && octal(2) => Some(4),
            _ => None,
        };
        length.unwrap_or_else(|| {
            let next = self.source[at + 1..].chars().next().filter(|next| !matches!(next, '\n' | '\r'));
            let end = at + 1 + next.map_or(0, char::len_utf8);
            let written = &self.source[at..end];
            let help = format!("write \\{written}, or put an r before the quotes, as in r\"{written}\"");
            self.errors.push(ExprError::new(at..end, format!("`{written}` is no escape")).help(help));
            end - at
        })
    }

    fn operator(&mut self) {
        if let Some((written, help)) = OPERATORS.iter().find(|(written, _)| self.rest().starts_with(written)) {
            if let Some(help) = help {
                let error = ExprError::new(self.at..self.at + written.len(), format!("`{written}` is not supported"));
                self.errors.push(error.help(*help));
                self.at += written.len();
            } else {
                self.push(TokenKind::Operator, written.len());
            }
            return;
        }
        let next = self.rest().chars().next().unwrap_or(' ');
        let end = self.at + next.len_utf8();
        let message = format!("unexpected character `{}`", next.escape_debug());
        self.errors.push(ExprError::new(self.at..end, message));
        self.at = end;
    }
}

/// What is neither word nor bracket, the longest first; with what to write instead of what other languages have.
const OPERATORS: [(&str, Option<&str>); 31] = [
    ("===", Some("write ==")),
    ("!==", Some("write !=")),
    ("=~", Some("write name.matches(\"^worker-[0-9]+$\")")),
    ("!~", Some("write !name.matches(\"^worker-[0-9]+$\")")),
    ("<>", Some("write !=")),
    ("=>", Some("write >=")),
    ("=<", Some("write <=")),
    ("==", None),
    ("!=", None),
    ("<=", None),
    (">=", None),
    ("&&", None),
    ("||", None),
    ("=", Some("write ==")),
    ("&", Some("write &&")),
    ("|", Some("write ||")),
    ("\u{201c}", Some("write plain quotes: \"")),
    ("\u{201d}", Some("write plain quotes: \"")),
    ("<", None),
    (">", None),
    ("!", None),
    ("+", None),
    ("-", None),
    ("*", None),
    ("/", None),
    ("%", None),
    (".", None),
    (",", None),
    ("?", None),
    (":", None),
    (";", Some("write && between conditions")),
];

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What to write instead of a number with a unit.
fn number_help(word: &str) -> String {
    let word = word.to_ascii_lowercase();
    if parse_duration(&word).is_ok() {
        return format!("write duration(\"{word}\")");
    }
    let digits = word.find(|c: char| !c.is_ascii_digit()).unwrap_or(word.len());
    let (number, unit) = word.split_at(digits);
    let factors = match unit.trim_end_matches('b').trim_end_matches('i') {
        "k" => "1024",
        "m" => "1024 * 1024",
        "g" => "1024 * 1024 * 1024",
        _ => return "write a whole number, or a duration as in duration(\"30m\")".to_owned(),
    };
    format!("write {number} * {factors}")
}

/// Refuses what would make a deep syntax tree, counting generously: every open bracket, and every operator since the
/// last `&&`, `||` or comma of an open bracket. (Chains of `&&` and `||` come as balanced trees.)
fn too_deep(source: &str, tokens: &[Token]) -> Option<ExprError> {
    let mut levels = vec![(0, 0)];
    for token in tokens {
        let text = &source[token.span.clone()];
        let (chain, ternaries) = levels.last_mut()?;
        match (token.kind, text) {
            (TokenKind::Open, _) => {
                *chain += 1;
                levels.push((0, 0));
            }
            (TokenKind::Close, _) => {
                levels.pop();
            }
            (TokenKind::Operator, "&&" | "||") => *chain = 0,
            (TokenKind::Operator, ",") => (*chain, *ternaries) = (0, 0),
            (TokenKind::Operator, "?" | ":") => *ternaries += 1,
            (TokenKind::Operator, _) | (TokenKind::Name, "in") => *chain += 1,
            (TokenKind::Name | TokenKind::Number | TokenKind::Text, _) => {}
        }
        if levels.iter().map(|(chain, ternaries)| chain + ternaries).sum::<usize>() > MAX_DEPTH {
            let message = format!("the expression is nested more than {MAX_DEPTH} levels deep");
            let error = ExprError::new(token.span.clone(), message);
            return Some(error.help("simplify it, or split the rule into several"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(source: &str) -> Vec<(String, String, Option<String>)> {
        let errors = lex(source).err().unwrap_or_default();
        errors.into_iter().map(|error| (source[error.span].to_owned(), error.message, error.help)).collect()
    }

    #[test]
    fn tokens_have_places_and_brackets_have_mates() {
        let source = "size(r'\\d') >= -0x1F // why";
        let tokens = lex(source).unwrap();
        let texts: Vec<&str> = tokens.iter().map(|token| &source[token.span.clone()]).collect();
        assert_eq!(texts, ["size", "(", r"r'\d'", ")", ">=", "-", "0x1F"]);
        assert_eq!((tokens[1].mate, tokens[3].mate), (3, 1));
    }

    #[test]
    fn what_no_parser_could_take_is_refused_in_words() {
        for (source, at, message, help) in [
            ("db = 1", "=", "`=` is not supported", Some("write ==")),
            ("db <> 1", "<>", "`<>` is not supported", Some("write !=")),
            ("db & 1", "&", "`&` is not supported", Some("write &&")),
            ("idle > 30m", "30m", "`30m` is no number", Some("write duration(\"30m\")")),
            ("omem > 64MB", "64MB", "`64MB` is no number", Some("write 64 * 1024 * 1024")),
            ("(db > 1", "(", "this `(` is never closed", None),
            ("db > 1)", ")", "this `)` closes nothing", None),
            ("db in [1)", ")", "this `)` cannot close the `[` before it", None),
            ("name == \"a", "\"a", "this text is never closed", Some("end it with \"")),
            ("name == \"\u{e9}\" \u{e9}", "\u{e9}", "unexpected character `\u{e9}`", None),
            (
                r#"name.matches("^\d+$")"#,
                r"\d",
                r"`\d` is no escape",
                Some(r#"write \\d, or put an r before the quotes, as in r"\d""#),
            ),
        ] {
            let help = help.map(str::to_owned);
            assert_eq!(mistakes(source), [(at.to_owned(), message.to_owned(), help)], "{source}");
        }
    }

    #[test]
    fn every_mistake_is_reported() {
        assert_eq!(mistakes("db = 1 & idle > 5m").len(), 3);
    }

    #[test]
    fn nothing_is_empty() {
        for source in ["", "  \n", "// only a comment"] {
            assert_eq!(mistakes(source)[0].1, "the expression is empty", "{source:?}");
        }
    }

    #[test]
    fn length_and_depth_are_capped() {
        let long = format!("db == 1{}", " || db == 1".repeat(400));
        assert!(mistakes(&long)[0].1.contains("longer than 4096 bytes"));
        for deep in [
            format!("{}db == 1{}", "(".repeat(100), ")".repeat(100)),
            format!("db{} == 1", " + db".repeat(100)),
            format!("db{}", ".db".repeat(100)),
            format!("db{}", "[0]".repeat(100)),
            format!("{}db", "db ? db : ".repeat(100)),
        ] {
            assert!(mistakes(&deep)[0].1.contains("levels deep"), "{deep}");
        }
        let broad = format!("db == 1{}", " || db == 1".repeat(300));
        assert!(mistakes(&broad).is_empty());
    }
}
