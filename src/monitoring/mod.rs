//! Ring 1: what monitoring systems tell the daemon.

pub mod alertmanager;
