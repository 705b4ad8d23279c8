//! Ring 0, pure: which sessions are abusive and which of them may be killed. No I/O, no clock, no randomness; `now` is an
//! argument everywhere.

pub mod decide;
pub mod expr;
pub mod field;
pub mod intent;
pub mod ledger;
pub mod limits;
pub mod matcher;
pub mod names;
pub mod outcome;
pub mod protect;
pub mod rule;
pub mod session;
pub mod time;
