//! The tests of the homework's report that are about files and their servers: A, a first look at
//! the mount; C, the spreading of files over chunk servers (Table I), and what follows from it.

mod common;

use std::fs;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use common::cluster::{Cluster, Kind};
use common::mount::Mount;
use common::rpc::Rpc;
use common::{SOON, run, turn, wait_until};
use htfs::proto::chunk::{List, Optional, Stat};

const MEGABYTE: usize = 1 << 20;

/// Makes two tests of one, for a function that takes the options of a mount: files are spread alike
/// whether the bytes were native from the first or are taken over from what a client staged.
macro_rules! in_both_ways {
    ($($test:ident),*) => {$(
        mod $test {
            #[test]
            fn native() {
                super::$test(&[]);
            }

            #[test]
            fn classic() {
                super::$test(&["--classic"]);
            }
        }
    )*};
}

in_both_ways!(
    test_c_one_client_spreads_200_files_over_8_servers,
    test_c_ten_clients_at_once_spread_200_files_over_8_servers,
    nine_files_of_10_and_8_megabytes_make_10_4_and_4
);

/// How many files each chunk server holds, and how many bytes of them: asked of the chunk servers
/// themselves, not of the master, whose sizes are only its account. No file has a second chunk.
fn held(cluster: &Cluster) -> Vec<(usize, usize)> {
    let rpc = Rpc::new();
    let held_by = |url: &str| {
        let call = List { after: Optional(None), limit: 4096 };
        let chunks = rpc.call(url, call).unwrap_or_else(|error| panic!("{url}: {error}"));
        // The list has lengths of the last sync.
        let length = |chunk| rpc.call(url, Stat { chunk }).expect("stat").length;
        let bytes: u64 = chunks.iter().map(|chunk| length(chunk.key)).sum();
        (chunks.len(), usize::try_from(bytes).expect("the files are small"))
    };
    cluster.chunks.iter().map(|chunk| held_by(&chunk.url)).collect()
}

#[test]
fn test_a_echo_ls_and_cat() {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 3);
    let mount = Mount::ours(&cluster, &[]);
    let shell = |line: &str| {
        let output = run(Command::new("sh").args(["-ec", line]).current_dir(mount.root()));
        String::from_utf8(output.stdout).expect("the output is text")
    };
    shell("echo 'hello world' > hello.txt");
    let listed = shell("ls -l");
    let line = listed.lines().find(|line| line.ends_with(" hello.txt"));
    let line = line.unwrap_or_else(|| panic!("not listed: {listed}"));
    let words: Vec<&str> = line.split_whitespace().collect();
    assert!(words[0].starts_with("-rw-r--r--"), "{line}");
    assert_eq!((words[1], words[4]), ("1", "12"), "{line}");
    assert_eq!(shell("cat hello.txt"), "hello world\n");
    assert_eq!(shell("echo again >> hello.txt; cat hello.txt"), "hello world\nagain\n");
    mount.unmount();

    // Another client, later, sees the same.
    let mount = Mount::ours(&cluster, &[]);
    assert_eq!(fs::read(mount.path("hello.txt")).expect("read"), b"hello world\nagain\n");
    mount.unmount();
}

fn test_c_one_client_spreads_200_files_over_8_servers(options: &[&str]) {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 8);
    let mount = Mount::ours(&cluster, options);
    let names: Vec<String> = (0..200).map(|number| format!("file{number}")).collect();
    for name in &names {
        fs::write(mount.path(name), "hello\n").expect("the mount takes a file");
    }
    assert_eq!(held(&cluster), [(25, 150); 8]);
}

fn test_c_ten_clients_at_once_spread_200_files_over_8_servers(options: &[&str]) {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 8);
    let mounts: Vec<Mount> = (0..10).map(|_| Mount::ours(&cluster, options)).collect();
    let start = Barrier::new(mounts.len());
    thread::scope(|scope| {
        for (client, mount) in mounts.iter().enumerate() {
            let (start, root) = (&start, mount.root());
            scope.spawn(move || {
                start.wait();
                for number in 0..20 {
                    let name = format!("file{client}-{number}");
                    fs::write(root.join(name), "hello\n").expect("the mount takes a file");
                }
            });
        }
    });
    assert_eq!(held(&cluster), [(25, 150); 8]);
    // No client lost a name that another wrote into the same directory.
    let another = Mount::ours(&cluster, options);
    assert_eq!(fs::read_dir(another.root()).expect("the root can be read").count(), 200);
}

fn nine_files_of_10_and_8_megabytes_make_10_4_and_4(options: &[&str]) {
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 3);
    let mount = Mount::ours(&cluster, options);
    fs::write(mount.path("large"), vec![7; 10 * MEGABYTE]).expect("the mount takes 10 MB");
    for number in 0..8 {
        let name = format!("small{number}");
        fs::write(mount.path(&name), vec![number; MEGABYTE]).expect("the mount takes 1 MB");
    }
    let mut held = held(&cluster);
    held.sort_unstable();
    assert_eq!(held, [(1, 10 * MEGABYTE), (4, 4 * MEGABYTE), (4, 4 * MEGABYTE)]);
}

#[test]
fn a_chunk_server_that_joins_under_load_gets_files() {
    let _turn = turn();
    let mut cluster = Cluster::start(&Kind::Rust, 2);
    let mount = Mount::ours(&cluster, &[]);
    let root = mount.root();
    let (written, enough) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let writer = scope.spawn(|| {
            while !enough.load(Ordering::Relaxed) {
                let number = written.fetch_add(1, Ordering::Relaxed);
                fs::write(root.join(format!("f{number}")), [b'x'; 1000]).expect("write");
            }
        });
        let reached = |count| move |written: &AtomicUsize| written.load(Ordering::Relaxed) >= count;
        wait_until("files are written", SOON, || writer.is_finished() || reached(20)(&written));
        cluster.add_chunk();
        let goal = written.load(Ordering::Relaxed) + 60;
        wait_until("more are written", SOON, || writer.is_finished() || reached(goal)(&written));
        enough.store(true, Ordering::Relaxed);
    });
    let names: Vec<String> = (0..written.into_inner()).map(|n| format!("f{n}")).collect();
    let held = held(&cluster);
    assert_eq!(held.iter().map(|(files, _)| files).sum::<usize>(), names.len(), "{held:?}");
    assert!(held[2].0 >= 10, "the new server has too little: {held:?}");
    for name in &names {
        assert_eq!(fs::read(mount.path(name)).expect("read"), [b'x'; 1000]);
    }
    mount.unmount();
}
