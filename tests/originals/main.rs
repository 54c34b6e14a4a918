//! The original Python programs, in the order of their calls: they cannot tell our servers from
//! those that they were written for. The programs are in `tests/interop/originals*.py`.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod mounts;
mod sed;
mod steps;

use std::process::Stdio;

use common::cluster::Cluster;
use common::python::Python;
use common::{Shown, keys};

/// Runs a program of `tests/interop` at a cluster, which `SSL_CERT_FILE` lets it trust, and gives
/// its output. `CHUNK` in an option stands for the first chunk server, `CHUNKS` for all of them.
fn run(python: &Python, program: &str, cluster: &Cluster, options: &str) -> Result<String, String> {
    let chunks: Vec<&str> = cluster.chunks.iter().map(|chunk| chunk.url.as_str()).collect();
    let options = options.replace("CHUNKS", &chunks.join(",")).replace("CHUNK", chunks[0]);
    let mut command = python.command(program);
    command.args(["--master", &cluster.master.url]).args(options.split_whitespace());
    command.env("SSL_CERT_FILE", &keys().certificate).stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(format!("{python}, {program} {options}: {}", Shown(&output)))
    }
}
