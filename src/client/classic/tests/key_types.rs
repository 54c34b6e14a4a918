//! Originals that take keys of one type only.

use super::{Mount, kind_of};
use crate::client::classic::cluster::{Cluster, MASTER};
use crate::error::ErrorKind;
use crate::proto::classic::Dialect;
use crate::proto::form::{self, Form, Layout};

const DIALECTS: [Dialect; 2] = [Dialect::String, Dialect::Binary];

/// The form of a file that a mount has made.
fn form_of(cluster: &Cluster, path: &str, size: u64) -> Form {
    let (value, _) = cluster.value(Cluster::chunk(1).as_str(), path).unwrap();
    let (_, form) = Form::read(&value, size).unwrap();
    let (value, _) = cluster.value(MASTER, path).unwrap();
    assert_eq!(form::dialect_of(&value), Some(form.dialect), "{path}");
    form
}

async fn use_all(mount: &Mount) {
    mount.write("/f", b"hello").await.unwrap();
    assert_eq!(mount.read("/f").await.unwrap(), "hello");
    mount.mkdir("/d").await.unwrap();
    mount.rename("/f", "/d/größe").await.unwrap();
    mount.chmod("/d/größe", 0o600).await.unwrap();
    assert_eq!(mount.read("/d/größe").await.unwrap(), "hello");
    assert_eq!(mount.list("/d").await.unwrap().len(), 1);
    mount.unlink("/d/größe").await.unwrap();
    mount.rmdir("/d").await.unwrap();
    assert_eq!(mount.list("/").await.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn a_fresh_master_gets_keys_of_the_type_that_it_takes() {
    for (dialect, layout) in [(Dialect::String, Layout::Raw), (Dialect::Binary, Layout::Pickled)] {
        let cluster = Cluster::python_with_keys(1, dialect);
        let mount = Mount::new(&cluster).await;
        use_all(&mount).await;
        mount.write("/new", b"hello").await.unwrap();
        assert_eq!(form_of(&cluster, "/new", 5), Form { dialect, layout });
        // Once is enough to find out.
        cluster.take_calls();
        mount.stat("/none").await.unwrap_err();
        assert_eq!(cluster.take_calls(), [(MASTER.to_owned(), "get")]);
    }
}

#[tokio::test]
async fn a_root_is_found_under_the_key_that_the_master_takes() {
    for dialect in DIALECTS {
        for layout in [Layout::Raw, Layout::Pickled] {
            let cluster = Cluster::python_with_keys(1, dialect);
            let told = Mount::with(&cluster, Some(dialect), Some(layout)).await;
            told.write("/theirs", b"hello").await.unwrap();
            let mount = Mount::new(&cluster).await;
            assert_eq!(mount.read("/theirs").await.unwrap(), "hello");
            mount.write("/ours", b"hello").await.unwrap();
            assert_eq!(form_of(&cluster, "/ours", 5), Form { dialect, layout });
        }
    }
}

/// Keys and values need not be of the same type.
#[tokio::test]
async fn values_stay_in_the_type_of_the_root() {
    for keys in DIALECTS {
        let cluster = Cluster::python(1);
        let dialect = keys.other();
        Mount::with(&cluster, Some(dialect), None).await;
        for url in [MASTER, Cluster::chunk(1).as_str()] {
            cluster.set_keys(url, keys);
        }
        let mount = Mount::new(&cluster).await;
        use_all(&mount).await;
        mount.write("/new", b"hello").await.unwrap();
        assert_eq!(form_of(&cluster, "/new", 5).dialect, dialect);
    }
}

#[tokio::test]
async fn every_server_gets_the_keys_that_it_takes() {
    for of_master in DIALECTS {
        let cluster = Cluster::python_with_keys(1, of_master);
        cluster.set_keys(Cluster::chunk(1).as_str(), of_master.other());
        use_all(&Mount::new(&cluster).await).await;
    }
}

#[tokio::test]
async fn a_dialect_that_was_asked_for_and_is_wrong_is_an_error_that_says_so() {
    for (dialect, option) in [(Dialect::String, "binary"), (Dialect::Binary, "string")] {
        let all = Cluster::python_with_keys(1, dialect.other());
        let chunk = Cluster::python(1);
        chunk.set_keys(Cluster::chunk(1).as_str(), dialect.other());
        for (cluster, server) in [(&all, MASTER), (&chunk, Cluster::chunk(1).as_str())] {
            let error = Mount::try_with(cluster, Some(dialect), None).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.message().contains(&format!("--dialect {option}")), "{error}");
            assert!(error.message().contains(server), "{error}");
        }
    }
}

#[tokio::test]
async fn names_that_are_no_text_have_no_place_where_keys_are_strings() {
    let cluster = Cluster::python_with_keys(1, Dialect::String);
    for dialect in [None, Some(Dialect::String)] {
        let mount = Mount::with(&cluster, dialect, None).await;
        assert_eq!(kind_of(mount.write("/a\rb", b"x").await), ErrorKind::InvalidArgument);
        use_all(&mount).await;
    }
}
