//! Ring 2: the only place that sequences effects.
//!
//! ```text
//! trigger -> snapshot -> settle -> evaluate -> confirm -> decide + intent -> act -> record
//! ```
//!
//! One task per target ([`guard`]) runs this sentence ([`sentence`]), one trigger after the other, and owns all that is
//! remembered between two of them ([`memory`]). One supervisor ([`supervisor`]) owns the tasks, turns received alerts into
//! triggers ([`alerts`]) and swaps settings at a reload ([`settings`]). Everybody else talks to a [`handle::Handle`].

mod alerts;
mod guard;
pub mod handle;
mod journal;
mod mailbox;
mod memory;
mod report;
mod sentence;
pub mod settings;
mod shared;
pub mod supervisor;
mod views;
