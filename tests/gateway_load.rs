//! Native and classic clients at once on the same names: in the end nothing is lost, and both see the
//! same.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::thread;

use common::classic::{Classic, DIALECTS};
use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::turn;
use htfs::error::{ErrorKind, FsError};
use htfs::rpc::CallError;

/// What each client does, so that the test ends soon on a small machine.
const ROUNDS: usize = 30;

/// The names that all of them fight over.
const SHARED: usize = 5;

/// Whether a client got an error that another one's work explains: the name is gone, or was just
/// changed by others again and again.
fn is_of_others(error: CallError) -> bool {
    matches!(FsError::from(error).kind(), ErrorKind::NotFound | ErrorKind::Busy)
}

/// Contents that tell who wrote them, and that they are whole.
fn contents(writer: usize, round: usize) -> Vec<u8> {
    format!("{writer} {round} ").repeat(1 + 997 * (round % 4)).into_bytes()
}

fn act_classically(classic: &Classic, writer: usize) {
    for round in 0..ROUNDS {
        let shared = format!("/shared {}", (round + writer) % SHARED);
        let done = match round % 3 {
            2 => classic.delete(&shared),
            _ => classic.write(&shared, &contents(writer, round)),
        };
        if let Err(error) = done {
            let text = error.to_string();
            assert!(is_of_others(error), "{shared}: {text}");
        }
        // What a client calls its own, nobody takes away: a rename is a put and a delete.
        let (old, new) = (format!("/own {writer} {round}"), format!("/kept {writer} {round}"));
        classic.write(&old, &contents(writer, round)).expect("put");
        let read = classic.read(&old).expect("get").expect("it is there");
        classic.write(&new, &read).expect("put");
        classic.delete(&old).expect("delete");
    }
}

fn act_natively(root: &Path, writer: usize) {
    for round in 0..ROUNDS {
        let shared = root.join(format!("shared {}", (round + writer) % SHARED));
        let result = match round % 4 {
            3 => fs::remove_file(&shared),
            2 => fs::rename(&shared, root.join(format!("shared {}", round % SHARED))),
            _ => fs::write(&shared, contents(writer, round)),
        };
        if let Err(error) = result {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}: {error}", shared.display());
        }
        let old = root.join(format!("own {writer} {round}"));
        fs::write(&old, contents(writer, round)).expect("write");
        fs::rename(&old, root.join(format!("kept {writer} {round}"))).expect("rename");
    }
}

#[test]
fn nothing_is_lost_when_all_work_on_the_same_names() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 2);
    let mounts = [Mount::ours(&cluster, &[]), Mount::ours(&cluster, &[])];
    let master = &cluster.master.url;
    Classic::new(master, DIALECTS[0]).mkdir("/").expect("put");
    thread::scope(|scope| {
        for (number, form) in [DIALECTS[0], DIALECTS[3]].into_iter().enumerate() {
            scope.spawn(move || act_classically(&Classic::new(master, form), number));
        }
        for (number, mount) in mounts.iter().enumerate() {
            let root = mount.root();
            scope.spawn(move || act_natively(root, 2 + number));
        }
    });

    let classic = Classic::new(master, DIALECTS[0]);
    let kept: BTreeSet<String> = (0..4)
        .flat_map(|writer| (0..ROUNDS).map(move |round| format!("kept {writer} {round}")))
        .collect();
    let paths = classic.list("/").expect("get");
    let listed: BTreeSet<String> = paths[1..].iter().map(|path| path[1..].to_owned()).collect();
    assert_eq!(listed.len() + 1, paths.len(), "a name is listed twice");
    for mount in &mounts {
        let entries = fs::read_dir(mount.root()).expect("the root can be read");
        let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("text");
        let names: BTreeSet<String> = entries.map(|entry| name(entry.expect("an entry"))).collect();
        assert_eq!(names, listed, "both list the same");
    }
    assert!(kept.is_subset(&listed), "lost: {:?}", kept.difference(&listed));
    for name in &listed {
        let natively = fs::read(mounts[0].path(name)).expect("read");
        let classically = classic.read(&format!("/{name}")).expect("get").expect("it is there");
        assert!(natively == classically, "{name} differs");
        if let Some(own) = name.strip_prefix("kept ") {
            let numbers: Vec<usize> = own.split(' ').map(|n| n.parse().expect("ours")).collect();
            assert!(natively == contents(numbers[0], numbers[1]), "{name} has other contents");
        } else {
            assert!(name.starts_with("shared "), "{name} is left over");
        }
    }
}

#[test]
fn classic_overwrites_are_whole_under_native_readers() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 2);
    let mount = Mount::ours(&cluster, &[]);
    let classic = Classic::new(&cluster.master.url, DIALECTS[1]);
    classic.write("/f", &contents(0, 0)).expect("put");
    let path = mount.path("f");
    let is_over = std::sync::atomic::AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut reads = 0;
            while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                // A reader that asks for the size first may get it of one moment and the bytes of
                // the next: so each read is one `pread` of more than there is.
                let file = fs::File::open(&path).expect("the name is always there");
                let mut buffer = vec![0; 100_000];
                let length = std::os::unix::fs::FileExt::read_at(&file, &mut buffer, 0);
                let length = length.expect("it can be read");
                assert!(length > 0, "the contents are gone");
                reads += 1;
            }
            reads
        });
        for round in 0..ROUNDS {
            classic.write("/f", &contents(0, round)).expect("put");
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reader.join().expect("the reader does not fail") > 0);
    });
    assert!(fs::read(&path).expect("read") == contents(0, ROUNDS - 1));
}
