//! Chunks, sizes, appends and truncations.

use super::{ROOT, Scene, alice, name, refusal};
use crate::error::{ErrorKind, Result};
use crate::limits::{CHUNK_SIZE, CUTS_PENDING_MAX, FILE_SIZE_MAX};
use crate::master::namespace::{ChunkUse, Namespace, Reaped};
use crate::types::{Attr, ChunkLayout, Cut, Ino, ServerId, SetAttr};

fn servers() -> Vec<ServerId> {
    vec![ServerId::new(1), ServerId::new(2)]
}

fn allocate(scene: &mut Scene, ino: Ino, index: u64) -> ChunkLayout {
    scene.run(|ns| ns.allocate(ino, index, &servers())).unwrap()
}

fn written(chunk: &ChunkLayout, bytes: u64) -> ChunkUse {
    ChunkUse { key: chunk.key, version: chunk.version, bytes }
}

/// Allocates, writes and reports `bytes` at the beginning of a chunk.
fn write(scene: &mut Scene, ino: Ino, index: u64, bytes: u64) -> ChunkLayout {
    let chunk = allocate(scene, ino, index);
    let end = index * CHUNK_SIZE + bytes;
    scene.run(|ns| ns.extend(&alice(), ino, end, &[written(&chunk, bytes)])).unwrap();
    chunk
}

fn truncate(scene: &mut Scene, ino: Ino, size: u64) -> Result<Attr> {
    let set = SetAttr { size: Some(size), ..SetAttr::default() };
    scene.run(|ns| ns.setattr(&alice(), ino, &set))
}

fn layout(scene: &Scene, ino: Ino) -> Vec<ChunkLayout> {
    scene.look(|view| view.layout(ino, 0, usize::MAX)).unwrap().chunks
}

#[test]
fn a_write_counts_when_it_is_reported() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let before = scene.attr(file);
    let chunk = write(&mut scene, file, 2, 100);
    assert_eq!(allocate(&mut scene, file, 2).key, chunk.key, "a chunk is made once");
    let after = scene.attr(file);
    assert_eq!((after.size, after.bytes), (2 * CHUNK_SIZE + 100, 100));
    assert!(after.data_version > before.data_version);
    assert_eq!(scene.look(|v| v.statfs()).unwrap().bytes, 100);
    write(&mut scene, file, 0, CHUNK_SIZE);
    let page = scene.look(|view| view.layout(file, 0, 1)).unwrap();
    assert_eq!((page.size, page.is_last, page.chunks[0].key.index), (after.size, false, 0));
    let page = scene.look(|view| view.layout(file, 1, 9)).unwrap();
    assert_eq!((page.is_last, page.chunks.len()), (true, 1), "chunk 1 is a hole");
}

#[test]
fn pages_of_a_layout_have_every_chunk_once_wherever_they_begin() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let written = [0, 3, 15, 16, 17, 40, 41];
    for index in written {
        write(&mut scene, file, index, 10);
    }
    // Made by writers that have not come to report them: behind the end.
    let behind = [42, 60];
    for index in behind {
        allocate(&mut scene, file, index);
    }
    let all = [written.as_slice(), &behind].concat();
    for from in (0..62).chain([u64::MAX]) {
        let expected: Vec<u64> = all.iter().copied().filter(|index| *index >= from).collect();
        for limit in 1..=all.len() + 1 {
            let page = scene.look(|view| view.layout(file, from, limit)).unwrap();
            let found: Vec<u64> = page.chunks.iter().map(|chunk| chunk.key.index).collect();
            assert_eq!(found, expected[..limit.min(expected.len())], "{limit} from {from}");
            assert_eq!(page.is_last, found.len() < limit, "{limit} from {from}");
        }
    }
}

#[test]
fn room_for_an_append_is_given_back_unless_somebody_wrote_since() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let chunk = write(&mut scene, file, 0, 100);
    let room = |scene: &mut Scene, length| {
        let offset = scene.run(|ns| ns.append(&alice(), file, length)).unwrap();
        (offset, scene.attr(file).data_version)
    };
    let abort = |scene: &mut Scene, (offset, version)| {
        scene.run(|ns| ns.abort_append(&alice(), file, offset, version)).unwrap()
    };
    let first = room(&mut scene, 50);
    let after = abort(&mut scene, first);
    assert_eq!(after.size, 100);
    assert!(after.data_version > first.1, "who has read zeros forgets them");
    // What comes late of those bytes is refused.
    let cuts = layout(&scene, file)[0].cuts.clone();
    assert_eq!(cuts, [Cut { version: chunk.version + 1, keep: 100 }]);
    let late = scene.run(|ns| ns.extend(&alice(), file, 150, &[written(&chunk, 150)]));
    assert_eq!(refusal(late), ErrorKind::Stale);

    let (second, third) = (room(&mut scene, 10), room(&mut scene, 20));
    assert_eq!(abort(&mut scene, second).size, 130, "somebody has appended behind it");
    assert_eq!(abort(&mut scene, third).size, 110);
    assert_eq!(abort(&mut scene, second).size, 110, "and it is not known what he did");
    truncate(&mut scene, file, 0).unwrap();
    let whole = room(&mut scene, 10);
    assert_eq!(abort(&mut scene, whole).size, 0);
}

#[test]
fn appends_get_the_end_one_behind_the_other() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let mut append = |length| scene.run(|ns| ns.append(&alice(), file, length));
    assert_eq!([append(5).unwrap(), append(7).unwrap(), append(0).unwrap()], [0, 5, 12]);
    assert_eq!(refusal(append(FILE_SIZE_MAX)), ErrorKind::FileTooLarge);
    assert_eq!(scene.attr(file).size, 12);
    let answer = scene.run(|ns| ns.append(&alice(), Ino::ROOT, 1));
    assert_eq!(refusal(answer), ErrorKind::IsDirectory);
}

#[test]
fn truncation_forgets_chunks_and_cuts_one() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let old: Vec<_> = (0..4).map(|index| write(&mut scene, file, index, 1000)).collect();
    truncate(&mut scene, file, CHUNK_SIZE + 10).unwrap();
    let dropped: Vec<_> = scene.effects.dropped.iter().map(|chunk| chunk.key).collect();
    assert_eq!(dropped, [old[2].key, old[3].key]);
    let chunks = layout(&scene, file);
    assert_eq!((chunks[0].version, chunks[0].cuts.len()), (1, 0));
    assert_eq!((chunks[1].version, chunks[1].cuts_from), (2, 1));
    assert_eq!(chunks[1].cuts, [Cut { version: 2, keep: 10 }]);
    assert_eq!((scene.attr(file).bytes, chunks[1].bytes), (1010, 10));
    let again = allocate(&mut scene, file, 2);
    assert_ne!(again.key, old[2].key, "a key is never used for two things");
    assert_eq!(scene.look(|v| v.chunk_layout(again.key)).unwrap(), Some(again));
    assert_eq!(scene.look(|v| v.chunk_layout(old[2].key)).unwrap(), None);
}

#[test]
fn a_write_that_a_truncation_overtook_is_repeated() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let old = write(&mut scene, file, 0, 1000);
    truncate(&mut scene, file, 500).unwrap();
    let answer = scene.run(|ns| ns.extend(&alice(), file, 1000, &[written(&old, 1000)]));
    assert_eq!(refusal(answer), ErrorKind::Stale);
    let new = allocate(&mut scene, file, 0);
    scene.run(|ns| ns.extend(&alice(), file, 1000, &[written(&new, 1000)])).unwrap();
    assert!(layout(&scene, file)[0].cuts.is_empty(), "who could write has made the cut");
    truncate(&mut scene, file, 0).unwrap();
    let answer = scene.run(|ns| ns.extend(&alice(), file, 1000, &[written(&new, 1000)]));
    assert_eq!(refusal(answer), ErrorKind::Stale);
    assert_eq!(scene.attr(file).size, 0);
}

#[test]
fn cuts_wait_until_the_servers_have_made_them() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    write(&mut scene, file, 0, 1000);
    for size in [800, 900, 700, 2000, 750, 760] {
        truncate(&mut scene, file, size).unwrap();
    }
    let cuts = |scene: &Scene| layout(scene, file)[0].clone();
    // 900 and 2000 grew the file; 750 cut what had grown behind 700.
    let expected = [(3, 700), (4, 750)].map(|(version, keep)| Cut { version, keep });
    assert_eq!(cuts(&scene).cuts, expected);
    let done = |version| ChunkUse { version, ..written(&cuts(&scene), 700) };
    let (third, fourth) = (done(3), done(4));
    scene.run(|ns| ns.cut_done(third)).unwrap();
    assert_eq!((cuts(&scene).cuts_from, cuts(&scene).cuts.len()), (3, 1));
    scene.run(|ns| ns.cut_done(fourth)).unwrap();
    scene.run(|ns| ns.cut_done(third)).unwrap();
    assert_eq!((cuts(&scene).cuts_from, cuts(&scene).cuts.len(), cuts(&scene).bytes), (4, 0, 700));
}

#[test]
fn a_chunk_out_of_reach_takes_so_many_cuts() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    write(&mut scene, file, 0, 1000);
    let mut error = None;
    for size in 1..=(CUTS_PENDING_MAX as u64 + 1) {
        truncate(&mut scene, file, 1000).unwrap();
        error = truncate(&mut scene, file, size).err();
    }
    assert_eq!(error.unwrap().kind(), ErrorKind::Busy);
    truncate(&mut scene, file, 1).unwrap();
    assert_eq!(
        layout(&scene, file)[0].cuts.len(),
        1,
        "a shorter cut makes the longer ones needless"
    );
}

#[test]
fn what_is_unlinked_is_written_until_it_is_reaped() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    scene.run(|ns| ns.unlink(&ROOT, Ino::ROOT, &name("f"))).unwrap();
    write(&mut scene, file, 0, 10);
    write(&mut scene, file, 7, 10);
    assert_eq!(scene.run(|ns| ns.reap(file)).unwrap(), Reaped::All);
    assert_eq!(scene.effects.dropped.len(), 2);
    assert_eq!(scene.effects.dropped[0].replicas, servers());
    assert_eq!(scene.look(|v| v.statfs()).unwrap().bytes, 0);
}

#[test]
fn a_file_of_many_chunks_is_reaped_in_parts() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let size = 5000 * CHUNK_SIZE;
    let adopt = |ns: &mut Namespace<'_>| {
        let first = ns.reserve_contents(file)?;
        ns.adopt_contents(&alice(), first, size, &servers())
    };
    let chunks = scene.run(adopt).unwrap();
    assert_eq!((chunks.len(), scene.attr(file).bytes), (5000, size));
    scene.run(|ns| ns.unlink(&ROOT, Ino::ROOT, &name("f"))).unwrap();
    assert_eq!(scene.run(|ns| ns.reap(file)).unwrap(), Reaped::Part);
    let first = scene.effects.dropped.len();
    assert_eq!(scene.run(|ns| ns.reap(file)).unwrap(), Reaped::All);
    assert_eq!(first + scene.effects.dropped.len(), 5000);
}

#[test]
fn replaced_contents_are_new_chunks() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let old = write(&mut scene, file, 0, 1000);
    let one = &servers()[..1];
    let size = CHUNK_SIZE + 1;
    let first = scene.run(|ns| ns.reserve_contents(file)).unwrap();
    let new = scene.run(|ns| ns.adopt_contents(&alice(), first, size, one)).unwrap();
    assert_eq!(new, layout(&scene, file));
    assert_eq!(new.iter().map(|chunk| chunk.bytes).collect::<Vec<_>>(), [CHUNK_SIZE, 1]);
    assert_ne!(new[0].key, old.key);
    assert_eq!(scene.effects.dropped.len(), 1);
    assert_eq!(scene.attr(file).size, size);
}

#[test]
fn there_is_an_end_to_files_and_to_servers() {
    let mut scene = Scene::new();
    let file = scene.file(&alice(), Ino::ROOT, "f", 0o644);
    let answer = scene.run(|ns| ns.allocate(file, FILE_SIZE_MAX / CHUNK_SIZE + 1, &servers()));
    assert_eq!(refusal(answer), ErrorKind::FileTooLarge);
    assert_eq!(refusal(scene.run(|ns| ns.allocate(file, 0, &[]))), ErrorKind::NoSpace);
    assert_eq!(
        refusal(scene.run(|ns| ns.extend(&alice(), file, 1 << 63, &[]))),
        ErrorKind::FileTooLarge
    );
    assert_eq!(refusal(truncate(&mut scene, file, 1 << 63)), ErrorKind::FileTooLarge);
    truncate(&mut scene, file, FILE_SIZE_MAX).unwrap();
}

#[test]
fn contents_are_written_under_a_reserved_key_before_a_file_has_them() {
    let mut scene = Scene::new();
    let one = &servers()[..1];
    let reserved = scene.run(|ns| ns.reserve_file()).unwrap();
    let other = scene.file(&alice(), Ino::ROOT, "other", 0o644);
    assert_ne!(reserved.ino, other, "nobody else gets the number");
    let file = reserved.ino;
    let create = |ns: &mut Namespace<'_>| {
        ns.create_reserved(&alice(), file, Ino::ROOT, &name("f"), 0o640)?;
        ns.adopt_contents(&alice(), reserved, CHUNK_SIZE + 1, one)
    };
    let chunks = scene.run(create).unwrap();
    assert_eq!((chunks[0].key, chunks[1].key.index), (reserved, 1));
    assert_eq!(refusal(scene.run(create)), ErrorKind::Exists);
    let attr = scene.look(|view| view.walk(&[name("f")])).unwrap().expect("it is there");
    assert_eq!((attr.ino, attr.size, attr.mode), (file, CHUNK_SIZE + 1, 0o640));
    assert_eq!(scene.look(|view| view.walk(&[name("f"), name("g")])).unwrap(), None);

    // While the servers write, others write to the file, cut it and write again.
    let key = scene.run(|ns| ns.reserve_contents(file)).unwrap();
    let second = scene.run(|ns| ns.reserve_contents(file)).unwrap();
    truncate(&mut scene, file, 0).unwrap();
    let native = write(&mut scene, file, 0, 1000);
    let keys = [reserved, key, second, native.key];
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[..at].contains(key), "{key} is used twice");
    }
    let chunks = scene.run(|ns| ns.adopt_contents(&alice(), key, 5, one)).unwrap();
    assert_eq!((chunks[0].key, scene.attr(file).size), (key, 5));
    assert_eq!(scene.effects.dropped[0].key, native.key);
    // The one who was faster does not matter to the other.
    scene.run(|ns| ns.adopt_contents(&alice(), second, 7, one)).unwrap();
    assert_eq!(layout(&scene, file)[0].key, second);
}
