//! Room for the answers of one connection, taken before they are made.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rpc::registry::AnswerRoom;
use crate::rpc::server::Shared;
use crate::rpc::server::memory::{NoRoom, Room};
use crate::rpc::server::places::Taken;

/// What a connection has of the server, and the room for the answer of the call under way.
pub(super) struct ConnectionRoom {
    shared: Arc<Shared>,
    taken: Arc<Taken>,
    room: Mutex<Result<Room, NoRoom>>,
}

impl ConnectionRoom {
    /// For a connection with this place.
    pub(super) fn new(shared: Arc<Shared>, taken: Arc<Taken>) -> Self {
        Self { shared, taken, room: Mutex::new(Ok(Room::default())) }
    }

    /// What all connections share.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The connection's place.
    pub(super) fn taken(&self) -> &Arc<Taken> {
        &self.taken
    }

    /// The room that the call has taken for its answer, or that it did not get all it wanted.
    pub(super) fn take(&self) -> Result<Room, NoRoom> {
        std::mem::replace(&mut *self.lock(), Ok(Room::default()))
    }

    fn lock(&self) -> MutexGuard<'_, Result<Room, NoRoom>> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AnswerRoom for ConnectionRoom {
    fn take(&self, size: u64) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(async move {
            // Nobody else takes room meanwhile: a connection has one call at a time.
            let Ok(mut room) = self.take() else { return false };
            let wanted = room.size().saturating_add(size);
            let grown = self.shared.answers.grow(&self.taken, &mut room, wanted).await;
            *self.lock() = grown.map(|()| room);
            grown.is_ok()
        })
    }
}
