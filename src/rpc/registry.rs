//! The methods a server offers: one table that dispatches calls and answers the introspection
//! methods.

mod introspection;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use dxr::Value;
use hyper::header::HeaderName;

use crate::error::{ErrorKind, FsError};
use crate::rpc::fault::Fault;
use crate::rpc::method::{Answer, Method, Params};
use crate::rpc::peer::Peer;
use crate::rpc::program::Program;
use crate::rpc::wire::text::shortened;

pub use introspection::{ListMethods, MethodHelp, MethodSignature, Multicall, Results, Signatures};

/// Answers up to this size, in bytes, are not counted: the bound on connections bounds them.
pub const ANSWER_UNCOUNTED_MAX: u64 = 64 << 10;

/// Room in a server's memory for answers.
pub trait AnswerRoom: Send + Sync {
    /// Takes room for so many bytes more of the answer to the call under way; says whether there was
    /// some in time.
    fn take(&self, size: u64) -> Pin<Box<dyn Future<Output = bool> + Send + '_>>;
}

/// Who calls.
#[derive(Clone, Default)]
pub struct Caller {
    /// All calls of one connection share it.
    connection: Arc<()>,
    peer: Peer,
    /// `None` where nobody counts.
    room: Option<Arc<dyn AnswerRoom>>,
    program: Program,
    /// Calls of the connection so far, this one among them.
    calls: Arc<AtomicU64>,
    is_first: bool,
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { peer, program, is_first, .. } = self;
        f.debug_struct("Caller")
            .field("peer", peer)
            .field("program", program)
            .field("is_first", is_first)
            .finish_non_exhaustive()
    }
}

impl Caller {
    /// The caller behind a connection of this peer.
    #[must_use]
    pub fn new(peer: Peer, room: Arc<dyn AnswerRoom>) -> Self {
        Self { peer, room: Some(room), ..Self::default() }
    }

    /// Where the connection comes from.
    #[must_use]
    pub fn peer(&self) -> Peer {
        self.peer
    }

    /// Takes room in memory for an answer of so many bytes, and what stands around them, which is to be
    /// made after this.
    ///
    /// # Errors
    /// `Busy` if there was none in time; the caller of the whole call may repeat it then.
    pub async fn make_room(&self, size: u64) -> Result<(), FsError> {
        match &self.room {
            Some(room)
                if size > ANSWER_UNCOUNTED_MAX
                    && !room.take(size.saturating_add(ANSWER_UNCOUNTED_MAX)).await =>
            {
                let message = "the server has too much in memory now; try again later";
                Err(FsError::new(ErrorKind::Busy, message))
            }
            _ => Ok(()),
        }
    }

    /// The same connection, with one more call, of this program.
    #[must_use]
    pub fn next_call(self, program: Program) -> Self {
        let is_first = self.calls.fetch_add(1, Ordering::Relaxed) == 0;
        Self { program, is_first, ..self }
    }

    /// Something to recognise the caller by, which ends when its connection is closed.
    #[must_use]
    pub fn token(&self) -> Weak<()> {
        Arc::downgrade(&self.connection)
    }

    /// Whether this is the first call of its connection: there are programs that make a connection
    /// for every call.
    #[must_use]
    pub fn is_first_call(&self) -> bool {
        self.is_first
    }

    /// The program that it says it is.
    #[must_use]
    pub fn program(&self) -> Program {
        self.program
    }
}

type OfferedHandler = Box<dyn Fn(Params, Caller) -> Reply + Send + Sync>;
type IntrospectionHandler = Box<dyn Fn(&Registry, Params) -> Result<Value, Fault> + Send + Sync>;
type Reply = Pin<Box<dyn Future<Output = Result<Value, Fault>> + Send>>;

enum Handler {
    /// What a server offers.
    Offered(OfferedHandler),
    /// What the table says about itself.
    Introspection(IntrospectionHandler),
    /// Several calls in one.
    Multicall,
}

struct Entry {
    help: &'static str,
    signatures: &'static [&'static [&'static str]],
    handler: Handler,
    is_quick: bool,
    is_heavy: bool,
}

/// The header of a request that says which server it is for.
pub(in crate::rpc) const SERVER_MEANT: HeaderName = HeaderName::from_static("htfs-server");

/// The table of methods.
pub struct Registry {
    methods: BTreeMap<&'static str, Entry>,
    /// Who offers them, if that is more than where they are offered.
    server: Option<String>,
}

impl Default for Registry {
    /// A table with the four introspection methods.
    fn default() -> Self {
        let mut registry = Self { methods: BTreeMap::new(), server: None };
        registry.introspect(introspection::list_methods);
        registry.introspect(introspection::method_help);
        registry.introspect(introspection::method_signature);
        registry.insert::<Multicall>(Handler::Multicall);
        registry
    }
}

impl Registry {
    /// Says who offers these methods: calls that are meant for another server are refused then.
    pub fn serve_as(&mut self, server: &str) {
        self.server = Some(server.to_owned());
    }

    /// Whether a call for this server may be carried out here.
    pub(in crate::rpc) fn is_meant(&self, server: &[u8]) -> bool {
        self.server.as_ref().is_some_and(|own| own.as_bytes() == server)
    }

    /// Offers method `M`, answered by `handler`.
    pub fn add<M, H, F>(&mut self, handler: H)
    where
        M: Method,
        H: Fn(M, Caller) -> F + Send + Sync + 'static,
        F: Future<Output = Result<M::Answer, FsError>> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let handler = Box::new(move |params, caller: Caller| -> Reply {
            match M::from_params(params) {
                Err(wrong) => Box::pin(std::future::ready(Err(wrong.into()))),
                Ok(call) if call.answer_size_max() > ANSWER_UNCOUNTED_MAX => {
                    let handler = Arc::clone(&handler);
                    Box::pin(async move {
                        caller.make_room(call.answer_size_max()).await?;
                        answered::<M>(handler(call, caller).await)
                    })
                }
                Ok(call) => {
                    let answer = handler(call, caller);
                    Box::pin(async move { answered::<M>(answer.await) })
                }
            }
        });
        self.insert::<M>(Handler::Offered(handler));
    }

    /// Offers a method that never keeps its thread for longer than a hand-over to another one would
    /// take: its calls are carried out in the thread of their connection.
    pub fn add_quick<M, H, F>(&mut self, handler: H)
    where
        M: Method,
        H: Fn(M, Caller) -> F + Send + Sync + 'static,
        F: Future<Output = Result<M::Answer, FsError>> + Send + 'static,
    {
        self.add(handler);
        if let Some(entry) = self.methods.get_mut(M::NAME) {
            entry.is_quick = true;
        }
    }

    /// Says that calls of method `M`, which is offered already, make much more work than they are long:
    /// of these, one multicall can have few.
    pub fn weigh<M: Method>(&mut self) {
        if let Some(entry) = self.methods.get_mut(M::NAME) {
            entry.is_heavy = true;
        }
    }

    /// Whether calls of a method may be carried out where others wait for their turn. An unknown
    /// one is refused quickly.
    #[must_use]
    pub fn is_quick(&self, name: &str) -> bool {
        self.methods.get(name).is_none_or(|entry| entry.is_quick)
    }

    fn is_heavy(&self, name: &str) -> bool {
        self.methods.get(name).is_some_and(|entry| entry.is_heavy)
    }

    fn introspect<M: Method>(&mut self, answer: fn(&Self, M) -> Result<M::Answer, Fault>) {
        let handler = Box::new(move |registry: &Self, params| {
            answer(registry, M::from_params(params)?).map(Answer::into_value)
        });
        self.insert::<M>(Handler::Introspection(handler));
    }

    fn insert<M: Method>(&mut self, handler: Handler) {
        let entry = Entry {
            help: M::HELP,
            signatures: M::SIGNATURES,
            handler,
            is_quick: false,
            is_heavy: false,
        };
        self.methods.insert(M::NAME, entry);
    }

    fn entry(&self, name: &str) -> Result<&Entry, Fault> {
        self.methods.get(name).ok_or_else(|| {
            let name = shortened(name);
            Fault::new(Fault::UNKNOWN_METHOD, format!("there is no method \"{name}\""))
        })
    }

    /// Carries out one call.
    ///
    /// # Errors
    /// The fault to answer with.
    pub async fn dispatch(
        &self,
        name: &str,
        params: Vec<Value>,
        caller: Caller,
    ) -> Result<Value, Fault> {
        match self.entry(name)?.handler {
            Handler::Multicall => {
                let calls = Multicall::from_params(Params::new(params))?;
                Ok(self.multicall(calls, caller).await?.into_value())
            }
            _ => self.dispatch_part(name, params, caller).await,
        }
    }

    /// Carries out a call that is part of another.
    async fn dispatch_part(
        &self,
        name: &str,
        params: Vec<Value>,
        caller: Caller,
    ) -> Result<Value, Fault> {
        let params = Params::new(params);
        match &self.entry(name)?.handler {
            Handler::Offered(answer) => answer(params, caller).await,
            Handler::Introspection(answer) => answer(self, params),
            Handler::Multicall => {
                Err(Fault::new(Fault::INVALID_CALL, "system.multicall cannot contain itself"))
            }
        }
    }
}

fn answered<M: Method>(outcome: Result<M::Answer, FsError>) -> Result<Value, Fault> {
    match outcome {
        Ok(answer) => Ok(answer.into_value()),
        Err(error) => {
            log(M::NAME, &error);
            Err(error.into())
        }
    }
}

/// An error of the disk is the business of whoever runs the server, too.
fn log(method: &str, error: &FsError) {
    match error.kind() {
        ErrorKind::Corrupt | ErrorKind::Io => tracing::error!("{method} failed: {error}"),
        ErrorKind::NoSpace => tracing::warn!("{method} failed: {error}"),
        _ => {}
    }
}

#[cfg(test)]
mod tests;
