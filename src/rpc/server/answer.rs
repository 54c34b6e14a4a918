//! From one HTTP request to its response.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use dxr::Value;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{ACCEPT, ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio_util::task::AbortOnDropHandle;

use crate::rpc::fault::Fault;
use crate::rpc::program::Program;
use crate::rpc::registry::{Caller, SERVER_MEANT};
use crate::rpc::server::Shared;
use crate::rpc::server::answer_room::ConnectionRoom;
use crate::rpc::server::memory::{NoRoom, Room, UNCOUNTED_MAX};
use crate::rpc::server::place::Phase;
use crate::rpc::server::places::Taken;
use crate::rpc::server::request::read;
use crate::rpc::wire::text::shortened;
use crate::rpc::wire::{ACCEPT_POST, Form, Message, MessageBody};

/// The body of a response, with the room it takes in memory.
pub(super) struct AnswerBody {
    body: MessageBody,
    /// `None` if it takes none that counts.
    held: Option<Arc<Held>>,
}

/// Room for an answer, until all of it has gone out.
struct Held {
    _room: Room,
    taken: Arc<Taken>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.taken.place().set_holds_room(false);
        self.taken.place().answered();
    }
}

/// A part of an answer on its way: the body itself is done as soon as the last one has been taken from
/// it, and then the room must not be somebody else's yet.
struct Part {
    bytes: Bytes,
    _held: Arc<Held>,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl AnswerBody {
    fn small(body: MessageBody) -> Self {
        Self { body, held: None }
    }

    fn counted(body: MessageBody, room: Room, taken: &Arc<Taken>) -> Self {
        taken.place().set_holds_room(true);
        let held = Held { _room: room, taken: Arc::clone(taken) };
        Self { body, held: Some(Arc::new(held)) }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(context);
        let Some(held) = &this.held else { return frame };
        frame.map_ok(|frame| {
            frame.map_data(|bytes| {
                held.taken.place().moved(bytes.len());
                Bytes::from_owner(Part { bytes, _held: Arc::clone(held) })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request that is not a call, or not one that can be read: the status, and what to do.
pub(super) struct Refusal(pub(super) StatusCode, pub(super) String);

/// The response to a request, and whether the request's body was left unread.
pub(super) async fn answer(
    request: Request<Incoming>,
    connection: &ConnectionRoom,
    caller: Caller,
) -> (Response<AnswerBody>, bool) {
    // Only who asks for it hears of a form that is not XML-RPC.
    let form = Form::named(request.headers().get(ACCEPT));
    let caller = caller.next_call(Program::of(request.headers()));
    let (mut response, is_refused) = answer_in(form, request, connection, caller).await;
    if form == Form::Binary {
        response.headers_mut().insert(ACCEPT_POST, form.media_type());
    }
    (response, is_refused)
}

async fn answer_in(
    form: Form,
    request: Request<Incoming>,
    connection: &ConnectionRoom,
    caller: Caller,
) -> (Response<AnswerBody>, bool) {
    let (shared, taken) = (connection.shared(), connection.taken());
    let form_of_call = Form::named(request.headers().get(CONTENT_TYPE));
    let call = match check(&request, shared) {
        Ok(()) => read(request.into_body(), form_of_call, shared, taken).await,
        Err(refusal) => Err(refusal),
    };
    taken.place().work();
    let outcome = match call {
        Ok((Ok((name, params)), _room)) => dispatch(shared, &name, params, caller).await,
        Ok((Err(fault), _room)) => Err(fault),
        Err(refusal) => {
            taken.place().begin(Phase::Idle);
            return (refuse(refusal), true);
        }
    };
    taken.place().set_holds_room(false);
    let room = connection.take();
    let body = match (outcome, room) {
        // It was not begun, and may be repeated.
        (Err(_), Err(NoRoom)) => {
            taken.place().begin(Phase::Idle);
            return (refuse(busy()), false);
        }
        (outcome, room) => {
            let body = outcome
                .and_then(|value| encoded(value, form))
                .unwrap_or_else(|fault| MessageBody::fault(&fault, form));
            with_room(body, room.unwrap_or_default(), connection, form).await
        }
    };
    let phase = if body.held.is_some() { Phase::Answering } else { Phase::Idle };
    taken.place().begin(phase);
    (respond(StatusCode::OK, body), false)
}

/// A body with room for it, some of which was taken before it was made.
async fn with_room(
    body: MessageBody,
    mut room: Room,
    connection: &ConnectionRoom,
    form: Form,
) -> AnswerBody {
    let size = body.memory();
    if size <= UNCOUNTED_MAX {
        return AnswerBody::small(body);
    }
    let answers = &connection.shared().answers;
    if answers.grow(connection.taken(), &mut room, size).await.is_err() {
        // Not "busy": the call has been carried out, and must not be repeated for this.
        let text = "the call was carried out, but there is no memory for its answer now";
        let fault = Fault::new(Fault::INTERNAL, text);
        return AnswerBody::small(MessageBody::fault(&fault, form));
    }
    room.shrink(size);
    AnswerBody::counted(body, room, connection.taken())
}

fn encoded(value: Value, form: Form) -> Result<MessageBody, Fault> {
    Message::answer(value)
        .and_then(|message| message.body(form))
        .map_err(|error| Fault::new(Fault::INTERNAL, error.to_string()))
}

fn check(request: &Request<Incoming>, shared: &Shared) -> Result<(), Refusal> {
    let path = request.uri().path();
    if path != "/" && path != "/RPC2" {
        let text = format!("There is no {}; XML-RPC is at /RPC2.", shortened(path));
        return Err(Refusal(StatusCode::NOT_FOUND, text));
    }
    if request.method() != Method::POST {
        let text = "This is an XML-RPC server; send calls by POST.".to_owned();
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, text));
    }
    if let Some(meant) = request.headers().get(SERVER_MEANT)
        && !shared.registry.is_meant(meant.as_bytes())
    {
        let text = "This is another server than the one that the call is for.".to_owned();
        return Err(Refusal(StatusCode::MISDIRECTED_REQUEST, text));
    }
    let encodings = request.headers().get_all(CONTENT_ENCODING);
    if encodings.iter().any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let text = "Compressed bodies are not supported; send plain XML.".to_owned();
        return Err(Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    match request.body().size_hint().exact() {
        Some(length) if length > shared.limits.body_size as u64 => Err(too_large(shared)),
        _ => Ok(()),
    }
}

pub(super) fn too_large(shared: &Shared) -> Refusal {
    let limit = shared.limits.body_size;
    let text = format!("The body is larger than {limit} bytes, the limit; send less at a time.");
    Refusal(StatusCode::PAYLOAD_TOO_LARGE, text)
}

pub(super) fn busy() -> Refusal {
    let text = "The server has too much in memory now; try again later.".to_owned();
    Refusal(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Carries out a call. A handler that panics fails alone.
async fn dispatch(
    shared: &Shared,
    name: &str,
    params: Vec<Value>,
    caller: Caller,
) -> Result<Value, Fault> {
    let outcome = if shared.registry.is_quick(name) {
        caught(shared.registry.dispatch(name, params, caller)).await
    } else {
        let (registry, name) = (Arc::clone(&shared.registry), name.to_owned());
        let call = async move { caught(registry.dispatch(&name, params, caller)).await };
        AbortOnDropHandle::new(shared.runtime.spawn(call)).await.unwrap_or_default()
    };
    match outcome {
        Some(outcome) => outcome,
        None => {
            tracing::error!("the handler of {} panicked", shortened(name));
            Err(internal())
        }
    }
}

pub(super) fn internal() -> Fault {
    Fault::new(Fault::INTERNAL, "internal error; the server's log says more")
}

/// The output of a future, `None` if it panics.
async fn caught<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Some),
        Err(_) => Poll::Ready(None),
    })
    .await
}

fn refuse(Refusal(status, mut text): Refusal) -> Response<AnswerBody> {
    text.push('\n');
    let mut response = respond(status, AnswerBody::small(MessageBody::text(text)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    // What is left of the request's body is not worth reading.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn respond(status: StatusCode, body: AnswerBody) -> Response<AnswerBody> {
    let media_type = body.body.form().media_type();
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
