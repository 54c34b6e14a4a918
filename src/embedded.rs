//! A whole file system in one process: a master, three chunk servers and their keys, all under one
//! directory.
//!
//! The directory holds `keys/`, `master/`, `chunk-1/` and so on, and `ports`: a chunk server's name
//! is its URL, which the files' attributes refer to, so each gets the same port at every start.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tokio_util::sync::CancellationToken;

use crate::error::{ErrorKind, FsError, Result};
use crate::listen::Listen;
use crate::store::file;
use crate::{chunk, master};

/// Chunk servers in the process.
const CHUNK_SERVERS: usize = 3;

/// Ports are looked for from somewhere in this range on: below those that the system gives to
/// outgoing connections, so that none of these takes one while the servers are down; and not from
/// the same port each time, so that two directories can be in use at once.
const FIRST_PORTS: std::ops::Range<u16> = 20_000..30_000;

/// The script that makes keys, as it stands in the repository.
const OPENSSL_GEN: &str = include_str!("../openssl-gen.sh");

/// The servers of one directory, running.
pub struct Embedded {
    master: master::Running,
    chunks: Vec<chunk::Running>,
    certificate: PathBuf,
}

impl Embedded {
    /// Starts the servers of a directory, which is made if it is not there, and waits until the
    /// master knows them all. `None` if `shutdown` comes before that; they have stopped then, as they
    /// have after an error.
    ///
    /// # Errors
    /// One line that says what stands in the way: no openssl, a port that is taken, a directory
    /// that cannot be written, is in use, or has something that belongs to somebody else; or files
    /// that its master does not know.
    pub async fn start(dir: &Path, shutdown: &CancellationToken) -> Result<Option<Self>> {
        file::create_private_dir(dir).map_err(|error| error.context(dir.display()))?;
        check_owner(dir)?;
        let (certificate, key) = (dir.join("keys/cacert.pem"), dir.join("keys/privkey.pem"));
        if !certificate.exists() && !key.exists() {
            tokio::task::block_in_place(|| make_keys(&dir.join("keys")))?;
        }
        let ports = remembered_ports(&dir.join("ports"))?;
        let master = master::start(master::Config {
            listen: listen(ports[0]),
            ..master::Config::new(dir.join("master"), certificate.clone(), key.clone())
        })
        .await
        .map_err(|error| explain_port(error, dir))?;
        let mut running = Self { master, chunks: Vec::new(), certificate: certificate.clone() };
        match shutdown.run_until_cancelled(running.start_chunks(dir, &ports[1..], &key)).await {
            Some(Ok(())) => Ok(Some(running)),
            Some(Err(error)) => {
                running.stop().await.ok();
                Err(error)
            }
            None => running.stop().await.map(|()| None),
        }
    }

    /// Starts the chunk servers, and waits until the master knows them.
    async fn start_chunks(&mut self, dir: &Path, ports: &[u16], key: &Path) -> Result<()> {
        let data_dirs = (1..).map(|number| dir.join(format!("chunk-{number}")));
        for (data_dir, port) in data_dirs.clone().zip(ports) {
            let (url, certificate) = (self.master.url().to_owned(), self.certificate.clone());
            let config = chunk::Config::new(url, data_dir, certificate, key.to_owned());
            let started = chunk::start(chunk::Config { listen: listen(*port), ..config }).await;
            self.chunks.push(started.map_err(|error| explain_port(error, dir))?);
        }
        for (chunk, data_dir) in self.chunks.iter_mut().zip(data_dirs) {
            chunk.joined().await.map_err(|error| explain_stranger(&error, dir, &data_dir))?;
        }
        Ok(())
    }

    /// The master's URL.
    #[must_use]
    pub fn master_url(&self) -> &str {
        self.master.url()
    }

    /// The certificate to trust.
    #[must_use]
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Stops all servers, their data written through to the disk.
    ///
    /// # Errors
    /// The first of them, after all have stopped.
    pub async fn stop(self) -> Result<()> {
        let mut outcome = Ok(());
        for chunk in self.chunks {
            outcome = outcome.and(chunk.stop().await);
        }
        outcome.and(self.master.stop().await)
    }
}

/// Checks that no stranger can have a hand in a directory: who owns it, or something in it, or may
/// write to it as everybody does, could put keys, ports and data of their own there.
fn check_owner(dir: &Path) -> Result<()> {
    let keys = dir.join("keys");
    let inside = entries(dir)?.into_iter().chain(entries(&keys)?);
    for path in std::iter::once(dir.to_owned()).chain(inside) {
        let found = std::fs::metadata(&path)
            .map_err(|error| FsError::from(error).context(path.display()))?;
        let own = rustix::process::geteuid().as_raw();
        let wrong = if found.uid() != own {
            format!("belongs to user {} and not to {own}, who runs this", found.uid())
        } else if found.mode() & 0o002 != 0 {
            "can be written by everybody".to_owned()
        } else {
            continue;
        };
        let message = format!("{} {wrong}; give another --embedded", path.display());
        return Err(FsError::new(ErrorKind::AccessDenied, message));
    }
    Ok(())
}

/// What is in a directory; nothing if there is none.
fn entries(dir: &Path) -> Result<Vec<PathBuf>> {
    let listing = match std::fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(FsError::from(error).context(dir.display())),
    };
    Ok(listing.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<_>>()?)
}

/// Makes a key and a certificate with the commands of `openssl-gen.sh`.
fn make_keys(dir: &Path) -> Result<()> {
    let failed = |reason: String| {
        let message = format!("cannot make keys in {}: {reason}", dir.display());
        FsError::new(ErrorKind::Io, message)
    };
    let mut script = Command::new("bash")
        .args(["-s", "--", "--dir"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(format!("bash does not start: {error}")))?;
    if let Some(mut input) = script.stdin.take() {
        // Should the script end early, its own words say more than a broken pipe.
        input.write_all(OPENSSL_GEN.as_bytes()).ok();
    }
    let output = script.wait_with_output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// The ports of the master and the chunk servers, chosen at the first start and kept in a file.
fn remembered_ports(path: &Path) -> Result<Vec<u16>> {
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let ports: Vec<u16> =
                text.lines().filter_map(|line| line.trim().parse().ok()).collect();
            if ports.len() == CHUNK_SERVERS + 1 {
                return Ok(ports);
            }
            let message = format!(
                "{} is damaged: it should hold {} ports, a line each",
                path.display(),
                CHUNK_SERVERS + 1
            );
            Err(FsError::new(ErrorKind::Corrupt, message))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let chance = RandomState::new().hash_one(path) % FIRST_PORTS.len() as u64;
            let first = FIRST_PORTS.start + u16::try_from(chance).unwrap_or(0);
            let ports: Vec<u16> =
                (first..).filter(|port| is_free(*port)).take(CHUNK_SERVERS + 1).collect();
            file::replace(path, |out| {
                ports.iter().try_for_each(|port| Ok(writeln!(out, "{port}")?))
            })?;
            Ok(ports)
        }
        Err(error) => Err(FsError::from(error).context(path.display())),
    }
}

fn listen(port: u16) -> Listen {
    Listen { host: "localhost".to_owned(), port }
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Says what to do if a remembered port is taken.
fn explain_port(error: FsError, dir: &Path) -> FsError {
    if !error.message().contains("in use") {
        return error;
    }
    error.context(format_args!(
        "{} keeps its ports over restarts; another program, or another htfs of the same \
         directory, has one of them now and must stop first",
        dir.display()
    ))
}

/// Says what to do if a master does not know the files that a chunk server has.
fn explain_stranger(error: &FsError, dir: &Path, data_dir: &Path) -> FsError {
    let (dir, data_dir) = (dir.display(), data_dir.display());
    let message = format!(
        "{data_dir} has the contents of files that {dir}/master does not know: put the {dir}/master \
         back that they belong to, or, if they may be lost, remove {data_dir} ({error})"
    );
    FsError::new(error.kind(), message)
}
