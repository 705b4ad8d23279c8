//! Did you mean: the known word that a mistyped one is nearest to.

/// The known word that is few enough typing mistakes away from `word`.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let tolerated = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|other| (distance(word, other), other))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// How many characters must be added, left out, changed or swapped with their neighbour.
fn distance(from: &str, to: &str) -> usize {
    let (from, to): (Vec<char>, Vec<char>) = (from.chars().collect(), to.chars().collect());
    let mut rows = vec![vec![0; to.len() + 1]; from.len() + 1];
    for row in 0..=from.len() {
        for column in 0..=to.len() {
            if row == 0 || column == 0 {
                rows[row][column] = row + column;
                continue;
            }
            let changed = usize::from(from[row - 1] != to[column - 1]);
            let mut least = (rows[row - 1][column] + 1).min(rows[row][column - 1] + 1);
            least = least.min(rows[row - 1][column - 1] + changed);
            if row > 1 && column > 1 && from[row - 1] == to[column - 2] && from[row - 2] == to[column - 1] {
                least = least.min(rows[row - 2][column - 2] + 1);
            }
            rows[row][column] = least;
        }
    }
    rows[from.len()][to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_mistakes_find_their_word() {
        let known = ["match", "mode", "max", "summary", "poll_interval"];
        for (word, found) in [
            ("mathc", Some("match")),
            ("moed", Some("mode")),
            ("summery", Some("summary")),
            ("pollinterval", Some("poll_interval")),
            ("Max", Some("max")),
            ("victims", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), found, "{word}");
        }
    }
}
