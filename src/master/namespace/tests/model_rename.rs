//! The model's opinion on renaming.

use super::model::Model;
use super::ops::{Answer, Outcome, Place};
use crate::error::ErrorKind;
use crate::types::{Access, Credentials, FileKind, Ino, RenameMode};

impl Model {
    /// Whether `inner` is `outer` or below it.
    fn is_below(&self, inner: Ino, outer: Ino) -> bool {
        inner == outer || self.nodes[&outer].names.values().any(|next| self.is_below(inner, *next))
    }

    pub(super) fn rename(
        &mut self,
        who: &Credentials,
        from: &Place,
        to: &Place,
        mode: RenameMode,
    ) -> Outcome {
        self.search(who, from.0)?;
        self.search(who, to.0)?;
        let moved = self.find(from).ok_or(ErrorKind::NotFound)?;
        if self.is_dead(to.0) {
            return Err(ErrorKind::NotFound);
        }
        let taken = self.find(to);
        let is_exchange = mode == RenameMode::Exchange;
        match (mode, taken) {
            (RenameMode::NoReplace, Some(_)) => return Err(ErrorKind::Exists),
            (RenameMode::Exchange, None) => return Err(ErrorKind::NotFound),
            _ => {}
        }
        if from.0 != to.0 && self.is_below(to.0, moved) {
            return Err(ErrorKind::InvalidArgument);
        }
        if from.0 != to.0 && taken.is_some_and(|taken| self.is_below(from.0, taken)) {
            let kinds = [ErrorKind::NotEmpty, ErrorKind::InvalidArgument];
            return Err(kinds[usize::from(is_exchange)]);
        }
        if taken == Some(moved) {
            return Ok(Answer::Done);
        }
        self.may_take(who, from.0, moved)?;
        let is_directory = |ino: Ino| self.nodes[&ino].kind == FileKind::Directory;
        match taken {
            None => self.may_add(who, to.0)?,
            Some(taken) => {
                self.may_take(who, to.0, taken)?;
                match (is_directory(moved), is_directory(taken)) {
                    _ if is_exchange => {}
                    (true, false) => return Err(ErrorKind::NotDirectory),
                    (false, true) => return Err(ErrorKind::IsDirectory),
                    _ => {}
                }
            }
        }
        let goes_elsewhere = [Some(moved), taken.filter(|_| is_exchange)];
        for ino in goes_elsewhere.into_iter().flatten().filter(|ino| is_directory(*ino)) {
            if from.0 != to.0 {
                self.nodes[&ino].permits(who, Access::WRITE)?;
            }
        }
        let has_names = |taken: Ino| !self.nodes[&taken].names.is_empty();
        if !is_exchange && taken.is_some_and(has_names) {
            return Err(ErrorKind::NotEmpty);
        }
        self.set_name(from, taken.filter(|_| is_exchange));
        self.set_name(to, Some(moved));
        for ino in [Some(moved), taken].into_iter().flatten() {
            self.changed(ino);
        }
        Ok(Answer::Done)
    }
}
