//! What was acknowledged is there afterwards, and what was synced is on the disk.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use htfs::proto::server::SyncMaster;

use crate::common::cluster::{Cluster, Server};
use crate::common::mount::Mount;
use crate::common::process::Process;
use crate::common::rpc::Rpc;
use crate::common::{SOON, turn, wait_until};
use crate::{cluster, mounts};

fn contents_of(name: &str) -> String {
    format!("this is {name}; ").repeat(1 + name.len() * 97 % 5000)
}

/// Writes files until it is over; answers the names of those that the mount took.
fn write_until(
    mount: &Mount,
    writer: usize,
    is_over: &AtomicBool,
    taken: &AtomicUsize,
) -> Vec<String> {
    let mut names = Vec::new();
    for number in 0.. {
        if is_over.load(Ordering::Acquire) {
            break;
        }
        let (name, dir) =
            (format!("file-{writer}-{number}"), format!("dir-{writer}-{}", number / 8));
        let write = || {
            if !mount.path(&dir).exists() {
                fs::create_dir(mount.path(&dir))?;
            }
            let mut file = File::create_new(mount.path(&format!("{dir}/{name}")))?;
            file.write_all(contents_of(&name).as_bytes())?;
            file.sync_all()
        };
        // What failed may or may not have happened: nothing was promised.
        if write().is_ok() {
            names.push(format!("{dir}/{name}"));
            taken.fetch_add(1, Ordering::AcqRel);
        }
    }
    names
}

/// Mounts that do not wait for long for servers that are away. A server that is started again closes
/// the files that the test has open, as every new program does, before it begins to serve.
fn quick_mounts<const N: usize>(cluster: &Cluster) -> [Mount; N] {
    std::array::from_fn(|_| Mount::ours(cluster, &["--timeout", "1"]))
}

fn kill_servers(cluster: &mut Cluster, taken: &AtomicUsize) {
    for round in 0..8 {
        let goal = taken.load(Ordering::Acquire) + 5;
        wait_until("files are written", SOON, || taken.load(Ordering::Acquire) >= goal);
        match round % 4 {
            0 => cluster.master.start_again(),
            victim => cluster.chunks[victim - 1].start_again(),
        }
    }
}

#[test]
fn promise_4_durable() {
    let _turn = turn();
    let mut cluster = cluster();
    let [first, second] = quick_mounts(&cluster);
    let (is_over, taken) = (AtomicBool::new(false), AtomicUsize::new(0));
    let names = thread::scope(|scope| {
        let write = |mount, writer| {
            let (is_over, taken) = (&is_over, &taken);
            scope.spawn(move || write_until(mount, writer, is_over, taken))
        };
        let writers = [write(&first, 1), write(&second, 2)];
        kill_servers(&mut cluster, &taken);
        is_over.store(true, Ordering::Release);
        writers.map(|writer| writer.join().unwrap()).concat()
    });
    drop((first, second));
    cluster.master.start_again();
    cluster.chunks.iter_mut().for_each(|chunk| chunk.start_again());
    let [later] = mounts(&cluster);
    for name in &names {
        let found = fs::read_to_string(later.path(name));
        let file_name = name.rsplit('/').next().unwrap();
        assert!(found.is_ok_and(|found| found == contents_of(file_name)), "{name} is not there");
    }
}

/// What a process asks of the disk.
struct Trace {
    strace: Child,
    file: std::path::PathBuf,
}

impl Trace {
    fn of(process: &Process, dir: &Path) -> Self {
        let file = dir.join(format!("trace-{}", process.id()));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=fsync,fdatasync,syncfs,sync_file_range", "-p"]);
        strace.arg(process.id().to_string()).arg("-o").arg(&file).stdin(Stdio::null());
        let strace = strace.spawn().expect("strace is installed");
        let is_traced = || process.status_number("TracerPid:") != 0;
        wait_until("strace has attached", SOON, is_traced);
        Self { strace, file }
    }

    fn count(&self) -> usize {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        text.lines().filter(|line| line.contains("sync(") || line.contains("syncfs(")).count()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        drop(self.strace.kill());
        drop(self.strace.wait());
    }
}

#[test]
fn promise_4_durable_reaches_the_disk() {
    let _turn = turn();
    let cluster = Cluster::on_disk(3);
    let [mount] = mounts(&cluster);
    let dir = tempfile::tempdir().unwrap();
    let mut file = File::create(mount.path("file")).unwrap();
    file.write_all(&[7; 100_000]).unwrap();
    file.sync_all().unwrap();
    let servers = cluster.chunks.iter().chain([&cluster.master]);
    let traces: Vec<Trace> = servers.map(|server| Trace::of(&server.process, dir.path())).collect();
    let (master, chunks) = traces.split_last().unwrap();
    let of_chunks = || chunks.iter().map(Trace::count).sum::<usize>();
    for round in 0..3 {
        // Servers also sync by themselves, so only a lower bound says something: after each fsync
        // there is at least one more, in the file's chunk server and in the master.
        let before = (master.count(), of_chunks());
        file.write_all(&[round; 100_000]).unwrap();
        file.sync_all().unwrap();
        wait_until("the servers have synced", SOON, || {
            master.count() > before.0 && of_chunks() > before.1
        });
    }
}

/// What a mount took before its servers were killed, and how it must look afterwards.
fn assert_taken(mount: &Mount, round: usize, text: &str) {
    let found = fs::read_to_string(mount.path(&format!("dir-{round}/moved"))).unwrap();
    assert!(found == text, "round {round}: {} bytes", found.len());
    let linked = fs::metadata(mount.path(&format!("linked-{round}"))).unwrap();
    assert_eq!((linked.nlink(), linked.mode() & 0o7777), (2, 0o640), "round {round}");
    assert!(!mount.path(&format!("file-{round}")).exists(), "round {round}");
    let target = fs::read_link(mount.path(&format!("symlink-{round}"))).unwrap();
    assert_eq!(target, Path::new("target"));
}

#[test]
fn promise_4_durable_by_an_fsync_after_a_kill() {
    let _turn = turn();
    let mut cluster = Cluster::on_disk(3);
    let [mount] = quick_mounts(&cluster);
    let dir = tempfile::tempdir().unwrap();
    let rpc = Rpc::new();
    // First the master is killed, then the chunk servers, then all.
    for round in 0..3 {
        // Nothing of this is synced by anybody who waits for it; all of it is acknowledged.
        let name = format!("file-{round}");
        let mut text = contents_of(&name).repeat(20);
        fs::write(mount.path(&name), &text).unwrap();
        let mut file = File::options().append(true).open(mount.path(&name)).unwrap();
        fs::create_dir(mount.path(&format!("dir-{round}"))).unwrap();
        fs::hard_link(mount.path(&name), mount.path(&format!("linked-{round}"))).unwrap();
        file.set_permissions(fs::Permissions::from_mode(0o640)).unwrap();
        fs::rename(mount.path(&name), mount.path(&format!("dir-{round}/moved"))).unwrap();
        symlink("target", mount.path(&format!("symlink-{round}"))).unwrap();
        if round != 1 {
            cluster.master.start_again();
        }
        if round != 0 {
            cluster.chunks.iter_mut().for_each(Server::start_again);
        }

        // Asked directly, and through the descriptor that has been open all the while.
        rpc.call(&cluster.master.url, SyncMaster).unwrap();
        let servers = cluster.chunks.iter().chain([&cluster.master]);
        let traces: Vec<Trace> =
            servers.map(|server| Trace::of(&server.process, dir.path())).collect();
        let (master, chunks) = traces.split_last().unwrap();
        file.write_all(b"after the kill").unwrap();
        text += "after the kill";
        file.sync_all().unwrap();
        wait_until("the servers have synced", SOON, || {
            master.count() > 0 && chunks.iter().any(|chunk| chunk.count() > 0)
        });
        drop(traces);
        assert_taken(&mount, round, &text);
        let [other] = mounts(&cluster);
        assert_taken(&other, round, &text);
    }
}
