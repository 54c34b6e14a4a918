//! Files that are opened, and what happens to their contents.

use std::sync::Arc;

use super::place::Choice;
use super::{FileSystem, Known, Origin, lock, placement_key};
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::master::namespace::{ChunkUse, CreateOpen, Namespace, PageRequest};
use crate::proto::Packed;
use crate::proto::fs::{
    AbortAppend, Append, Appended, Create, Extend, Layout, Open, OpenMode, Opened,
};
use crate::store::in_background;
use crate::types::{Access, Attr, ChunkLayout, Cookie, Credentials, FileKind, Ino, SetAttr};

/// What of a directory comes with opening it.
const BEGINNING: PageRequest = PageRequest {
    after: Cookie::START,
    until: None,
    limit: limits::OPENED_LISTING_MAX,
    with_attr: true,
};

impl FileSystem {
    pub(super) fn open(&self, call: Open) -> Result<Packed<Opened>> {
        let Open { ino, mode: Packed(mode), who: Packed(who), session } = call;
        lock(&self.sessions).opened(session, ino)?;
        let wanted = wanted(&mode);
        let found = self.look(|view| {
            let attr = view.open(&who, ino, wanted)?;
            let layout = match attr.kind {
                FileKind::Regular => view.layout(ino, 0, limits::OPENED_LAYOUT_MAX)?.chunks,
                _ => Vec::new(),
            };
            let is_directory = attr.kind == FileKind::Directory;
            let listing = is_directory.then(|| view.readdir(ino, BEGINNING)).transpose()?;
            Ok(Opened { attr, is_new: false, layout, parent: None, listing })
        });
        if found.as_ref().is_err_and(|error| error.kind() == ErrorKind::Stale) {
            lock(&self.sessions).is_gone(session, ino);
        }
        let opened = found?;
        if !has_to_change(&mode, &opened) {
            return Ok(Packed(opened));
        }
        let origin = Origin { session, known: Known::One(ino) };
        let choice = self.choice_for(&mode, &opened.layout);
        let changed = self.change(origin, |ns| {
            ns.view().open(&who, ino, wanted)?;
            begin(ns, &who, ino, &mode, choice.as_ref())
        });
        self.settle_opened(choice, changed.as_ref().ok());
        match changed {
            Err(error) if !mode.is_truncating && cannot_store(&error) => {
                tracing::debug!(%ino, "opened without a note of it: {error}");
                Ok(Packed(opened))
            }
            changed => changed.map(Packed),
        }
    }

    pub(super) fn create(&self, call: Create) -> Result<Packed<Opened>> {
        let Create { parent, name, mode, open: Packed(open), who: Packed(who), session } = call;
        lock(&self.sessions).check_opener(session)?;
        let choice = self.choice_for(&OpenMode { access: Access::WRITE, ..open }, &[]);
        let how = CreateOpen { is_exclusive: open.is_exclusive, wanted: wanted(&open) };
        let origin = Origin { session, known: Known::All };
        let opened = self.grow(origin, |ns| {
            let (attr, is_new) = ns.create(&who, parent, &name, mode, how)?;
            lock(&self.sessions).opened(session, attr.ino)?;
            let directory = Some(ns.view().getattr(parent)?);
            if !is_new && attr.kind != FileKind::Regular {
                let (layout, listing) = (Vec::new(), None);
                return Ok(Opened { attr, is_new, layout, parent: directory, listing });
            }
            let access = if is_new { open.access.and(Access::WRITE) } else { open.access };
            let open = OpenMode { access, is_truncating: open.is_truncating && !is_new, ..open };
            let opened = begin(ns, &who, attr.ino, &open, choice.as_ref())?;
            Ok(Opened { is_new, parent: directory, ..opened })
        });
        self.settle_opened(choice, opened.as_ref().ok());
        opened.map(Packed)
    }

    pub(super) fn layout(&self, call: Layout) -> Result<Packed<Vec<ChunkLayout>>> {
        let Layout { ino, index, count } = call;
        let limit = usize::try_from(count).unwrap_or(usize::MAX);
        let page = self.look(|view| view.layout(ino, index, limit))?;
        Ok(Packed(page.chunks))
    }

    pub(super) async fn extend(self: Arc<Self>, call: Extend) -> Result<Packed<Attr>> {
        let is_durable = call.written.0.is_durable;
        let attr = self.take_extent(call)?;
        if is_durable {
            in_background(move || self.store.sync()).await?;
        }
        Ok(attr)
    }

    fn take_extent(&self, call: Extend) -> Result<Packed<Attr>> {
        let Extend { ino, written, chunks: Packed(chunks), who: Packed(who), session } = call;
        let uses = chunks.iter().map(|chunk| ChunkUse {
            key: chunk.key,
            version: chunk.version,
            bytes: chunk.bytes,
        });
        let uses: Vec<ChunkUse> = uses.collect();
        let origin = Origin { session, known: Known::One(ino) };
        let attr = self.change(origin, |ns| {
            if written.0.is_modified {
                return ns.extend(&who, ino, written.0.end, &uses);
            }
            uses.iter().try_for_each(|used| ns.cut_done(*used))?;
            ns.view().getattr(ino)
        })?;
        if !uses.is_empty() {
            let mut state = self.master.state();
            for used in &uses {
                state.settle_chunk(&placement_key(&used.key), Some(used.bytes));
            }
        }
        Ok(Packed(attr))
    }

    pub(super) fn append(&self, call: Append) -> Result<Packed<Appended>> {
        let Append { ino, length, who: Packed(who), session } = call;
        let origin = Origin { session, known: Known::One(ino) };
        self.change(origin, |ns| {
            let offset = ns.append(&who, ino, length)?;
            let data_version = ns.view().getattr(ino)?.data_version;
            Ok(Packed(Appended { offset, data_version }))
        })
    }

    pub(super) fn abort_append(&self, call: AbortAppend) -> Result<Packed<Attr>> {
        let AbortAppend { ino, appended: Packed(appended), who: Packed(who), session } = call;
        let Appended { offset, data_version } = appended;
        let origin = Origin { session, known: Known::One(ino) };
        self.change(origin, |ns| ns.abort_append(&who, ino, offset, data_version)).map(Packed)
    }

    /// Servers for the first chunk of a file that is opened to be written and has none. Without a
    /// server that has room the file is opened all the same: it may never be written.
    fn choice_for(&self, mode: &OpenMode, layout: &[ChunkLayout]) -> Option<Choice> {
        let is_needed = mode.access.includes(Access::WRITE)
            && (mode.is_truncating || !begins_with_chunk_0(layout));
        if is_needed { self.choose().ok() } else { None }
    }

    fn settle_opened(&self, choice: Option<Choice>, opened: Option<&Opened>) {
        if let Some(choice) = choice {
            let first = opened.and_then(|opened| opened.layout.first());
            self.settle(choice, first.filter(|chunk| chunk.key.index == 0));
        }
    }
}

/// What the opener must be permitted: who cuts a file changes it.
fn wanted(mode: &OpenMode) -> Access {
    if mode.is_truncating { mode.access.and(Access::WRITE) } else { mode.access }
}

fn begins_with_chunk_0(layout: &[ChunkLayout]) -> bool {
    layout.first().is_some_and(|chunk| chunk.key.index == 0)
}

/// Whether opening a file so changes anything: its size, its layout, its time of access.
fn has_to_change(mode: &OpenMode, opened: &Opened) -> bool {
    let attr = &opened.attr;
    let is_read_first = mode.access.includes(Access::READ)
        && !mode.keeps_atime
        && (attr.atime <= attr.mtime || attr.atime <= attr.ctime);
    let needs_chunk = mode.access.includes(Access::WRITE) && !begins_with_chunk_0(&opened.layout);
    attr.kind == FileKind::Regular && (mode.is_truncating || needs_chunk || is_read_first)
}

/// Whether a disk stands in the way, full or failed: what it cannot take is no reason to keep a file
/// shut. The time of access does not matter that much, and the first chunk is placed by the write.
fn cannot_store(error: &FsError) -> bool {
    matches!(error.kind(), ErrorKind::NoSpace | ErrorKind::ReadOnly | ErrorKind::Io)
}

/// Opens a regular file that may be opened so.
fn begin(
    ns: &mut Namespace<'_>,
    who: &Credentials,
    ino: Ino,
    mode: &OpenMode,
    choice: Option<&Choice>,
) -> Result<Opened> {
    if mode.is_truncating {
        ns.setattr(who, ino, &SetAttr { size: Some(0), by_handle: true, ..SetAttr::default() })?;
    }
    if let Some(choice) = choice.filter(|_| mode.access.includes(Access::WRITE)) {
        ns.allocate(ino, 0, &choice.servers)?;
    }
    if mode.access.includes(Access::READ) && !mode.keeps_atime {
        ns.accessed(ino)?;
    }
    let attr = ns.view().getattr(ino)?;
    let layout = ns.view().layout(ino, 0, limits::OPENED_LAYOUT_MAX)?.chunks;
    Ok(Opened { attr, is_new: false, layout, parent: None, listing: None })
}
