//! Ring 0, pure: which sessions are abusive and which of them may be killed. No I/O, no clock, no randomness; `now` is an
//! argument everywhere.
//!
//! A [`session::Snapshot`] is what a backend listed. [`evaluate`] names candidates, [`confirm`] compares them with a fresh
//! look, [`decide`] permits or spares each for one reason, on the [`ledger`]; [`outcome`] tells from a later look what
//! became of a kill.

pub mod confirm;
pub mod decide;
pub mod directory;
pub mod evaluate;
pub mod expr;
pub mod field;
pub mod ghosts;
pub mod intent;
pub mod ledger;
pub mod limits;
pub mod matcher;
pub mod names;
pub mod outcome;
pub mod pending;
pub mod protect;
pub mod rule;
pub mod ruleset;
pub mod seen;
pub mod session;
pub mod time;

#[cfg(test)]
mod tests;
