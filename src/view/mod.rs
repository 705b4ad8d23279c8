//! The serialisable shapes that the CLI (`-o json`), the API and the journal share.

pub mod journal;
pub mod plan;
pub mod session;
pub mod status;
