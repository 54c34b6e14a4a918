//! What `df` says of a mount.

use crate::common::cluster::{Cluster, Kind};
use crate::common::mount::Mount;
use crate::common::{SOON, turn, wait_until};

#[test]
fn a_disk_counts_once_and_chunks_are_what_is_used() {
    const SIZE: u64 = 20 << 20;
    let _turn = turn();
    let cluster = Cluster::start(&Kind::Rust, 3);
    let mount = Mount::ours(&cluster, &[]);
    let disk = rustix::fs::statvfs(&cluster.chunks[0].dir).unwrap();
    let room = || {
        let room = rustix::fs::statvfs(mount.root()).unwrap();
        let bytes = |blocks: u64| blocks * room.f_frsize;
        (bytes(room.f_blocks), bytes(room.f_blocks - room.f_bfree))
    };
    wait_until("all servers have told of their room", SOON, || room().0 > 0);
    let before = room().1;
    std::fs::write(mount.path("file"), vec![7; usize::try_from(SIZE).unwrap()]).unwrap();
    wait_until("what is written is used", SOON, || room().1 >= before + SIZE);
    let (total, used) = room();
    assert!(used < before + 2 * SIZE, "{used} bytes are in use, and were {before}");
    let on_disk = disk.f_blocks * disk.f_frsize;
    assert!(total <= on_disk + used, "{total} bytes on a disk of {on_disk}");
}
