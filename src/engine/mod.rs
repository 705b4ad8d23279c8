//! Ring 2: the only place that sequences effects.

pub mod handle;
