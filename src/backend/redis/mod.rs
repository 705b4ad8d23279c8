//! Redis and Valkey.

pub mod config;
