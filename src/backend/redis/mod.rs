//! Redis.
pub mod client_list;
