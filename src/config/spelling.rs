//! Where a part of a value stands in the file, so that a mistake inside an expression is underlined there and not at
//! the start of a ten-line block.
//!
//! YAML folds lines, strips indentation and resolves escapes, but it keeps every other character and their order. So
//! the n-th character of the value that is no white space is the n-th of its spelling.

use std::ops::Range;

use serde_saphyr::granit_parser::ScalarStyle;

use super::place::Place;

/// The place of the bytes `part` of `text`, a scalar that is written at `place`. The whole scalar where they cannot be
/// told apart.
pub(super) fn part_of(place: &Place, style: ScalarStyle, text: &str, part: Range<usize>) -> Place {
    let Place::Text { file, span } = place else { return place.clone() };
    let seen = |end: usize| text.char_indices().filter(|(at, char)| *at < end && !char.is_whitespace()).count();
    let spelled = characters(&file.text()[span.clone()], style);
    if spelled.len() != seen(text.len()) {
        return place.clone();
    }
    let (first, after) = (seen(part.start), seen(part.end));
    let inside = match (spelled.get(first), spelled.get(..after).and_then(<[_]>::last)) {
        (Some(from), Some(to)) if after > first => from.start..to.end,
        // Nothing but space: just behind what comes before it.
        (_, Some(before)) => before.end..before.end,
        (Some(from), None) => from.start..from.start,
        (None, None) => return place.clone(),
    };
    Place::Text { file: file.clone(), span: span.start + inside.start..span.start + inside.end }
}

/// The characters of a scalar's spelling that are no white space, each with the bytes that spell it.
fn characters(spelling: &str, style: ScalarStyle) -> Vec<Range<usize>> {
    let (from, to) = match style {
        ScalarStyle::Plain => (0, spelling.len()),
        ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => (1, spelling.len().saturating_sub(1)),
        ScalarStyle::Literal | ScalarStyle::Folded => {
            (if spelling.starts_with(['|', '>']) { spelling.find('\n').unwrap_or(0) } else { 0 }, spelling.len())
        }
    };
    let mut found = Vec::new();
    let mut at = from.min(to);
    while let Some(char) = spelling[at..to].chars().next() {
        let rest = &spelling[at..to];
        let (length, is_space) = match style {
            ScalarStyle::SingleQuoted if rest.starts_with("''") => (2, false),
            ScalarStyle::DoubleQuoted if char == '\\' => escape(rest),
            ScalarStyle::Plain
            | ScalarStyle::SingleQuoted
            | ScalarStyle::DoubleQuoted
            | ScalarStyle::Literal
            | ScalarStyle::Folded => (char.len_utf8(), char.is_whitespace()),
        };
        let end = (at + length).min(to);
        if !is_space {
            found.push(at..end);
        }
        at = end;
    }
    found
}

/// How long the escape at the start of `rest` is, in bytes, and whether it stands for white space.
fn escape(rest: &str) -> (usize, bool) {
    let Some(letter) = rest[1..].chars().next() else { return (1, false) };
    let digits = match letter {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        // `\` at the end of a line joins it to the next.
        other => {
            return (
                1 + other.len_utf8(),
                matches!(other, 'n' | 't' | 'r' | 'v' | 'f' | 'N' | 'L' | 'P' | '_') || other.is_whitespace(),
            );
        }
    };
    let is_space = rest
        .get(2..2 + digits)
        .and_then(|digits| u32::from_str_radix(digits, 16).ok())
        .and_then(char::from_u32)
        .is_some_and(char::is_whitespace);
    (2 + digits, is_space)
}

#[cfg(test)]
mod tests {
    use super::super::findings::Report;
    use super::super::place::SourceFile;
    use super::super::tree::{self, Kind};
    use super::*;

    /// Reads `yaml`, a map with one key, and shows what is at the place of `needle` within its value.
    fn spelled(yaml: &str, needle: &str) -> (String, String) {
        let report = Report::default();
        let file = SourceFile::new("f", yaml.to_owned());
        let root = tree::parse(file.into(), &report).unwrap();
        let Kind::Map(entries) = &root.kind else { panic!("no map") };
        let Kind::Text(text, style) = &entries[0].value.kind else { panic!("no text") };
        let start = text.find(needle).unwrap();
        let place = part_of(&entries[0].value.place, *style, text, start..start + needle.len());
        let Place::Text { file, span } = &place else { panic!("no text") };
        (file.text()[span.clone()].to_owned(), place.to_string())
    }

    #[test]
    fn every_way_to_write_an_expression_points_at_its_mistake() {
        for (yaml, needle, found, place) in [
            ("m: idle > 5 && idel < 3", "idel", "idel", "f:1:16"),
            ("m: 'n == \"x\" && idel < 3' # c", "idel", "idel", "f:1:17"),
            ("m: 'n == ''x'' && idel'", "'x'", "''x''", "f:1:10"),
            ("m: \"n == \\\"x\\\" && idel\"", "idel", "idel", "f:1:19"),
            ("m: \"n == \\\"x\\\" && idel\"", "\"x\"", "\\\"x\\\"", "f:1:10"),
            ("m: \"\\u00e9\\x20\\t\\né idel\"", "idel", "idel", "f:1:21"),
            ("m: \"a \\\n  b idel\"", "idel", "idel", "f:2:5"),
            ("m: |\n  idle > 5 &&\n    idel < 3\n", "idel", "idel", "f:3:5"),
            ("m: >-  # why\n  idle > 5 &&\n  idel < 3\n\n", "idel", "idel", "f:3:3"),
            ("m: idle > 5 &&\n   idel < 3", "idel", "idel", "f:2:4"),
            ("m: 'ü' # b", "ü", "ü", "f:1:5"),
        ] {
            assert_eq!(spelled(yaml, needle), (found.to_owned(), place.to_owned()), "{yaml}");
        }
    }

    #[test]
    fn an_empty_part_is_just_behind_the_text_before_it() {
        let file: std::sync::Arc<SourceFile> = SourceFile::new("f", "m: idle >  ".into()).into();
        let place = Place::Text { file, span: 3..9 };
        for (part, at) in [(6..6, "f:1:10"), (0..0, "f:1:4"), (100..200, "f:1:10")] {
            assert_eq!(part_of(&place, ScalarStyle::Plain, "idle >", part).to_string(), at);
        }
    }
}
