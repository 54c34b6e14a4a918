//! One attempt of a call: one HTTP request and its response.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dxr::Value;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use crate::limits;
use crate::rpc::client::connector::Connector;
use crate::rpc::client::{Barrier, CallError};
use crate::rpc::fault::Fault;
use crate::rpc::program::OWN_USER_AGENT;
use crate::rpc::registry::SERVER_MEANT;
use crate::rpc::tls::Trust;
use crate::rpc::wire::text::shortened;
use crate::rpc::wire::{ACCEPT_POST, Decoder, Form, Message, MessageBody};

/// Idle connections that are kept for each server.
const IDLE_PER_SERVER_MAX: usize = 32;

/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// XML above this size, in bytes, is made into values on a thread that may take its time.
const XML_SIZE_INLINE_MAX: usize = 256 << 10;

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server has certainly not carried it out, and may do so another time.
    NotSent { barrier: Barrier, reason: String },
    /// The server cannot be spoken to, however often one tries.
    Refused { barrier: Barrier, reason: String },
    /// The connection broke after something was sent.
    Lost { reason: String },
    /// There was an answer, but not one that can be read.
    Senseless { reason: String },
    /// There is no body that could be sent.
    Unsendable { reason: String },
}

impl Failure {
    pub(super) fn into_error(self, url: &str, method: &'static str) -> CallError {
        let server = shown(url);
        match self {
            Self::NotSent { barrier, reason } | Self::Refused { barrier, reason } => {
                CallError::Unreachable { server, barrier, reason }
            }
            Self::Lost { reason } => CallError::Lost { server, reason },
            Self::Senseless { reason } => CallError::Protocol { server, reason },
            Self::Unsendable { reason } => CallError::Unsendable { method, reason },
        }
    }
}

/// An address as it is told to people: they know servers by their URLs.
pub(super) fn shown(address: &str) -> String {
    address.split('#').next().unwrap_or_default().to_owned()
}

/// Sends calls over connections that it keeps.
pub(super) struct Sender {
    http: Client<Connector, MessageBody>,
    trust: Trust,
    /// The servers that read binary calls, by their addresses, with where to post to.
    binary_readers: Mutex<HashMap<String, Endpoint>>,
}

impl Sender {
    pub(super) fn new(trust: &Trust) -> Self {
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_PER_SERVER_MAX)
            .build(Connector::new(trust));
        Self { http, trust: trust.clone(), binary_readers: Mutex::default() }
    }

    /// Sends a call once and reads the answer.
    pub(super) async fn attempt(
        &self,
        url: &str,
        message: &Message,
    ) -> Result<Result<Value, Fault>, Failure> {
        let reader = self.binary_readers().get(url).cloned();
        let (endpoint, form) = match reader {
            Some(endpoint) => (endpoint, Form::Binary),
            None => (endpoint(url)?, Form::Xml),
        };
        let Endpoint { uri, server } = endpoint.clone();
        let body = message
            .body(form)
            .map_err(|error| Failure::Unsendable { reason: error.to_string() })?;
        let form = body.form();
        let mut request = Request::post(uri)
            .header(CONTENT_TYPE, form.media_type())
            .header(ACCEPT, Form::Binary.media_type())
            .header(USER_AGENT, HeaderValue::from_static(OWN_USER_AGENT))
            .body(body)
            .map_err(|error| unusable(&error))?;
        if let Some(server) = server {
            request.headers_mut().insert(SERVER_MEANT, server);
        }
        let response = self.http.request(request).await.map_err(|error| self.classify(&error))?;
        self.note_reader(url, endpoint, form, &response)?;
        read(response).await
    }

    fn binary_readers(&self) -> MutexGuard<'_, HashMap<String, Endpoint>> {
        self.binary_readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns from a response to a call in `form` which forms the server reads.
    ///
    /// # Errors
    /// `NotSent` if it cannot have read the call: there is another server now where one of ours was.
    fn note_reader(
        &self,
        url: &str,
        endpoint: Endpoint,
        form: Form,
        response: &Response<Incoming>,
    ) -> Result<(), Failure> {
        match (form, Form::named(response.headers().get(ACCEPT_POST))) {
            (Form::Xml, Form::Binary) => {
                self.binary_readers().insert(url.to_owned(), endpoint);
            }
            (Form::Binary, Form::Xml) => {
                self.binary_readers().remove(url);
                let reason = "it does not read binary calls any more".to_owned();
                return Err(Failure::NotSent { barrier: Barrier::OtherServer, reason });
            }
            (Form::Xml, Form::Xml) | (Form::Binary, Form::Binary) => {}
        }
        Ok(())
    }

    fn classify(&self, error: &hyper_util::client::legacy::Error) -> Failure {
        if let Some(error) = find::<rustls::Error>(error) {
            let reason = self.trust.explain(error);
            // A certificate is no better the next time.
            return Failure::Refused { barrier: Barrier::Tls, reason };
        }
        let reason = root(error).to_string();
        let was_not_begun = find::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled);
        if error.is_connect() || was_not_begun {
            Failure::NotSent { barrier: Barrier::NoConnection, reason }
        } else {
            Failure::Lost { reason }
        }
    }
}

/// Where to post to, and whom that is to reach.
#[derive(Clone)]
struct Endpoint {
    uri: Uri,
    server: Option<HeaderValue>,
}

/// Where to post to: Python's servers, and ours, are at `/RPC2` and `/`. Behind a `#` stands which
/// server is meant.
fn endpoint(address: &str) -> Result<Endpoint, Failure> {
    let (url, server) = match address.split_once('#') {
        Some((url, server)) => (url, Some(HeaderValue::from_str(server))),
        None => (address, None),
    };
    let server = server.transpose().map_err(|error| unusable(&error))?;
    let authority = url.strip_prefix("https://").ok_or_else(|| unusable(&"it is not https"))?;
    let uri = match authority.split_once('/') {
        None => format!("{url}/RPC2"),
        Some((_, "")) => format!("{url}RPC2"),
        Some(_) => url.to_owned(),
    };
    let uri = uri.parse().map_err(|error| unusable(&error))?;
    Ok(Endpoint { uri, server })
}

fn unusable(reason: &dyn std::fmt::Display) -> Failure {
    Failure::Refused {
        barrier: Barrier::Url,
        reason: format!("its URL cannot be used ({reason}); it looks like https://host:8443"),
    }
}

async fn read(response: Response<Incoming>) -> Result<Result<Value, Fault>, Failure> {
    let status = response.status();
    let form = Form::named(response.headers().get(CONTENT_TYPE));
    let mut body = response.into_body();
    if status != StatusCode::OK {
        return Err(refused(status, &mut body).await);
    }
    let announced = body.size_hint().exact();
    let mut decoder = Decoder::for_answer(form);
    let mut received: u64 = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Failure::Lost { reason: root(&error).to_string() })?;
        let Ok(piece) = frame.into_data() else { continue };
        received += piece.len() as u64;
        if received.max(announced.unwrap_or_default()) > limits::BODY_SIZE_MAX as u64 {
            let limit = limits::BODY_SIZE_MAX;
            let reason = format!("it is larger than {limit} bytes, the limit");
            return Err(Failure::Senseless { reason });
        }
        let expected = announced.map(|length| length.saturating_sub(received));
        let expected = expected.and_then(|bytes| usize::try_from(bytes).ok());
        decoder.push(&piece, expected).map_err(senseless)?;
    }
    if decoder.xml_size() <= XML_SIZE_INLINE_MAX {
        return decoder.finish_answer().map_err(senseless);
    }
    match tokio::task::spawn_blocking(|| decoder.finish_answer()).await {
        Ok(answer) => answer.map_err(senseless),
        Err(error) => Err(senseless(error)),
    }
}

fn senseless(error: impl ToString) -> Failure {
    Failure::Senseless { reason: error.to_string() }
}

/// What a response means that is not an answer.
async fn refused(status: StatusCode, body: &mut Incoming) -> Failure {
    let text = match body.frame().await {
        Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
        _ => bytes::Bytes::new(),
    };
    let text = String::from_utf8_lossy(&text);
    let reason = format!("HTTP {status}: {}", shortened(text.trim()));
    if status == StatusCode::MISDIRECTED_REQUEST {
        let reason = "another server is there now".to_owned();
        return Failure::Refused { barrier: Barrier::OtherServer, reason };
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        return Failure::NotSent { barrier: Barrier::Overload, reason };
    }
    Failure::Senseless { reason }
}

/// The innermost cause of an error, which says most.
fn root<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

/// The error of type `E` among the causes of an error, also inside of `io::Error`s, which hide
/// what they wrap from [`Error::source`].
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}
