//! What an `open` shows of that which another mount has just changed.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, StatxFlags, mknodat, statx};

use crate::common::mount::Mount;
use crate::common::turn;
use crate::{cluster, mounts};

/// Changes of each kind.
const ROUNDS: usize = 150;

/// The size that the kernel knows, without asking the file system: that which ends a mapping.
fn known_size(file: &File) -> u64 {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    statx(file, c"", flags, StatxFlags::SIZE).unwrap().stx_size
}

#[test]
fn an_open_after_a_close_elsewhere_knows_the_size() {
    let _turn = turn();
    let cluster = cluster();
    let [writer, reader]: [Mount; 2] = mounts(&cluster);
    let mut wrong = Vec::new();
    for round in 0..ROUNDS {
        let name = format!("file {}", round % 10);
        let (written, seen) = (writer.path(&name), reader.path(&name));
        let mut file = File::create(&written).unwrap();
        file.write_all(&vec![b'x'; round * 100]).unwrap();
        drop(file);
        let mut file = open_when_there(&seen);
        assert_eq!(known_size(&file), round as u64 * 100, "round {round}");
        assert_eq!(file.read_to_end(&mut Vec::new()).unwrap(), round * 100);
        let mut file = File::options().append(true).open(&written).unwrap();
        file.write_all(&[b'y'; 5000]).unwrap();
        drop(file);
        let mut file = File::open(&seen).unwrap();
        if known_size(&file) != round as u64 * 100 + 5000 {
            wrong.push(round);
        }
        let mut found = Vec::new();
        file.read_to_end(&mut found).unwrap();
        assert!(found.len() == round * 100 + 5000 && found.ends_with(b"yy"), "round {round}");
    }
    assert_eq!(wrong, [0; 0], "a mapping would have ended too early");
}

/// Opens a file that may be new: until the news arrive, a mount may take a name for absent.
fn open_when_there(path: &Path) -> File {
    loop {
        match File::open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return opened.unwrap(),
        }
    }
}

#[test]
fn what_was_replaced_elsewhere_is_not_opened() {
    let _turn = turn();
    let cluster = cluster();
    let [writer, reader]: [Mount; 2] = mounts(&cluster);
    for round in 0..ROUNDS {
        let (name, new) = (format!("file {round}"), format!("new {round}"));
        fs::write(writer.path(&name), "old").unwrap();
        let held = open_when_there(&reader.path(&name));
        let is_held = round % 2 == 0;
        let held = is_held.then_some(held);
        fs::write(writer.path(&new), "new").unwrap();
        fs::rename(writer.path(&new), writer.path(&name)).unwrap();
        let found = fs::read_to_string(reader.path(&name)).unwrap();
        assert_eq!(found, "new", "round {round}, the old file is held: {is_held}");
        drop(held);
    }
}

#[test]
fn a_name_that_has_become_something_else_elsewhere_is_opened_as_that() {
    let _turn = turn();
    let cluster = cluster();
    let [maker, opener]: [Mount; 2] = mounts(&cluster);
    fs::write(maker.path("target"), "").unwrap();
    let mut append = File::options();
    append.append(true).create(true).custom_flags(libc::O_NONBLOCK);
    for round in 0..ROUNDS {
        let (link, fifo) = (format!("link {round}"), format!("fifo {round}"));
        // The kernel knows that there is nothing yet.
        assert!(!opener.path(&link).exists() && !opener.path(&fifo).exists());
        symlink("target", maker.path(&link)).unwrap();
        append.open(opener.path(&link)).unwrap().write_all(b"x").unwrap();
        let (mode, directory) = (Mode::from_raw_mode(0o644), File::open(maker.root()).unwrap());
        mknodat(&directory, fifo.as_str(), FileType::Fifo, mode, 0).unwrap();
        let refused = append.open(opener.path(&fifo)).map(|_| ()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENXIO), "nobody reads from the fifo");
    }
    assert_eq!(fs::read(maker.path("target")).unwrap().len(), ROUNDS);
}
