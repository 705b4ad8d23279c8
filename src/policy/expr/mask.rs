//! A set of sessions of one node: one bit a row.

/// How many rows one word holds.
pub(super) const WORD: usize = u64::BITS as usize;

/// A set of rows. Masks that are combined are over the same sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Bits past `len` are zero, always.
    words: Vec<u64>,
    len: usize,
}

impl Mask {
    /// No row of `len`.
    #[must_use]
    pub fn none(len: usize) -> Self {
        Self { words: vec![0; len.div_ceil(WORD)], len }
    }

    /// All rows of `len`.
    #[must_use]
    pub fn all(len: usize) -> Self {
        Self::of_rows(len, |_| true)
    }

    /// The rows of `len` that satisfy `test`.
    #[must_use]
    pub fn of_rows(len: usize, test: impl Fn(usize) -> bool) -> Self {
        let word = |start: usize| {
            (start..len.min(start + WORD)).fold(0, |word, row| word | u64::from(test(row)) << (row - start))
        };
        Self { words: (0..len).step_by(WORD).map(word).collect(), len }
    }

    /// The rows whose value in `column` satisfies `test`.
    pub(super) fn of_column<T: Copy>(column: &[T], test: impl Fn(T) -> bool) -> Self {
        Self { words: column.chunks(WORD).map(|chunk| word_of(chunk, &test)).collect(), len: column.len() }
    }

    /// How many rows there are, in the set or not.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.len
    }

    /// Whether no row is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Whether this row is in the set.
    #[must_use]
    pub fn get(&self, row: usize) -> bool {
        self.words.get(row / WORD).is_some_and(|word| word >> (row % WORD) & 1 == 1)
    }

    /// How many rows are in the set.
    #[must_use]
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The rows in the set, in order.
    pub fn iter_ones(&self) -> impl Iterator<Item = usize> {
        self.words.iter().enumerate().flat_map(|(index, word)| {
            // Clears the lowest bit at each step.
            std::iter::successors(Some(*word), |left| Some(left & left.wrapping_sub(1)))
                .take_while(|left| *left != 0)
                .map(move |left| index * WORD + left.trailing_zeros() as usize)
        })
    }

    /// Keeps the rows that are also in `other`.
    pub fn and(&mut self, other: &Self) {
        self.zip(other, |word, other| word & other);
    }

    /// Adds the rows of `other`.
    pub fn or(&mut self, other: &Self) {
        self.zip(other, |word, other| word | other);
    }

    /// Removes the rows of `other`.
    pub fn and_not(&mut self, other: &Self) {
        self.zip(other, |word, other| word & !other);
    }

    fn zip(&mut self, other: &Self, combine: impl Fn(u64, u64) -> u64) {
        debug_assert_eq!(self.len, other.len, "masks over different sessions");
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word = combine(*word, *other);
        }
    }
}

/// The answers for up to 64 values as bits, the first one lowest. Eight at a time, because shifting into one word makes
/// every step wait for the one before; measured at two thirds of the time.
fn word_of<T: Copy>(chunk: &[T], test: impl Fn(T) -> bool) -> u64 {
    chunk.chunks(8).enumerate().fold(0, |word, (index, eight)| {
        let byte = eight.iter().enumerate().fold(0, |byte, (bit, value)| byte | u64::from(test(*value)) << bit);
        word | byte << (8 * index)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_the_set_of_its_rows() {
        for len in [0, 1, 63, 64, 65, 200] {
            let thirds = Mask::of_rows(len, |row| row % 3 == 0);
            let expected: Vec<usize> = (0..len).filter(|row| row % 3 == 0).collect();
            assert_eq!(thirds.iter_ones().collect::<Vec<_>>(), expected);
            assert_eq!(thirds.count(), expected.len());
            assert!((0..len + 100).all(|row| thirds.get(row) == (row < len && row % 3 == 0)));
            assert_eq!(thirds.is_empty(), expected.is_empty());
            let mut rest = Mask::all(len);
            rest.and_not(&thirds);
            assert_eq!(rest.count(), len - expected.len());
            let mut both = rest.clone();
            both.and(&thirds);
            assert_eq!(both, Mask::none(len));
            rest.or(&thirds);
            assert_eq!(rest, Mask::all(len));
        }
    }
}
