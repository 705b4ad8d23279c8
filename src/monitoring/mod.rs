//! Ring 1: what monitoring systems tell the daemon, and where they are.

pub mod alertmanager;
pub mod config;
