//! reaperd finds abusive client sessions of Redis-compatible servers by rule files, kills exactly those, within budgets
//! that it can prove, and tells what it did and why.
//!
//! This page is the map. No code stands here.
//!
//! # The sentence
//!
//! **trigger → snapshot → settle → evaluate → confirm → decide + intent → act → record.** A poll, an alert or a person
//! triggers a target. Its nodes are listed, each whole or not at all. What the list shows of earlier kills is settled. The
//! rules name candidates. Those that would go are looked at once more. What may go is decided inside the commit that charges
//! the budgets and writes the intents to disk. Only then are kills sent, each on the connection that listed its session.
//! What became of them is seen in a later look, never assumed. `engine::sentence` is this as code.
//!
//! # The rings
//!
//! Ring 0 is [`policy`]: pure values and functions, with `now` as an argument. It decides everything and does nothing.
//! Ring 1 touches one thing each: [`clock`], [`metrics`], [`view`] (the shapes that are shown), [`store`] (what must
//! survive), [`backend`] (servers), [`monitoring`] (Alertmanager). Ring 2 is [`engine`], the only place that sequences
//! effects, and [`http`] in front of it. [`config`] reads files, [`app`] composes, [`cli`] is the program.
//! `tests/architecture.rs` is the wall between them.
//!
//! # What the types keep
//!
//! - A [`policy::session::Snapshot`] exists only for a whole listing, so a failed one cannot be read as empty.
//! - A [`policy::intent::Intent`] is made only by a commit that succeeded, and [`backend::Backend::kill`] takes nothing
//!   else, so what is not on disk and not charged cannot be killed.
//! - [`policy::decide::decide`] gives every candidate one answer, a kill or a reason of a closed set.
//! - The [`policy::ledger`] counts a kill from its commit until one window after its answer, so that no delay of the
//!   network and no crash lets any window see more kills than its budget.

pub mod app;
pub mod backend;
pub mod cli;
pub mod clock;
pub mod config;
pub mod engine;
pub mod http;
pub mod metrics;
pub mod monitoring;
pub mod policy;
pub mod store;
pub mod view;
