//! The native client on a real mount, over real servers.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use htfs::client::{Config, Running, start};
use htfs::embedded::Embedded;
use tokio_util::sync::CancellationToken;

/// A cluster, and mounts of it that are taken away whatever happens.
struct Cluster {
    dir: tempfile::TempDir,
    servers: Option<Embedded>,
    mounts: Vec<(PathBuf, Option<Running>)>,
}

impl Cluster {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (place, shutdown) = (dir.path().join("cluster"), CancellationToken::new());
        let servers = Embedded::start(&place, &shutdown).await.unwrap();
        Self { dir, servers, mounts: Vec::new() }
    }

    async fn mount(&mut self) -> PathBuf {
        let mountpoint = self.dir.path().join(format!("mnt-{}", self.mounts.len()));
        fs::create_dir(&mountpoint).unwrap();
        let servers = self.servers.as_ref().unwrap();
        let (master, ca) = (servers.master_url().to_owned(), servers.certificate().to_owned());
        let config = Config::new(mountpoint.clone(), master, ca);
        let running = start(config).await.unwrap();
        self.mounts.push((mountpoint.clone(), Some(running)));
        mountpoint
    }

    async fn stop(mut self) {
        for (_, running) in &mut self.mounts {
            running.take().unwrap().stop().await.unwrap();
        }
        self.servers.take().unwrap().stop().await.unwrap();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for (mountpoint, running) in &self.mounts {
            if running.is_some() {
                Command::new("fusermount3").arg("-uz").arg(mountpoint).status().ok();
            }
        }
    }
}

/// Work that waits for the mounts, away from the threads that serve them.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

fn use_two(a: &Path, b: &Path) {
    fs::create_dir_all(a.join("x/y")).unwrap();
    fs::write(a.join("x/y/f"), "hello").unwrap();
    assert_eq!(fs::read(b.join("x/y/f")).unwrap(), b"hello");
    fs::rename(b.join("x/y/f"), b.join("x/g")).unwrap();
    assert!(!a.join("x/y/f").exists() || fs::read(a.join("x/g")).is_ok());
    assert_eq!(fs::read(a.join("x/g")).unwrap(), b"hello");
    let file = fs::File::options().read(true).write(true).open(b.join("x/g")).unwrap();
    file.write_all_at(b"HE", 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(fs::read(a.join("x/g")).unwrap(), b"HEllo");
    file.set_len(3).unwrap();
    fs::remove_file(a.join("x/g")).unwrap();
    let mut rest = [0; 3];
    file.read_exact_at(&mut rest, 0).unwrap();
    assert_eq!(&rest, b"HEl");
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    let large: Vec<u8> = (0..70_u32 << 20).map(|at| u8::try_from(at % 251).unwrap()).collect();
    fs::write(a.join("large"), &large).unwrap();
    assert!(fs::read(b.join("large")).unwrap() == large, "70 MiB came back wrong");
    assert_eq!(fs::read_dir(b).unwrap().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_mounts_are_one_file_system() {
    let mut cluster = Cluster::start().await;
    let (a, b) = (cluster.mount().await, cluster.mount().await);
    blocking(move || use_two(&a, &b)).await;
    cluster.stop().await;
}

/// For people: keeps a mount until the file that `HTFS_UNTIL` names is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "a mount to play with"]
async fn keep_mounts() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let until = PathBuf::from(std::env::var_os("HTFS_UNTIL").expect("HTFS_UNTIL names a file"));
    let mut cluster = Cluster::start().await;
    let (a, b) = (cluster.mount().await, cluster.mount().await);
    fs::write(&until, format!("{}\n{}\n", a.display(), b.display())).unwrap();
    while until.exists() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_are_told_to_stop_while_they_start_stop() {
    let dir = tempfile::tempdir().unwrap();
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    let started = Embedded::start(dir.path(), &shutdown);
    let started = tokio::time::timeout(Duration::from_secs(30), started).await.unwrap();
    assert!(started.unwrap().is_none());
    // They have left their ports and data to others.
    let servers = Embedded::start(dir.path(), &CancellationToken::new()).await.unwrap();
    servers.unwrap().stop().await.unwrap();
}
