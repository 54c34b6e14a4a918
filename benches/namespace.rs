//! What one transaction of the namespace costs, in memory and in the store on the disk, in a
//! directory with 100,000 names: `cargo bench --bench namespace`.
#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first thing that is wrong")]

use std::cell::RefCell;
use std::hint::black_box;
use std::time::Instant;

use htfs::error::Result;
use htfs::master::namespace::{CreateOpen, Namespace, RootAttr, TABLES, View};
use htfs::store::{Memory, Store, Txn};
use htfs::types::{Access, Attr, Credentials, FileTime, Ino, Name, RenameMode, SetAttr};

const ROOT: Credentials = Credentials::ROOT;
const NAMES: usize = 100_000;
const MEASURED: usize = 20_000;

/// A place for transactions.
trait Tables {
    fn write<T>(&self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T>;

    fn read<T>(&self, work: impl FnOnce(View<'_>) -> Result<T>) -> Result<T>;

    fn change<T>(&self, work: impl FnOnce(&mut Namespace<'_>) -> Result<T>) -> T {
        self.write(|txn| work(&mut Namespace::new(txn, FileTime::default()))).unwrap()
    }
}

impl Tables for RefCell<Memory> {
    fn write<T>(&self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T> {
        self.borrow_mut().write(work)
    }

    fn read<T>(&self, work: impl FnOnce(View<'_>) -> Result<T>) -> Result<T> {
        self.borrow().read(|txn| work(View::new(txn)))
    }
}

impl Tables for Store {
    fn write<T>(&self, work: impl FnOnce(&mut dyn Txn) -> Result<T>) -> Result<T> {
        Self::write(self, work)
    }

    fn read<T>(&self, work: impl FnOnce(View<'_>) -> Result<T>) -> Result<T> {
        Self::read(self, |txn| work(View::new(txn)))
    }
}

fn main() {
    measure("memory", &RefCell::new(Memory::new()));
    let folder = tempfile::tempdir().unwrap();
    measure("disk", &Store::open(folder.path(), &TABLES).unwrap());
}

fn measure(place: &str, tables: &impl Tables) {
    tables.change(|names| names.format(1, RootAttr { mode: 0o755, uid: 0, gid: 0 }));
    let directory = tables.change(|names| names.mkdir(&ROOT, Ino::ROOT, &name("d", 0), 0o755)).ino;
    for number in 0..NAMES {
        create(tables, directory, &name("f", number));
    }
    row(place, "create", |number| {
        black_box(create(tables, directory, &name("g", number)));
    });
    row(place, "lookup", |number| {
        let name = name("f", spread(number));
        black_box(tables.read(|view| view.lookup(&ROOT, directory, &name)).unwrap());
    });
    row(place, "chmod", |number| {
        let mode = Some(u32::try_from(number % 512).unwrap());
        let ino = Ino(directory.0 + 1 + spread(number) as u64);
        tables.change(|names| names.setattr(&ROOT, ino, &SetAttr { mode, ..SetAttr::default() }));
    });
    row(place, "rename", |number| {
        let (from, to) = (name("g", number), name("h", number));
        let mode = RenameMode::Replace;
        tables.change(|n| n.rename(&ROOT, (directory, &from), (directory, &to), mode));
    });
    row(place, "unlink", |number| {
        tables.change(|names| names.unlink(&ROOT, directory, &name("h", number)));
    });
}

fn create(tables: &impl Tables, directory: Ino, name: &Name) -> Attr {
    let how = CreateOpen { is_exclusive: true, wanted: Access::WRITE };
    tables.change(|names| names.create(&ROOT, directory, name, 0o644, how)).0
}

fn name(prefix: &str, number: usize) -> Name {
    Name::new(format!("{prefix}{number:06}")).unwrap()
}

/// Numbers of files all over the directory.
fn spread(number: usize) -> usize {
    number * 7919 % NAMES
}

/// Prints the time of one operation.
fn row(place: &str, what: &str, mut work: impl FnMut(usize)) {
    let start = Instant::now();
    (0..MEASURED).for_each(&mut work);
    let each = start.elapsed() / u32::try_from(MEASURED).unwrap();
    println!("{place:>6} {what:>7} {:6.1} us", each.as_secs_f64() * 1e6);
}
