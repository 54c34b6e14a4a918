//! Appending: room first, which the master makes at the end of the file, then the bytes.

use std::sync::atomic::Ordering;

use super::data::Cluster;
use super::fs::NativeFs;
use super::inodes::OpenFile;
use crate::error::Result;
use crate::proto::Packed;
use crate::proto::fs::{AbortAppend, Append, Appended};
use crate::rpc::Patience;
use crate::types::{Credentials, Ino};

impl<C: Cluster> NativeFs<C> {
    /// Makes room at the end of the file.
    ///
    /// # Errors
    /// Those of the master, and of a flush.
    pub(super) async fn append(
        &self,
        file: &OpenFile,
        length: u64,
        who: &Credentials,
    ) -> Result<Appended> {
        // Bytes that were written here behind the end that the master knows come first.
        self.flush_inode(&file.inode).await?;
        let ino = file.inode.ino;
        let call = |session| Append { ino, length, who: Packed(who.clone()), session };
        let made = self.ask_in_session(call).await;
        let Packed(appended) = self.forget_inode_unless_done(made, ino, true)?;
        self.cache.drop_attr(file.inode.ino);
        let mut state = file.inode.state();
        state.is_stale = true;
        state.attr.size = state.attr.size.max(appended.offset + length);
        // Making room was a change; if it was not the only one, the answer to the next shows it.
        state.attr.data_version += 1;
        // Blocks that ended at the old end of the file have zeros where bytes will be.
        state.clean.clear();
        state.epoch += 1;
        Ok(appended)
    }

    /// Sends the bytes of an append at once: others read zeros where room was made, until they are
    /// there. If they cannot be sent, the room is given back, so that nobody meets zeros or a part of
    /// them.
    ///
    /// # Errors
    /// What stood in the way; the bytes are not kept for another attempt.
    pub(super) async fn finish_append(
        &self,
        file: &OpenFile,
        appended: Appended,
        length: u64,
        who: &Credentials,
    ) -> Result<()> {
        // Held until the bytes are forgotten: a flush that waits, as that of a close, would send them.
        let _turn = file.inode.turn.lock().await;
        let sent = match file.is_sync {
            true => self.sync_in_turn(&file.inode).await,
            false => self.flush_in_turn(&file.inode).await,
        };
        if sent.is_err() {
            // Whoever waited may have no time left, or be gone; the zeros would stay.
            let abort = self.abort_append(file, appended, length, who);
            Patience::default().scope(abort).await;
        }
        sent
    }

    /// The master gives the room back only if nobody has changed the file since, this mount included:
    /// bytes that somebody appended behind it stay where they are, and so does the room, as zeros.
    /// The caller holds the turn.
    async fn abort_append(
        &self,
        file: &OpenFile,
        appended: Appended,
        length: u64,
        who: &Credentials,
    ) {
        let inode = &file.inode;
        {
            let mut state = inode.state();
            let before = state.dirty.byte_count();
            state.forget_written(appended.offset, length);
            self.dirty_bytes.fetch_sub(before - state.dirty.byte_count(), Ordering::Relaxed);
        }
        let ino = inode.ino;
        let call = |session| {
            let (appended, who) = (Packed(appended), Packed(who.clone()));
            AbortAppend { ino, appended, who, session }
        };
        let fence = self.cache.fence();
        let aborted = self.ask_in_session(call).await;
        match self.forget_inode_unless_done(aborted, ino, true) {
            Ok(Packed(attr)) => {
                self.cache.renew_attr(&attr, &fence);
                // Somebody else may have made the change that there was.
                self.cache.drop_pages(ino);
                let mut state = inode.state();
                state.forget_contents();
                let is_refused = attr.size > appended.offset;
                state.attr = attr;
                drop(state);
                if is_refused {
                    self.tell_of_zeros(ino, "the file has been changed since");
                }
            }
            Err(error) => self.tell_of_zeros(ino, &error.to_string()),
        }
        let now = inode.state().attr.clone();
        self.notify.get().inspect(|notify| notify.attributes_now(&now));
    }

    fn tell_of_zeros(&self, ino: Ino, why: &str) {
        self.told_log.warn(&format!("zeros: {why}"), || {
            format!("{}: the room of an append that failed stays, as zeros: {why}", self.shown(ino))
        });
    }
}
