//! reaperd finds abusive client sessions of Redis-compatible servers by rule files and kills exactly those.

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
