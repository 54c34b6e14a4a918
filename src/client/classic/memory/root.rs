//! The beginning: finding the root directory, or making it, and seeing how others store things.

use crate::client::calls::Calls;
use crate::client::classic::cache::RecordCache;
use crate::client::classic::ht_proxy::{HtProxy, Record};
use crate::client::classic::inodes::Inodes;
use crate::client::classic::key_path::KeyPath;
use crate::client::classic::memory::{Memory, Shared};
use crate::client::classic::names::Names;
use crate::client::classic::open_files::OpenFiles;
use crate::client::classic::stat;
use crate::error::Result;
use crate::limits;
use crate::proto::form::{Form, Layout};
use crate::types::{Credentials, FileKind};

/// Files that are looked at to see how contents are stored.
const SAMPLES_MAX: usize = 8;

impl<C: Calls> Memory<C> {
    /// Opens the file system of a master; makes the root directory if there is none.
    ///
    /// What `layout` and the proxy's dialect leave open is as found in the root and its files; where
    /// there is nothing yet, in the dialect whose keys the master takes, `Binary` if it takes both,
    /// and as is usual in that. `owner` is the user and group of files whose dicts name none.
    ///
    /// # Errors
    /// What the servers answer, or that they do not; `NoSpace` if there is no chunk server.
    pub async fn open(
        proxy: HtProxy<C>,
        layout: Option<Layout>,
        owner: (u32, u32),
    ) -> Result<Self> {
        let root = KeyPath::root()?;
        let found = proxy.get(&root).await?;
        let seen = found.as_ref().map(|record| record.dialect);
        let dialect = proxy.told_dialect().or(seen).or(proxy.master_dialect()).unwrap_or_default();
        let proxy = proxy.with_dialect(dialect);
        let layout = match (layout, &found) {
            (Some(layout), _) => Some(layout),
            (None, Some(record)) => sample(&proxy, &root, record).await?,
            (None, None) => None,
        };
        let layout = layout.unwrap_or(Layout::usual(dialect));
        let form = Form { dialect, layout };
        if found.is_none() {
            make_root(&proxy, &root, form, owner).await?;
        }
        tracing::info!("new files are stored {layout:?}, in the {dialect:?} dialect");
        let shared = Shared {
            proxy,
            form,
            inodes: Inodes::new(root),
            records: RecordCache::default(),
            open: OpenFiles::default(),
            tree: tokio::sync::RwLock::default(),
            paths: Default::default(),
            owner,
        };
        Ok(Self { shared: shared.into() })
    }
}

/// How the first files in the root directory are stored, if there are any.
async fn sample<C: Calls>(
    proxy: &HtProxy<C>,
    root: &KeyPath,
    record: &Record,
) -> Result<Option<Layout>> {
    let list = proxy.get_contents(root, record).await?;
    let names = list.map(|list| Names::read(&list)).transpose()?;
    let names = names.map(|names| names.children(root)).unwrap_or_default();
    for name in names.iter().take(SAMPLES_MAX) {
        let path = root.child(name)?;
        let Some(record) = proxy.get(&path).await? else { continue };
        let size = record.attributes.size;
        if stat::kind(&record.attributes)? != FileKind::Regular
            || size > limits::FORM_PROBE_SIZE_MAX
        {
            continue;
        }
        // A sample that cannot be had says nothing; the mount must not fail because of it.
        let contents = proxy.get_contents(&path, &record).await.unwrap_or_default();
        if let Some((_, form)) = contents.and_then(|contents| Form::read(&contents, size)) {
            return Ok(Some(form.layout));
        }
    }
    Ok(None)
}

async fn make_root<C: Calls>(
    proxy: &HtProxy<C>,
    root: &KeyPath,
    form: Form,
    (uid, gid): (u32, u32),
) -> Result<()> {
    let who = Credentials { uid, gid, groups: Vec::new(), umask: 0 };
    let new = stat::new_attributes(FileKind::Directory, 0o755, &who, &Default::default());
    let list = Names::new(root).write(form)?;
    // Somebody else may have been faster; then there is only one server it can be on.
    proxy.put(root, list, |found| found.unwrap_or(new)).await?;
    Ok(())
}
