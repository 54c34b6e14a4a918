//! How the programs behave towards people: what they say, when they end, and how long they wait.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../common/mod.rs"]
mod common;

mod deadlines;
mod df;
mod log;
mod messages;
mod output;
mod program;
mod servers;
mod sessions;
mod signals;
