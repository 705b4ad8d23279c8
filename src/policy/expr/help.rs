//! What to write instead.

use crate::policy::field::{Field, Kind};

/// What to write instead of a name that is no field. `quotable`: it stands where a text could.
pub(super) fn for_unknown_field(name: &str, quotable: bool) -> String {
    if Kind::from_name(name).is_some() {
        return format!("write \"{name}\" in quotes");
    }
    match (closest(name, Field::ALL.iter().map(|field| field.name())), quotable) {
        (Some(close), _) => format!("did you mean `{close}`? The fields are {}", fields()),
        (None, true) => format!("if it is a text, write \"{name}\" in quotes. The fields are {}", fields()),
        (None, false) => format!("the fields are {}", fields()),
    }
}

/// What to write instead of a text that is no kind.
pub(super) fn for_unknown_kind(text: &str) -> String {
    let kinds: Vec<&str> = Kind::ALL.into_iter().map(Kind::as_str).collect();
    let close = closest(text, kinds.iter().copied()).map(|close| format!("did you mean \"{close}\"? "));
    format!("{}The kinds are {}", close.unwrap_or_default(), kinds.join(", "))
}

fn fields() -> String {
    let names: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
    names.join(", ")
}

/// The candidate that `written` is probably meant to be: the same letters, or at most two slips away.
pub(super) fn closest<'a>(written: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let letters = |text: &str| -> Vec<char> {
        text.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
    };
    let written = letters(written);
    let slips = |candidate: &str| slips(&written, &letters(candidate));
    candidates
        .map(|candidate| (slips(candidate), candidate))
        .filter(|(slips, candidate)| *slips <= 2.min(candidate.len() / 2).min(written.len() / 2))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, candidate)| candidate)
}

/// How many letters are missing, extra, wrong or exchanged with their neighbour.
fn slips(from: &[char], to: &[char]) -> usize {
    let mut rows = vec![(0..=to.len()).collect::<Vec<usize>>()];
    for (i, a) in from.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (rows[i][j] + usize::from(a != b)).min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_are_recognised() {
        for (written, meant) in [
            ("idel", Some("idle")),
            ("Idle", Some("idle")),
            ("totmem", Some("tot_mem")),
            ("usr", Some("user")),
            ("lib_vers", Some("lib_ver")),
            ("connected", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(closest(written, Field::ALL.iter().map(|field| field.name())), meant, "{written}");
        }
    }
}
