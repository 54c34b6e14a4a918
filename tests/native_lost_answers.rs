//! A change that the master made, or makes later, and whose answer was lost: the mount sees it as it
//! is, and the kernel is told.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

mod fake_cluster;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use fake_cluster::{FakeCluster, Mishap};

use htfs::client::native::NativeFs;
use htfs::client::vfs::{Notify, OpenFlags};
use htfs::error::{ErrorKind, Result};
use tokio::sync::oneshot::{Receiver, channel};

use htfs::types::{Attr, Credentials, Ino, Name, RenameMode, SetAttr};

const ROOT: Credentials = Credentials::ROOT;
const READ_WRITE: OpenFlags = OpenFlags(libc::O_RDWR);

type Fs = Arc<NativeFs<FakeCluster>>;

/// What the kernel was told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    /// Whether it was told this, since it was asked last about anything.
    fn take(&self, what: &str) -> bool {
        let told = std::mem::take(&mut *self.0.lock().unwrap());
        told.iter().any(|told| told == what)
    }
}

impl Notify for Told {
    fn entry(&self, parent: Ino, name: &Name) {
        self.note(format!("{parent}/{}", String::from_utf8_lossy(name.as_bytes())));
    }

    fn attributes(&self, ino: Ino) {
        self.note(format!("attributes {ino}"));
    }

    fn contents(&self, ino: Ino) {
        self.note(format!("contents {ino}"));
    }

    fn is_behind(&self) -> bool {
        false
    }

    fn attributes_now(&self, now: &Attr) {
        self.attributes(now.ino);
    }

    fn contents_now(&self, ino: Ino) {
        self.contents(ino);
    }

    fn range_now(&self, ino: Ino, _: u64, _: u64) {
        self.contents(ino);
    }

    fn contents_in_turn(&self, ino: Ino) -> Receiver<()> {
        self.contents(ino);
        let (done, told) = channel();
        done.send(()).unwrap();
        told
    }

    fn size(&self, _: Ino) -> Option<u64> {
        None
    }
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes().to_vec()).unwrap()
}

fn open<T>(outcome: Result<T>) {
    let kind = outcome.err().map(|error| error.kind());
    assert!(kind.is_some_and(ErrorKind::leaves_outcome_open), "{kind:?}");
}

async fn find(fs: &Fs, text: &str) -> Option<Ino> {
    fs.lookup(Ino::ROOT, &name(text), &ROOT).await.ok().map(|attr| attr.ino)
}

async fn until(mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition().await {
        assert!(Instant::now() < deadline, "it did not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_name_is_as_the_master_has_it() {
    let cluster = FakeCluster::new();
    let (fs, _guard) = cluster.client().await;
    let told = Arc::new(Told::default());
    fs.notify_with(Arc::clone(&told) as Arc<dyn Notify>);
    let (root, a, b) = (Ino::ROOT, name("a"), name("b"));

    assert_eq!(find(&fs, "a").await, None);
    cluster.lose("fs.mkdir", Mishap::AnswerLost);
    open(fs.mkdir(root, &a, 0o755, &ROOT).await);
    let ino = find(&fs, "a").await.expect("it was made");
    assert!(told.take(&format!("{root}/a")));

    assert_eq!(find(&fs, "b").await, None);
    cluster.lose("fs.rename", Mishap::AnswerLost);
    open(fs.rename((root, &a), (root, &b), RenameMode::Replace, &ROOT).await);
    assert_eq!((find(&fs, "a").await, find(&fs, "b").await), (None, Some(ino)));
    assert!(told.take(&format!("{root}/b")));

    fs.rename((root, &b), (root, &a), RenameMode::Replace, &ROOT).await.unwrap();
    assert_eq!(find(&fs, "b").await, None);
    cluster.lose("fs.create", Mishap::AnswerLost);
    open(fs.create(root, &b, 0o644, READ_WRITE, &ROOT).await);
    let file = find(&fs, "b").await.expect("it was made");

    let c = name("c");
    assert_eq!(find(&fs, "c").await, None);
    cluster.lose("fs.link", Mishap::AnswerLost);
    open(fs.link(file, root, &c, &ROOT).await);
    assert_eq!(find(&fs, "c").await, Some(file));
    assert_eq!(fs.getattr(file).await.unwrap().nlink, 2);

    told.take("");
    cluster.lose("fs.unlink", Mishap::AnswerLost);
    open(fs.unlink(root, &c, &ROOT).await);
    assert!(told.take(&format!("attributes {file}")), "it has a name less");
    assert_eq!(find(&fs, "c").await, None);
    assert_eq!(fs.getattr(file).await.unwrap().nlink, 1);
}

#[tokio::test]
async fn an_inode_is_as_the_master_has_it() {
    let cluster = FakeCluster::new();
    let (fs, _guard) = cluster.client().await;
    let told = Arc::new(Told::default());
    fs.notify_with(Arc::clone(&told) as Arc<dyn Notify>);
    let (attr, file) = fs.create(Ino::ROOT, &name("f"), 0o644, READ_WRITE, &ROOT).await.unwrap();
    fs.write(file.handle, 0, Bytes::from_static(b"0123456789"), false, &ROOT).await.unwrap();
    fs.flush(file.handle, 1).await.unwrap();
    assert_eq!(fs.read(file.handle, 0, 100).await.unwrap(), "0123456789");
    cluster.lose("fs.setattr", Mishap::AnswerLost);
    let cut = SetAttr { size: Some(4), ..SetAttr::default() };
    open(fs.setattr(attr.ino, None, cut, &ROOT).await);
    assert!(told.take(&format!("contents {}", attr.ino)));
    assert_eq!(fs.getattr(attr.ino).await.unwrap().size, 4);
    assert_eq!(fs.read(file.handle, 0, 100).await.unwrap(), "0123");

    cluster.lose("fs.append", Mishap::AnswerLost);
    open(fs.write(file.handle, 4, Bytes::from_static(b"45"), true, &ROOT).await);
    assert_eq!(fs.getattr(attr.ino).await.unwrap().size, 6, "the place was made");
    assert_eq!(fs.read(file.handle, 0, 100).await.unwrap(), "0123\0\0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_made_after_all_is_told() {
    let cluster = FakeCluster::new();
    let (fs, _guard) = cluster.client().await;
    let told = Arc::new(Told::default());
    fs.notify_with(Arc::clone(&told) as Arc<dyn Notify>);
    let begin = Arc::new(tokio::sync::Notify::new());
    cluster.lose("fs.mkdir", Mishap::Late(Arc::clone(&begin)));
    open(fs.mkdir(Ino::ROOT, &name("late"), 0o755, &ROOT).await);
    // It is not there yet, and known not to be.
    assert_eq!(find(&fs, "late").await, None);
    told.take("");
    begin.notify_one();
    until(async || find(&fs, "late").await.is_some()).await;
    until(async || told.take(&format!("{}/late", Ino::ROOT))).await;
}
