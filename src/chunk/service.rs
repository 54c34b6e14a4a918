//! The chunk server's methods: decode, ask the contents, answer.
//!
//! Whatever may take the disk's time runs where it keeps no other call waiting.

mod log;

use std::io::Write;
use std::sync::Arc;

use tokio::task::block_in_place;

use crate::chunk::contents::{Contents, ROLE};
use crate::chunk::index::Stored;
use crate::clock;
use crate::dump::Dump;
use crate::error::Result;
use crate::proto::classic::{Get, PrintContent, Put, ReadFile, WriteFile};
use crate::proto::server::{Replace, Replaced, SyncChunk};
use crate::proto::values::Done;
use crate::rpc::Registry;
use crate::store::print::print_line;
use crate::store::{DataDir, in_background};
use crate::types::Key;

/// All methods of a chunk server with these contents.
#[must_use]
pub fn registry(dir: &Arc<DataDir>, contents: &Arc<Contents>) -> Registry {
    let mut registry = Registry::default();
    add_table(&mut registry, contents);
    add_files(&mut registry, dir, contents);
    log::add_to(&mut registry, contents);
    registry
}

fn add_table(registry: &mut Registry, contents: &Arc<Contents>) {
    let own = Arc::clone(contents);
    registry.add(move |call: Get, _| {
        let entry = own.get(&call.key, clock::now());
        async move { Ok(entry?.map(|entry| entry.in_dialect(call.dialect))) }
    });
    let own = Arc::clone(contents);
    registry.add(move |call: Put, _| {
        let Put { key, value, ttl, .. } = call;
        let done = block_in_place(|| own.put(&key, value, ttl, clock::now()));
        async { done.map(|()| Done) }
    });
    let own = Arc::clone(contents);
    registry.add(move |call: Replace, _| {
        let Replace { key, expected, value, ttl, .. } = call;
        let replace = || own.replace(&key, expected.as_ref(), (value, ttl), clock::now());
        let done = block_in_place(replace);
        async { done.map(Replaced) }
    });
    let own = Arc::clone(contents);
    registry.add(move |_: SyncChunk, _| {
        let own = Arc::clone(&own);
        async move { in_background(move || own.sync()).await.map(|()| Done) }
    });
}

fn add_files(registry: &mut Registry, dir: &Arc<DataDir>, contents: &Arc<Contents>) {
    let (own, place) = (Arc::clone(contents), Arc::clone(dir));
    registry.add(move |call: ReadFile, _| {
        let (own, place, name) = (Arc::clone(&own), Arc::clone(&place), call.file_name);
        async move { in_background(move || read_file(&place, &own, &name)).await.map(|()| Done) }
    });
    let (own, place) = (Arc::clone(contents), Arc::clone(dir));
    let writing = Arc::new(tokio::sync::Mutex::new(()));
    registry.add(move |call: WriteFile, _| {
        let (own, place, name) = (Arc::clone(&own), Arc::clone(&place), call.file_name);
        let writing = Arc::clone(&writing);
        async move {
            // One at a time: each writes all there is.
            let _writing = writing.lock().await;
            in_background(move || write_file(&place, &own, &name)).await.map(|()| Done)
        }
    });
    let own = Arc::clone(contents);
    registry.add(move |_: PrintContent, _| {
        let own = Arc::clone(&own);
        async move { in_background(move || print_content(&own)).await.map(|()| Done) }
    });
    registry.weigh::<ReadFile>();
    registry.weigh::<WriteFile>();
    registry.weigh::<PrintContent>();
}

fn read_file(dir: &DataDir, contents: &Contents, name: &str) -> Result<()> {
    let path = dir.dump_to_read(name)?;
    let load = || contents.load(&Dump::open(&path, ROLE)?, clock::now());
    load().map_err(|error| error.context(name))
}

fn write_file(dir: &DataDir, contents: &Contents, name: &str) -> Result<()> {
    let path = dir.dump_to_write(name)?;
    contents.write_dump(&path).map_err(|error| error.context(name))
}

fn print_content(contents: &Contents) -> Result<()> {
    let mut after: Option<Key> = None;
    loop {
        let page = contents.page(after.as_ref())?;
        let mut out = std::io::stdout().lock();
        let Some((last, ..)) = page.last() else { return Ok(out.flush()?) };
        after = Some(last.clone());
        for (key, stored, value) in &page {
            let Stored { expires, .. } = stored;
            match value {
                Ok(value) => print_line(&mut out, key, value, *expires, clock::now())?,
                Err(error) => writeln!(out, "{key} cannot be read: {error}")?,
            }
        }
    }
}
