//! The body of a request, read while it arrives, with room for what has arrived.

use bytes::Bytes;
use dxr::Value;
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use tokio::time::Instant;

use crate::limits;
use crate::rpc::fault::Fault;
use crate::rpc::server::Shared;
use crate::rpc::server::answer::{Refusal, busy, internal, too_large};
use crate::rpc::server::memory::{Room, UNCOUNTED_MAX};
use crate::rpc::server::pace::Pace;
use crate::rpc::server::place::Phase;
use crate::rpc::server::places::Taken;
use crate::rpc::wire::{DecodeError, Decoder, Form};

/// XML above this size, in bytes, is made into values on a thread that may take its time.
const XML_SIZE_INLINE_MAX: usize = 256 << 10;

/// Memory that values take for each byte of XML they come from, at most about.
const XML_EXPANSION: u64 = 12;

/// Room that a body gets at a time, in bytes: what a peer has only announced takes none.
const ROOM_STEP: u64 = 256 << 10;

/// A call as it came, or the fault that answers it.
pub(super) type Call = Result<(String, Vec<Value>), Fault>;

/// A body that is being read.
struct Reading<'a> {
    shared: &'a Shared,
    taken: &'a Taken,
    pace: Pace,
    room: Room,
    /// Bytes that it may take before it needs more room.
    counted: u64,
}

/// Reads a body. One that cannot be decoded is read to its end all the same, so that the
/// connection can go on.
pub(super) async fn read(
    mut body: Incoming,
    form: Form,
    shared: &Shared,
    taken: &Taken,
) -> Result<(Call, Room), Refusal> {
    let announced = body.size_hint().exact();
    let mut reading = Reading::begin(shared, taken);
    let mut decoder = Ok(Decoder::for_call(form));
    let mut received = 0;
    while let Some(piece) = reading.next_piece(&mut body).await? {
        received += piece.len() as u64;
        if received > shared.limits.body_size as u64 {
            return Err(too_large(shared));
        }
        let expected = announced.map(|length| expected(length, received));
        if let Ok(decoding) = &mut decoder
            && let Err(error) = decoding.push(&piece, expected)
        {
            decoder = Err(error);
        }
        // Text in other encodings than UTF-8 may grow when it is read.
        reading.needs(decoder.as_ref().map_or(0, Decoder::text_size).max(received)).await?;
    }
    let xml_size = decoder.as_ref().map_or(0, Decoder::xml_size);
    if xml_size <= XML_SIZE_INLINE_MAX {
        return Ok((finish(decoder), reading.room));
    }
    taken.place().work();
    let size = received.saturating_add(xml_size as u64 * XML_EXPANSION);
    shared.requests.grow(taken, &mut reading.room, size).await.map_err(|_| busy())?;
    let finished = tokio::task::spawn_blocking(|| finish(decoder)).await;
    Ok((finished.unwrap_or_else(|_| Err(internal())), reading.room))
}

fn finish(decoder: Result<Decoder, DecodeError>) -> Call {
    decoder.and_then(Decoder::finish_call).map_err(Fault::from)
}

/// How much more of a body to reserve memory for: announced is not sent.
fn expected(announced: u64, received: u64) -> usize {
    let ahead = received.max(limits::BODY_AHEAD_MAX as u64);
    usize::try_from(announced.saturating_sub(received).min(ahead)).unwrap_or(0)
}

impl<'a> Reading<'a> {
    fn begin(shared: &'a Shared, taken: &'a Taken) -> Self {
        let pace =
            Pace::begin(shared.limits.stall_timeout, shared.limits.body_rate, Instant::now());
        Self { shared, taken, pace, room: Room::default(), counted: UNCOUNTED_MAX }
    }

    /// The next piece of the body, `None` after the last.
    async fn next_piece(&mut self, body: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
        loop {
            match tokio::time::timeout_at(self.pace.due(), body.frame()).await {
                Err(_) => {
                    let text =
                        "The body arrives too slowly, or not at all; send it without pauses.";
                    return Err(Refusal(StatusCode::REQUEST_TIMEOUT, text.to_owned()));
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => {
                    let text = format!("The body cannot be read: {error}.");
                    return Err(Refusal(StatusCode::BAD_REQUEST, text));
                }
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.pace.arrived(data.len(), Instant::now());
                        self.taken.place().moved(data.len());
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    /// Takes room until there is enough for so many bytes.
    async fn needs(&mut self, size: u64) -> Result<(), Refusal> {
        if size <= self.counted {
            return Ok(());
        }
        self.counted = size.next_multiple_of(ROOM_STEP);
        self.taken.place().set_holds_room(true);
        let (shared, taken) = (self.shared, self.taken);
        if shared.requests.try_grow(taken, &mut self.room, self.counted) {
            return Ok(());
        }
        // What the peer sends meanwhile stays where it is, and that is not its fault.
        let begun = Instant::now();
        taken.place().work();
        let grown = shared.requests.grow(taken, &mut self.room, self.counted).await;
        taken.place().resume(Phase::Receiving, begun.elapsed());
        self.pace.paused(begun.elapsed());
        grown.map_err(|_| busy())
    }
}
