//! A mount that goes takes its session at the master with it, at once.

use std::process::Command;

use rustix::process::Signal;

use crate::common::cluster::{Cluster, Kind};
use crate::common::{run, turn, wait_until};
use crate::program::{Program, client};

#[test]
fn however_a_mount_ends_the_master_hears_of_it() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 1);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("mnt");
    let detached = || cluster.master.process.log().matches("a client detached").count();
    for (number, how) in ["umount", "fusermount3 -u", "umount -l", "kill"].iter().enumerate() {
        let mut mount = Program::mount(client(&cluster), &at);
        std::fs::write(at.join("file"), "x").unwrap();
        match how.split_once(' ') {
            None if *how == "kill" => mount.signal(Signal::TERM),
            None => drop(run(Command::new(how).arg(&at))),
            Some((tool, option)) => drop(run(Command::new(tool).arg(option).arg(&at))),
        }
        assert!(mount.end().success(), "{how}");
        // It had ended its session before it ended.
        let brief = std::time::Duration::from_secs(1);
        wait_until(&format!("after {how} it is logged"), brief, || detached() == number + 1);
    }
}
