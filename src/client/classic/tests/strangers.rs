//! What others have stored, and servers that fail.

use bytes::Bytes;

use super::{Mount, WHO, kind_of};
use crate::client::classic::cluster::{Cluster, MASTER};
use crate::client::vfs::Vfs;
use crate::error::ErrorKind;
use crate::pickle::{Attributes, Style};
use crate::proto::classic::Dialect;
use crate::proto::form::{self, Form, Layout};
use crate::types::{StoredValue, ValueKind};

#[tokio::test]
async fn a_dead_server_gives_errors_and_what_was_written_is_kept() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    mount.write("/f", b"old").await.unwrap();
    let handle = mount.open("/f").await.unwrap();
    mount.memory.read(handle, 0, 1).await.unwrap();
    mount.memory.write(handle, 0, Bytes::from_static(b"new"), false, WHO).await.unwrap();
    let server = Cluster::chunk(1);
    cluster.set_down(server.as_str(), true);
    assert_eq!(kind_of(mount.memory.fsync(handle).await), ErrorKind::Unreachable);
    assert_eq!(kind_of(mount.memory.flush(handle, 0).await), ErrorKind::Unreachable);
    assert_eq!(mount.memory.read(handle, 0, 9).await.unwrap(), "new");
    assert_eq!(kind_of(mount.list("/").await), ErrorKind::Unreachable);
    assert_eq!(kind_of(mount.write("/g", b"x").await), ErrorKind::Unreachable);
    assert_eq!(kind_of(mount.stat("/g").await), ErrorKind::NotFound);
    cluster.set_down(server.as_str(), false);
    mount.memory.fsync(handle).await.unwrap();
    assert_eq!(Mount::new(&cluster).await.read("/f").await.unwrap(), "new");
    mount.close(handle).await.unwrap();
    assert_eq!(mount.list("/").await.unwrap(), ["f"]);
}

fn put_python_file(cluster: &Cluster, path: &str, form: Form, contents: &[u8]) {
    let attributes = Attributes {
        mode: 0o100_644,
        nlink: 1,
        size: contents.len() as u64,
        contents: Some(Cluster::chunk(1)),
        ..Attributes::default()
    };
    let value = form.write(Bytes::copy_from_slice(contents));
    cluster.set_value(Cluster::chunk(1).as_str(), path, Some(value));
    let value = form::write_attributes(form.dialect, &attributes);
    cluster.set_value(MASTER, path, Some(value));
}

#[tokio::test]
async fn files_stay_in_the_form_that_others_gave_them() {
    for dialect in [Dialect::String, Dialect::Binary] {
        for layout in [Layout::Raw, Layout::Pickled] {
            let cluster = Cluster::python(1);
            let theirs = Form { dialect, layout };
            Mount::with(&cluster, Some(dialect), Some(layout))
                .await
                .write("/own", b"x")
                .await
                .unwrap();
            put_python_file(&cluster, "/f", theirs, b"hello");
            // A mount that is told nothing finds out, and one that is told otherwise keeps it.
            let (ours, other) = match dialect {
                Dialect::String => (Mount::new(&cluster).await, Dialect::Binary),
                Dialect::Binary => (Mount::new(&cluster).await, Dialect::String),
            };
            let told = Mount::with(&cluster, Some(other), Some(Layout::Pickled)).await;
            for (mount, before) in [(&ours, "hello"), (&told, "changed")] {
                assert_eq!(mount.read("/f").await.unwrap(), before);
                mount.write("/f", b"changed").await.unwrap();
                let (value, _) = cluster.value(Cluster::chunk(1).as_str(), "/f").unwrap();
                let (contents, form) = Form::read(&value, 7).unwrap();
                assert_eq!((&contents[..], form), (&b"changed"[..], theirs));
                let (value, _) = cluster.value(MASTER, "/f").unwrap();
                assert_eq!(form::dialect_of(&value), Some(dialect));
            }
            ours.write("/new", b"y").await.unwrap();
            let (value, _) = cluster.value(Cluster::chunk(1).as_str(), "/new").unwrap();
            assert_eq!(Form::read(&value, 1).unwrap().1, theirs);
        }
    }
}

#[tokio::test]
async fn what_is_damaged_gives_errors() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    mount.write("/f", b"abc").await.unwrap();
    let chunk = Cluster::chunk(1);
    let garbage = StoredValue { kind: ValueKind::Base64, bytes: "no pickle".into() };
    cluster.set_value(MASTER, "/g", Some(garbage.clone()));
    assert_eq!(kind_of(mount.stat("/g").await), ErrorKind::Protocol);
    cluster.set_value(chunk.as_str(), "/f", None);
    assert_eq!(kind_of(mount.read("/f").await), ErrorKind::Io);
    cluster.set_value(chunk.as_str(), "/", Some(garbage));
    assert_eq!(kind_of(mount.list("/").await), ErrorKind::Protocol);
    assert_eq!(kind_of(mount.mkdir("/d").await), ErrorKind::Protocol);
}

#[tokio::test]
async fn members_that_are_unknown_here_survive_every_change() {
    let cluster = Cluster::new(1);
    let mount = Mount::new(&cluster).await;
    put_python_file(&cluster, "/f", Form::default(), b"abc");
    let (value, _) = cluster.value(MASTER, "/f").unwrap();
    let mut attributes = form::read_attributes(&value).unwrap();
    attributes.others.push((crate::pickle::Value::str("theirs"), crate::pickle::Value::Int(42)));
    let bytes = attributes.write(Style::Compact);
    cluster.set_value(MASTER, "/f", Some(StoredValue { kind: ValueKind::Base64, bytes }));
    mount.chmod("/f", 0o600).await.unwrap();
    mount.write("/f", b"changed").await.unwrap();
    mount.rename("/f", "/g").await.unwrap();
    let (value, _) = cluster.value(MASTER, "/g").unwrap();
    let after = form::read_attributes(&value).unwrap();
    assert_eq!(after.others, attributes.others);
    assert_eq!((after.mode, after.size), (0o100_600, 7));
}
