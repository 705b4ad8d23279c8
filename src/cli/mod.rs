//! The command line. (composition root: to be written)

pub mod client;
pub mod pause;
pub mod resume;
pub mod status;
pub mod table;
