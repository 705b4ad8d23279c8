//! What became of a kill: seen in a later list or look, never inferred from an OK reply.

/// The end of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A later list or look does not show the session any more, or the server has another run.
    Gone,
    /// A later list or look still shows it, and the server is not closing it.
    Survived,
    /// The kill provably never left.
    NotSent,
    /// No later look succeeded before the deadline.
    Unverified,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 4] = [Self::Gone, Self::Survived, Self::NotSent, Self::Unverified];

    /// The name in metrics, journal and API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Survived => "survived",
            Self::NotSent => "not_sent",
            Self::Unverified => "unverified",
        }
    }
}
