//! The sessions of clients: who is there, until when, and what each may hold open. Pure: times are
//! arguments, in milliseconds of a clock that never jumps.
//!
//! # When an orphan may go
//!
//! An inode without a name is freed when no session *can* hold it. What a session holds, the master
//! knows from two sides: it has opened the inode for it, or the session names it when it is renewed.
//! An entry goes when two renewals in a row do not name it: the first one may have been written
//! before the answer that opened the inode arrived, but not the second, which was sent after the
//! first was answered. And every session must have been renewed once after the inode became an
//! orphan, since after a restart of the master only the renewals tell what is open.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::error::{ErrorKind, FsError, Result};
use crate::limits;
use crate::proto::fs::SessionId;
use crate::rpc::Peer;
use crate::types::Ino;

/// Renewals in a row without an inode's name that end a hold.
const SILENT_RENEWALS: u8 = 2;

/// All sessions.
#[derive(Debug)]
pub struct Sessions {
    lease_ms: u64,
    live: BTreeMap<SessionId, Session>,
    /// What all of them together hold.
    held: usize,
}

#[derive(Debug)]
struct Session {
    client: String,
    /// Where its last call came from; not known after a restart, until the next renewal.
    peer: Peer,
    renewed: Timestamp,
    /// How many more renewals it takes until all it holds is known.
    untold: u8,
    /// What it may hold open, and how many more renewals may be silent about it.
    held: HashMap<Ino, u8>,
}

impl Sessions {
    /// None yet; each will last `lease` after its last renewal.
    #[must_use]
    pub fn new(lease: Duration) -> Self {
        let lease_ms = u64::try_from(lease.as_millis()).unwrap_or(u64::MAX);
        Self { lease_ms, live: BTreeMap::new(), held: 0 }
    }

    /// How long a session lasts after its last renewal, in milliseconds.
    #[must_use]
    pub fn lease_ms(&self) -> u64 {
        self.lease_ms
    }

    /// Begins a session of a client at `peer` with this number.
    ///
    /// # Errors
    /// `TooManyOpen` if there are too many, or too many of that peer.
    pub fn attach(
        &mut self,
        id: SessionId,
        client: &str,
        peer: Peer,
        now: Timestamp,
    ) -> Result<()> {
        let of_peer = self.live.values().filter(|session| session.peer == peer).count();
        if of_peer >= limits::SESSIONS_PER_PEER_MAX {
            let message = format!("there are {of_peer} sessions from there, and no room for more");
            return Err(FsError::new(ErrorKind::TooManyOpen, message));
        }
        self.add(id, Session::new(client, peer, now, 1))
    }

    /// Goes on with a session that was there before the master was restarted.
    ///
    /// # Errors
    /// `TooManyOpen` if there are too many.
    pub fn restore(&mut self, id: SessionId, client: &str, now: Timestamp) -> Result<()> {
        self.add(id, Session::new(client, Peer::Unknown, now, SILENT_RENEWALS))
    }

    fn add(&mut self, id: SessionId, session: Session) -> Result<()> {
        if self.live.len() >= limits::SESSIONS_MAX && !self.live.contains_key(&id) {
            let message = format!("there are {} sessions, and no room for more", self.live.len());
            return Err(FsError::new(ErrorKind::TooManyOpen, message));
        }
        self.live.insert(id, session);
        Ok(())
    }

    /// Which of these inodes a session is not known to hold.
    ///
    /// # Errors
    /// `BadHandle` if there is no such session; `TooManyOpen` if these are too many.
    pub fn unknown(&mut self, id: SessionId, open: &[Ino]) -> Result<Vec<Ino>> {
        if open.len() > limits::OPEN_INODES_MAX {
            return Err(too_many_open());
        }
        let held = &self.session(id)?.held;
        Ok(open.iter().copied().filter(|ino| !held.contains_key(ino)).collect())
    }

    /// Keeps a session alive, whose client is at `peer`; it names what it holds open.
    ///
    /// # Errors
    /// `BadHandle` if there is no such session; `TooManyOpen` if it holds too much.
    pub fn renew(&mut self, id: SessionId, peer: Peer, open: &[Ino], now: Timestamp) -> Result<()> {
        let new = self.unknown(id, open)?.len();
        if !self.has_room(peer, new) {
            return Err(too_many_open());
        }
        let session = self.session(id)?;
        let before = session.held.len();
        session.peer = peer;
        session.renewed = now;
        session.untold = session.untold.saturating_sub(1);
        session.held.retain(|_, silence| {
            *silence -= 1;
            *silence > 0
        });
        session.held.extend(open.iter().map(|ino| (*ino, SILENT_RENEWALS)));
        let after = session.held.len();
        self.held = (self.held + after).saturating_sub(before);
        Ok(())
    }

    /// Ends a session. Answers its client, if there was one.
    pub fn detach(&mut self, id: SessionId) -> Option<String> {
        let session = self.live.remove(&id)?;
        self.held -= session.held.len();
        Some(session.client)
    }

    /// Ends the sessions whose lease is over, and answers their numbers and clients.
    pub fn expire(&mut self, now: Timestamp) -> Vec<(SessionId, String)> {
        let lease_ms = self.lease_ms;
        let ended: Vec<_> = self
            .live
            .extract_if(.., |_, session| now.since_ms(session.renewed) > lease_ms)
            .collect();
        self.held -= ended.iter().map(|(_, session)| session.held.len()).sum::<usize>();
        ended.into_iter().map(|(id, session)| (id, session.client)).collect()
    }

    /// Checks that there is such a session.
    ///
    /// # Errors
    /// `BadHandle` if not.
    pub fn check(&self, id: SessionId) -> Result<()> {
        if self.live.contains_key(&id) { Ok(()) } else { Err(unknown()) }
    }

    /// Checks that a session may change something; session 0, which is nobody, may.
    ///
    /// # Errors
    /// `BadHandle` if there is no such session.
    pub fn check_author(&self, id: SessionId) -> Result<()> {
        if id == 0 { Ok(()) } else { self.check(id) }
    }

    /// Checks that a session can open one more inode; session 0, which is nobody, can.
    ///
    /// # Errors
    /// `BadHandle` if there is no such session; `TooManyOpen` if it holds too much.
    pub fn check_opener(&mut self, id: SessionId) -> Result<()> {
        if id != 0 && !self.may_open(id)? {
            return Err(too_many_open());
        }
        Ok(())
    }

    /// Notes that a session opens an inode. Session 0 is nobody, and holds nothing.
    ///
    /// # Errors
    /// `BadHandle` if there is no such session; `TooManyOpen` if it holds too much.
    pub fn opened(&mut self, id: SessionId, ino: Ino) -> Result<()> {
        if id == 0 {
            return Ok(());
        }
        if !self.session(id)?.held.contains_key(&ino) && !self.may_open(id)? {
            return Err(too_many_open());
        }
        if self.session(id)?.held.insert(ino, SILENT_RENEWALS).is_none() {
            self.held += 1;
        }
        Ok(())
    }

    /// Notes that an inode is not there: no session holds it, whatever was noted.
    pub fn is_gone(&mut self, id: SessionId, ino: Ino) {
        if let Some(session) = self.live.get_mut(&id)
            && session.held.remove(&ino).is_some()
        {
            self.held -= 1;
        }
    }

    fn may_open(&mut self, id: SessionId) -> Result<bool> {
        let session = self.session(id)?;
        let (count, peer) = (session.held.len(), session.peer);
        Ok(count < limits::OPEN_INODES_MAX && self.has_room(peer, 1))
    }

    /// Whether sessions of a peer can hold so many more inodes: all together have a limit, and up to
    /// half of it nobody counts whose they are.
    fn has_room(&self, peer: Peer, more: usize) -> bool {
        const SHARE: usize = limits::OPEN_INODES_TOTAL_MAX / 2;
        let total = self.held.saturating_add(more);
        let of_peer = || {
            let own = self.live.values().filter(|session| session.peer == peer);
            own.map(|session| session.held.len()).sum::<usize>()
        };
        total <= SHARE
            || (total <= limits::OPEN_INODES_TOTAL_MAX && of_peer().saturating_add(more) <= SHARE)
    }

    /// Whether some session may hold an inode that is an orphan since `orphaned`.
    #[must_use]
    pub fn may_hold(&self, ino: Ino, orphaned: Timestamp) -> bool {
        self.live.values().any(|session| {
            let has_told = session.untold == 0 && session.renewed > orphaned;
            !has_told || session.held.contains_key(&ino)
        })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    fn session(&mut self, id: SessionId) -> Result<&mut Session> {
        self.live.get_mut(&id).ok_or_else(unknown)
    }
}

impl Session {
    fn new(client: &str, peer: Peer, now: Timestamp, untold: u8) -> Self {
        Self { client: client.to_owned(), peer, renewed: now, untold, held: HashMap::new() }
    }
}

fn unknown() -> FsError {
    FsError::new(ErrorKind::BadHandle, "the session is over; a new one must be attached")
}

fn too_many_open() -> FsError {
    let (each, all) = (limits::OPEN_INODES_MAX, limits::OPEN_INODES_TOTAL_MAX);
    let message = format!("a session can have {each} files open, and all sessions {all}");
    FsError::new(ErrorKind::TooManyOpen, message)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Sessions;
    use crate::clock::Timestamp;
    use crate::error::ErrorKind;
    use crate::limits;
    use crate::rpc::Peer;
    use crate::types::Ino;

    const INO: Ino = Ino(7);

    fn with_sessions(ids: &[u64]) -> Sessions {
        let mut sessions = Sessions::new(Duration::from_millis(100));
        ids.iter()
            .for_each(|id| sessions.attach(*id, "test", Peer::Loopback, Timestamp(0)).unwrap());
        sessions
    }

    #[test]
    fn an_orphan_waits_until_every_session_has_been_silent_about_it() {
        let mut sessions = with_sessions(&[1, 2]);
        let orphaned = Timestamp(10);
        sessions.renew(1, Peer::Loopback, &[], Timestamp(20)).unwrap();
        assert!(sessions.may_hold(INO, orphaned), "the other one has said nothing yet");
        sessions.renew(2, Peer::Loopback, &[INO], Timestamp(20)).unwrap();
        assert!(sessions.may_hold(INO, orphaned));
        sessions.renew(2, Peer::Loopback, &[], Timestamp(30)).unwrap();
        assert!(sessions.may_hold(INO, orphaned), "once is not enough");
        sessions.renew(2, Peer::Loopback, &[], Timestamp(40)).unwrap();
        assert!(!sessions.may_hold(INO, orphaned));
    }

    #[test]
    fn a_renewal_that_was_under_way_does_not_end_a_new_hold() {
        let mut sessions = with_sessions(&[1]);
        sessions.opened(1, INO).unwrap();
        sessions.renew(1, Peer::Loopback, &[], Timestamp(20)).unwrap();
        assert!(sessions.may_hold(INO, Timestamp(10)));
        sessions.renew(1, Peer::Loopback, &[INO], Timestamp(30)).unwrap();
        sessions.renew(1, Peer::Loopback, &[], Timestamp(40)).unwrap();
        sessions.renew(1, Peer::Loopback, &[], Timestamp(50)).unwrap();
        assert!(!sessions.may_hold(INO, Timestamp(10)));
    }

    #[test]
    fn sessions_end_when_they_are_not_renewed() {
        let mut sessions = with_sessions(&[1, 2]);
        sessions.renew(2, Peer::Loopback, &[INO], Timestamp(60)).unwrap();
        assert!(sessions.expire(Timestamp(100)).is_empty());
        assert_eq!(sessions.expire(Timestamp(101)), [(1, "test".to_owned())]);
        assert_eq!(sessions.check(1).unwrap_err().kind(), ErrorKind::BadHandle);
        assert_eq!(sessions.check_author(1).unwrap_err().kind(), ErrorKind::BadHandle);
        assert!(sessions.check_author(2).is_ok() && sessions.check_author(0).is_ok());
        assert!(sessions.check(2).is_ok() && sessions.may_hold(INO, Timestamp(0)));
        assert!(sessions.detach(2).is_some() && sessions.detach(2).is_none());
        assert!(sessions.is_empty() && !sessions.may_hold(INO, Timestamp(0)));
    }

    #[test]
    fn after_a_restart_only_renewals_tell_what_is_open() {
        let mut sessions = with_sessions(&[]);
        sessions.restore(1, "test", Timestamp(0)).unwrap();
        // This one may have been under way since before the inode was opened.
        sessions.renew(1, Peer::Loopback, &[], Timestamp(10)).unwrap();
        assert!(sessions.may_hold(INO, Timestamp(0)));
        sessions.renew(1, Peer::Loopback, &[], Timestamp(20)).unwrap();
        assert!(!sessions.may_hold(INO, Timestamp(0)));
    }

    #[test]
    fn session_0_holds_nothing() {
        let mut sessions = with_sessions(&[]);
        sessions.opened(0, INO).unwrap();
        assert!(!sessions.may_hold(INO, Timestamp(0)));
        assert!(sessions.opened(3, INO).is_err());
    }

    #[test]
    fn one_peer_has_no_more_than_its_share_of_the_sessions() {
        let mut sessions = with_sessions(&[]);
        let greedy = Peer::V4([10, 0, 0, 1]);
        let taken = (1..)
            .take_while(|id| sessions.attach(*id, "greedy", greedy, Timestamp(0)).is_ok())
            .count();
        assert_eq!(taken, limits::SESSIONS_PER_PEER_MAX);
        sessions.attach(1 << 20, "other", Peer::V4([10, 0, 0, 2]), Timestamp(0)).unwrap();
        // Of those that go on after a restart nobody knows where they are, until they say something.
        let mut sessions = with_sessions(&[]);
        for id in 1..=taken as u64 {
            sessions.restore(id, "greedy", Timestamp(0)).unwrap();
            sessions.renew(id, greedy, &[], Timestamp(1)).unwrap();
        }
        let answer = sessions.attach(1 << 20, "greedy", greedy, Timestamp(1));
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::TooManyOpen);
    }

    #[test]
    fn what_all_sessions_hold_is_bounded() {
        let mut sessions = with_sessions(&[]);
        let (greedy, other) = (Peer::V4([10, 0, 0, 1]), Peer::V4([10, 0, 0, 2]));
        let open: Vec<Ino> = (0..limits::OPEN_INODES_MAX as u64).map(Ino).collect();
        let held = (1..)
            .take_while(|id| {
                sessions.attach(*id, "greedy", greedy, Timestamp(0)).unwrap();
                sessions.renew(*id, greedy, &open, Timestamp(0)).is_ok()
            })
            .count();
        assert_eq!(held * open.len(), limits::OPEN_INODES_TOTAL_MAX / 2);
        let refused = sessions.opened(held as u64 + 1, INO).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::TooManyOpen);
        sessions.attach(1 << 20, "other", other, Timestamp(0)).unwrap();
        sessions.renew(1 << 20, other, &open, Timestamp(0)).unwrap();
        // What goes makes room.
        assert!(sessions.detach(1).is_some());
        sessions.is_gone(2, open[0]);
        sessions.opened(held as u64 + 1, INO).unwrap();
        assert_eq!(sessions.expire(Timestamp(1000)).len(), held + 1);
        assert_eq!(sessions.held, 0);
    }
}
