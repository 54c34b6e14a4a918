//! Changes by this mount of which nobody knows whether they were made: the answer was lost. The
//! master may have made them, or may yet do so, and does not tell whom it has answered.
//!
//! So what they may have made untrue is dropped at once, here and in the kernel, and for as long as
//! such a call can still be on its way, the event stream tells this mount of its own changes, too,
//! from the last event on that was known before the call.

use std::sync::Mutex;
use std::time::Instant;

use super::data::Cluster;
use super::fs::NativeFs;
use super::lock;
use crate::error::Result;
use crate::limits;
use crate::types::{Change, Ino, Name};

/// How far the event stream was followed.
#[derive(Default)]
pub(super) struct Position(Mutex<Followed>);

#[derive(Clone, Copy, Default)]
struct Followed {
    last_event: u64,
    /// How often `last_event` was taken back or set anew: what was asked before goes on from where it
    /// was then.
    turns: u64,
    /// Until then the changes of this mount itself are told.
    own_until: Option<Instant>,
}

/// A question about what comes behind an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) after: u64,
    pub(super) own: bool,
    turns: u64,
}

impl Position {
    /// Begins the stream of a new session. What was on its way in the old one is news to it.
    pub(super) fn begin(&self, last_event: u64) {
        let mut followed = lock(&self.0);
        *followed = Followed { last_event, turns: followed.turns + 1, own_until: None };
    }

    /// What to ask next.
    pub(super) fn next(&self) -> Question {
        let Followed { last_event, turns, own_until } = *lock(&self.0);
        let own = own_until.is_some_and(|until| Instant::now() < until);
        Question { after: last_event, own, turns }
    }

    /// A question was answered, up to this event.
    pub(super) fn answered(&self, question: Question, last_event: u64) {
        let mut followed = lock(&self.0);
        if followed.turns == question.turns {
            followed.last_event = last_event;
        }
    }

    /// The answer to a call was lost that was sent after this event was known.
    fn doubt(&self, known: u64) {
        let mut followed = lock(&self.0);
        followed.last_event = followed.last_event.min(known);
        followed.turns += 1;
        followed.own_until = Some(Instant::now() + limits::OUTCOME_OPEN_MAX);
    }
}

impl<C: Cluster> NativeFs<C> {
    /// Passes the outcome of a change on. If nobody knows it, any attributes may have changed: those
    /// of what a name stood for are not known by their inode. `known` is the last event before.
    pub(super) fn note_outcome<T>(&self, outcome: Result<T>, known: u64) -> Result<T> {
        outcome.inspect_err(|error| {
            if error.kind().leaves_outcome_open() {
                self.told_log.info(&format!("doubt: {error}"), || {
                    format!("whether a change was made is not known: {error}")
                });
                self.session.position.doubt(known);
                self.cache.drop_attributes();
            }
        })
    }

    /// Passes the outcome of a change of names on. If it failed, what is known of these names is
    /// dropped: it may be why. If nobody knows the outcome, the kernel forgets them, too, with what
    /// they stood for.
    pub(super) fn forget_unless_done<T>(
        &self,
        outcome: Result<T>,
        names: &[(Ino, &Name)],
    ) -> Result<T> {
        let Err(error) = &outcome else { return outcome };
        for (parent, name) in names {
            if error.kind().leaves_outcome_open() {
                if let Some(Some(ino)) = self.cache.entry(*parent, name) {
                    self.take_change(&Change::Attributes(ino));
                }
                self.take_change(&Change::Attributes(*parent));
                self.take_change(&Change::Entry(*parent, (*name).clone()));
            } else {
                self.drop_name(*parent, name);
            }
        }
        outcome
    }

    /// Passes the outcome of a change of an inode on. If it failed, its attributes are asked for
    /// again; if nobody knows the outcome, what is known of its contents goes, too, if the change
    /// was `of_contents`.
    pub(super) fn forget_inode_unless_done<T>(
        &self,
        outcome: Result<T>,
        ino: Ino,
        of_contents: bool,
    ) -> Result<T> {
        let Err(error) = &outcome else { return outcome };
        match (error.kind().leaves_outcome_open(), of_contents) {
            (true, true) => self.take_change(&Change::Contents(ino, u64::MAX)),
            (true, false) => self.take_change(&Change::Attributes(ino)),
            (false, _) => self.cache.drop_attr(ino),
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::Position;

    #[test]
    fn a_lost_answer_takes_the_stream_back() {
        let position = Position::default();
        position.begin(10);
        let before = position.next();
        assert_eq!((before.after, before.own), (10, false));
        position.answered(before, 12);
        let waiting = position.next();
        position.doubt(11);
        position.answered(waiting, 20);
        let next = position.next();
        assert_eq!((next.after, next.own), (11, true), "what it was not told is told again");
        position.answered(next, 21);
        assert_eq!(position.next().after, 21);
        position.begin(30);
        assert_eq!((position.next().after, position.next().own), (30, false));
    }
}
