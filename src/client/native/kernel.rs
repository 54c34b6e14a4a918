//! What the kernel believes of a file that it opens, and what is done if that is not so.
//!
//! The answer to an open can only say that pages are old. Attributes come with the answer to a lookup,
//! which the kernel makes anew, once, if an open is answered `Stale`.

use tokio::time::timeout;

use super::data::Cluster;
use super::fs::NativeFs;
use super::stale;
use crate::error::Result;
use crate::limits;
use crate::types::{Attr, Change, Ino};

impl<C: Cluster> NativeFs<C> {
    /// Checks that the kernel opens the file that it means, as far as can be seen, and that it knows
    /// its size: it would take an old one for the end of the file.
    ///
    /// # Errors
    /// `Stale` if not.
    pub(super) async fn check_kernel(&self, now: &Attr) -> Result<()> {
        if now.nlink == 0 {
            self.forget_last_name(now.ino);
            return Err(stale("it has no name any more"));
        }
        if self.is_size_known(now) {
            return Ok(());
        }
        self.tell_contents(now).await;
        Err(stale("its size is not the one that the kernel knows"))
    }

    fn is_size_known(&self, now: &Attr) -> bool {
        let Some(notify) = self.notify.get() else { return true };
        // Somebody may be writing to it in this mount.
        let is_growing = || self.inodes.get(now.ino).is_some_and(|file| file.state().is_dirty());
        match notify.size(now.ino) {
            Some(size) => size == now.size || size > now.size && is_growing(),
            None => false,
        }
    }

    /// Tells the kernel of contents before their event does, and after all that it is being told: what
    /// it asks from then on is not disturbed by it.
    async fn tell_contents(&self, now: &Attr) {
        let Some(notify) = self.notify.get() else { return };
        self.cache.swap_pages(now.ino, now.data_version);
        let told = notify.contents_in_turn(now.ino);
        if !matches!(timeout(limits::KERNEL_TOLD_WAIT, told).await, Ok(Ok(()))) {
            self.cache.drop_pages(now.ino);
        }
    }

    /// The name under which the kernel knows an inode is not its name any more.
    pub(super) fn forget_last_name(&self, ino: Ino) {
        if let Some((parent, name)) = self.told.last_name(ino) {
            self.take_change(&Change::Entry(parent, name));
        }
    }

    /// What the kernel knows of attributes may be old: the news of another mount's change may still be
    /// on their way.
    pub(super) fn correct_kernel(&self, now: &Attr, known: Option<&Attr>) {
        if tracing::enabled!(tracing::Level::DEBUG) && !self.is_size_known(now) {
            tracing::debug!(ino = %now.ino, "the kernel may take another size for true");
        }
        if let Some(notify) = self.notify.get()
            && (known != Some(now) || notify.is_behind())
        {
            notify.attributes_now(now);
        }
    }
}
