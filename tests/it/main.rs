//! The daemon as a whole: the real binary, real redis-servers, real sockets, real `kill -9`.
//!
//! Every test has servers and folders of its own, so all of them run at the same time. Nothing sleeps where it can wait
//! for a condition.

#[cfg(test)]
mod alertmanager;
#[cfg(test)]
mod api;
#[cfg(test)]
mod brake;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod demo;
#[cfg(test)]
mod kill9;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod main_job;
#[cfg(test)]
mod maxclients;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod support;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod webhook;
