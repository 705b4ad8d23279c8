//! Huawei Cloud DCS, through its REST API. So far only how it is configured.

pub mod config;
