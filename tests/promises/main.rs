//! The promises of the native file system, each with a test that bears its name, on real programs
//! and real mounts. `docs/SEMANTICS.md` tells what they mean.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../common/mod.rs"]
mod common;

mod append;
mod attributes;
mod bounds;
mod direct;
mod durability;
mod errors;
mod file_handles;
mod locks;
mod names;
mod opens;
mod rights;

use std::io;
use std::path::Path;
use std::process::Command;

use common::cluster::{Cluster, Kind};
use common::mount::Mount;

/// Our servers, with three chunk servers.
fn cluster() -> Cluster {
    Cluster::start(&Kind::Rust, 3)
}

/// So many mounts of a cluster, each a client of its own.
fn mounts<const N: usize>(cluster: &Cluster) -> [Mount; N] {
    std::array::from_fn(|_| Mount::ours(cluster, &[]))
}

/// Runs a script in a directory; it ends at the first command that fails.
fn script(dir: &Path, text: &str) -> String {
    let output =
        common::run(Command::new("bash").args(["-euo", "pipefail", "-c", text]).current_dir(dir));
    String::from_utf8(output.stdout).unwrap()
}

/// The errno of what must fail.
fn errno<T>(result: io::Result<T>) -> i32 {
    match result {
        Ok(_) => panic!("it should have failed"),
        Err(error) => error.raw_os_error().expect("the system failed it"),
    }
}
