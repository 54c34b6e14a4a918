//! A panic inside a transaction ends the process.
//!
//! It leaves the lock of the database's writers poisoned: the server would live on, answer, and never
//! write again. Started anew it is clean, for nothing of the transaction is on the disk.

use std::panic;
use std::thread;

/// The threads on which the database writes its tables out. One that is gone is missed by all writers.
const WORKERS: &str = "fjall:worker";

/// Held through a transaction. If a panic drops it, the process ends at once.
pub(super) struct EndOnPanic {
    /// Begun while a panic unwinds the thread, which is none of this transaction's.
    was_panicking: bool,
}

impl EndOnPanic {
    pub(super) fn new() -> Self {
        Self { was_panicking: thread::panicking() }
    }
}

impl Drop for EndOnPanic {
    fn drop(&mut self) {
        if thread::panicking() && !self.was_panicking {
            end("a transaction of the store panicked");
        }
    }
}

/// Ends the process also when a worker of the database panics. For programs, which call it once.
pub fn end_on_panic_of_workers() {
    let earlier = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        earlier(info);
        if thread::current().name() == Some(WORKERS) {
            end("a thread of the store panicked");
        }
    }));
}

fn end(why: &str) -> ! {
    tracing::error!("{why}; the process ends, and is clean when it is started again");
    crate::output::flush();
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::process::{Command, Output};
    use std::sync::Arc;
    use std::thread;

    use crate::error::Result;
    use crate::store::logged::OWN_TABLES;
    use crate::store::{Logged, Store, Table, Txn};

    const T: Table = Table("t");
    /// Tells the process that one of these tests starts what it is to do, and where.
    const VICTIM: &str = "HTFS_TEST_VICTIM";

    fn open(path: &Path) -> Arc<Store> {
        Arc::new(Store::open(path, &[&[T][..], &OWN_TABLES].concat()).unwrap())
    }

    fn put(txn: &mut dyn Txn, key: &[u8]) -> Result<()> {
        txn.put(T, key, b"v");
        Ok(())
    }

    /// Not a test by itself: the process that is to end. It says so if it goes on.
    #[test]
    fn a_process_that_panics_in_a_transaction() {
        let Ok(what) = std::env::var(VICTIM) else { return };
        let (how, path) = what.split_once(':').unwrap();
        tracing_subscriber::fmt().with_writer(std::io::stderr).init();
        let store = open(Path::new(path));
        store.write(|txn| put(txn, b"before")).unwrap();
        let how = how.to_owned();
        // As a server does, which goes on when a handler has panicked.
        let ended = match how.as_str() {
            "store" => thread::spawn(move || {
                store.write(|txn| -> Result<()> {
                    put(txn, b"half")?;
                    panic!("in the middle")
                })
            })
            .join(),
            "logged" => thread::spawn(move || {
                let mut logged = Logged::open(store, &[T], 5)?;
                logged.write(|_| -> Result<()> { panic!("in the middle") })
            })
            .join(),
            "worker" => {
                super::end_on_panic_of_workers();
                let worker = thread::Builder::new().name(super::WORKERS.to_owned());
                worker.spawn(|| -> Result<()> { panic!("in the middle") }).unwrap().join()
            }
            how => panic!("no such way: {how}"),
        };
        println!("still here: {}", ended.is_err());
    }

    fn run(how: &str, path: &Path) -> Output {
        let name = format!("{}::a_process_that_panics_in_a_transaction", module_path!());
        let (_, name) = name.split_once("::").unwrap();
        Command::new(std::env::current_exe().unwrap())
            .args([name, "--exact", "--nocapture"])
            .env(VICTIM, format!("{how}:{}", path.display()))
            .output()
            .unwrap()
    }

    #[test]
    fn a_panic_in_a_transaction_ends_the_process_and_nothing_of_it_is_stored() {
        for how in ["store", "logged", "worker"] {
            let dir = tempfile::tempdir().unwrap();
            let output = run(how, dir.path());
            let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let (out, log) = (said(&output.stdout), said(&output.stderr));
            assert!(!output.status.success() && !out.contains("still here"), "{how}: {out}{log}");
            let lines: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
            assert_eq!(lines.len(), 1, "{how}: {log}");
            assert!(lines[0].contains("the process ends"), "{how}: {log}");
            let store = open(dir.path());
            store.write(|txn| put(txn, b"after")).unwrap();
            let get = |key: &[u8]| store.read(|txn| txn.get(T, key)).unwrap();
            assert_eq!((get(b"before").is_some(), get(b"half")), (true, None));
        }
    }
}
