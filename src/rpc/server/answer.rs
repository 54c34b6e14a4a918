//! From one HTTP request to its response.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dxr::Value;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{ACCEPT, ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::limits;
use crate::rpc::fault::Fault;
use crate::rpc::program::Program;
use crate::rpc::registry::{Caller, SERVER_MEANT};
use crate::rpc::server::Shared;
use crate::rpc::server::memory::{Room, UNCOUNTED_MAX};
use crate::rpc::wire::text::shortened;
use crate::rpc::wire::{ACCEPT_POST, DecodeError, Decoder, Form, Message, MessageBody};

/// XML above this size, in bytes, is made into values on a thread that may take its time.
const XML_SIZE_INLINE_MAX: usize = 256 << 10;

/// Memory that values take for each byte of XML they come from, at most about.
const XML_EXPANSION: u64 = 12;

/// Room that a body gets at a time when it takes more than it announced, or announced nothing, in
/// bytes.
const MORE_ROOM_SIZE: u64 = 1 << 20;

/// The body of a response, with the room it takes in memory.
pub(super) struct AnswerBody {
    body: MessageBody,
    _room: Room,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A request that is not a call, or not one that can be read: the status, and what to do.
struct Refusal(StatusCode, String);

/// A call as it came, or the fault that answers it.
type Call = Result<(String, Vec<Value>), Fault>;

/// The response to a request, and whether the request's body was left unread.
pub(super) async fn answer(
    request: Request<Incoming>,
    shared: &Shared,
    caller: Caller,
) -> (Response<AnswerBody>, bool) {
    // Only who asks for it hears of a form that is not XML-RPC.
    let form = Form::named(request.headers().get(ACCEPT));
    let caller = caller.next_call(Program::of(request.headers()));
    let (mut response, is_refused) = answer_in(form, request, shared, caller).await;
    if form == Form::Binary {
        response.headers_mut().insert(ACCEPT_POST, form.media_type());
    }
    (response, is_refused)
}

async fn answer_in(
    form: Form,
    request: Request<Incoming>,
    shared: &Shared,
    caller: Caller,
) -> (Response<AnswerBody>, bool) {
    let form_of_call = Form::named(request.headers().get(CONTENT_TYPE));
    let call = match check(&request, shared) {
        Ok(()) => read(request.into_body(), form_of_call, shared).await,
        Err(refusal) => Err(refusal),
    };
    let outcome = match call {
        Ok((Ok((name, params)), _room)) => dispatch(shared, &name, params, caller).await,
        Ok((Err(fault), _room)) => Err(fault),
        Err(refusal) => return (refuse(refusal), true),
    };
    let body = outcome
        .and_then(|value| encoded(value, form))
        .unwrap_or_else(|fault| MessageBody::fault(&fault, form));
    match shared.answers.room(body.length()).await {
        Some(room) => (respond(StatusCode::OK, body, room), false),
        None => {
            // Not "busy": the call has been carried out, and must not be repeated for this.
            let text = "the call was carried out, but there is no memory for its answer now";
            let body = MessageBody::fault(&Fault::new(Fault::INTERNAL, text), form);
            (respond(StatusCode::OK, body, Room::default()), false)
        }
    }
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

fn too_large(shared: &Shared) -> Refusal {
    let limit = shared.limits.body_size;
    let text = format!("The body is larger than {limit} bytes, the limit; send less at a time.");
    Refusal(StatusCode::PAYLOAD_TOO_LARGE, text)
}

fn busy() -> Refusal {
    let text = "The server has too much in memory now; try again later.".to_owned();
    Refusal(StatusCode::SERVICE_UNAVAILABLE, text)
}

/// Reads a body. One that cannot be decoded is read to its end all the same, so that the
/// connection can go on.
async fn read(mut body: Incoming, form: Form, shared: &Shared) -> Result<(Call, Room), Refusal> {
    let announced = body.size_hint().exact();
    let mut counted = announced.unwrap_or_default().max(UNCOUNTED_MAX);
    let mut room = shared.requests.room(counted).await.ok_or_else(busy)?;
    let mut decoder = Ok(Decoder::for_call(form));
    let mut received = 0;
    let slowest_s = announced.unwrap_or(shared.limits.body_size as u64) / limits::BODY_RATE_MIN;
    let end = Instant::now() + shared.limits.stall_timeout + Duration::from_secs(slowest_s);
    while let Some(piece) = next_piece(&mut body, shared, end).await? {
        received += piece.len() as u64;
        if received > shared.limits.body_size as u64 {
            return Err(too_large(shared));
        }
        let expected = announced.map(|length| length.saturating_sub(received));
        let expected = expected.and_then(|bytes| usize::try_from(bytes).ok());
        if let Ok(reading) = &mut decoder
            && let Err(error) = reading.push(&piece, expected)
        {
            decoder = Err(error);
        }
        // Text in other encodings than UTF-8 may grow when it is read.
        let taken = decoder.as_ref().map_or(0, Decoder::text_size).max(received);
        while taken > counted {
            room.add(shared.requests.room(MORE_ROOM_SIZE).await.ok_or_else(busy)?);
            counted += MORE_ROOM_SIZE;
        }
    }
    let xml_size = decoder.as_ref().map_or(0, Decoder::xml_size);
    if xml_size <= XML_SIZE_INLINE_MAX {
        return Ok((finish(decoder), room));
    }
    drop(room);
    let room = shared.requests.room(received + xml_size as u64 * XML_EXPANSION).await;
    let room = room.ok_or_else(busy)?;
    let finished = tokio::task::spawn_blocking(|| finish(decoder)).await;
    Ok((finished.unwrap_or_else(|_| Err(internal())), room))
}

fn finish(decoder: Result<Decoder, DecodeError>) -> Call {
    decoder.and_then(Decoder::finish_call).map_err(Fault::from)
}

/// The next piece of a body, `None` after the last.
async fn next_piece(
    body: &mut Incoming,
    shared: &Shared,
    end: Instant,
) -> Result<Option<Bytes>, Refusal> {
    loop {
        let latest = end.min(Instant::now() + shared.limits.stall_timeout);
        match tokio::time::timeout_at(latest, body.frame()).await {
            Err(_) => {
                let text = "The body did not arrive; send it without pauses.".to_owned();
                return Err(Refusal(StatusCode::REQUEST_TIMEOUT, text));
            }
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => {
                let text = format!("The body cannot be read: {error}.");
                return Err(Refusal(StatusCode::BAD_REQUEST, text));
            }
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
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

fn internal() -> Fault {
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
    let mut response = respond(status, MessageBody::text(text), Room::default());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    // What is left of the request's body is not worth reading.
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

fn respond(status: StatusCode, body: MessageBody, room: Room) -> Response<AnswerBody> {
    let media_type = body.form().media_type();
    let mut response = Response::new(AnswerBody { body, _room: room });
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}
