//! A master and chunk servers inside the process, for tests: hash tables behind the same methods.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use crate::client::calls::Calls;
use crate::error::{ErrorKind, FsError};
use crate::proto::classic::{ChangeSize, Dialect, Entry, Get, GetServer, Put};
use crate::proto::form;
use crate::proto::server::{Replace, Replaced, SyncChunk, SyncMaster};
use crate::proto::values::Done;
use crate::rpc::{Answer, Barrier, CallError, Caller, Fault, Method, Registry, Value};
use crate::types::{Key, ServerUrl, StoredValue, Ttl};

pub(crate) const MASTER: &str = "https://master:1";

/// The cluster; clones share it.
#[derive(Clone)]
pub(crate) struct Cluster {
    shared: Arc<Shared>,
}

struct Shared {
    registries: BTreeMap<String, Registry>,
    tables: BTreeMap<String, Table>,
    /// Servers that cannot be reached.
    down: Mutex<HashSet<String>>,
    /// Calls so far: server and method.
    calls: Mutex<Vec<(String, &'static str)>>,
    sizes: Sizes,
    is_ours: bool,
    /// Servers that take keys of one dialect only.
    keys: Mutex<BTreeMap<String, Dialect>>,
}

type Sizes = Arc<Mutex<BTreeMap<ServerUrl, i64>>>;
type Entries = BTreeMap<Key, (StoredValue, Ttl)>;
type Table = Arc<Mutex<Entries>>;

impl Cluster {
    /// A master and `chunks` chunk servers of ours.
    pub(crate) fn new(chunks: usize) -> Self {
        Self::with(chunks, true)
    }

    /// The same of Python's, which know no methods of ours.
    pub(crate) fn python(chunks: usize) -> Self {
        Self::with(chunks, false)
    }

    /// The same of Python's, which take keys of one dialect only.
    pub(crate) fn python_with_keys(chunks: usize, dialect: Dialect) -> Self {
        let cluster = Self::python(chunks);
        for url in cluster.shared.tables.keys() {
            cluster.set_keys(url, dialect);
        }
        cluster
    }

    /// Lets a server of Python's take keys of one dialect only.
    pub(crate) fn set_keys(&self, url: &str, dialect: Dialect) {
        self.shared.keys.lock().unwrap().insert(url.to_owned(), dialect);
    }

    fn with(chunks: usize, is_ours: bool) -> Self {
        let sizes = Sizes::default();
        let mut registries = BTreeMap::new();
        let mut tables = BTreeMap::new();
        let master: Table = Arc::default();
        let mut registry = table(&master, is_ours);
        add_sizes(&mut registry, &master, &sizes);
        if is_ours {
            registry.add(|_: SyncMaster, _| async { Ok(Done) });
        }
        registries.insert(MASTER.to_owned(), registry);
        tables.insert(MASTER.to_owned(), master);
        for n in 1..=chunks {
            let url = Self::chunk(n);
            let contents: Table = Arc::default();
            sizes.lock().unwrap().insert(url.clone(), 0);
            registries.insert(url.to_string(), table(&contents, is_ours));
            tables.insert(url.to_string(), contents);
        }
        let shared = Shared {
            registries,
            tables,
            down: Mutex::default(),
            calls: Mutex::default(),
            sizes,
            is_ours,
            keys: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// The URL of a chunk server, counted from 1.
    pub(crate) fn chunk(n: usize) -> ServerUrl {
        ServerUrl::new(format!("https://chunk:{n}")).unwrap()
    }

    pub(crate) fn set_down(&self, url: &str, is_down: bool) {
        let mut down = self.shared.down.lock().unwrap();
        if is_down {
            down.insert(url.to_owned())
        } else {
            down.remove(url)
        };
    }

    /// The keys of a server.
    pub(crate) fn keys(&self, url: &str) -> Vec<String> {
        self.shared.tables[url].lock().unwrap().keys().map(Key::to_string).collect()
    }

    /// Number of chunk servers that hold something under a path.
    pub(crate) fn holders(&self, path: &str) -> usize {
        let chunks = self.shared.tables.keys().filter(|url| *url != MASTER);
        chunks.filter(|url| self.keys(url).iter().any(|key| key == path)).count()
    }

    /// What a server has under a path, with its ttl.
    pub(crate) fn value(&self, url: &str, path: &str) -> Option<(StoredValue, Ttl)> {
        let key = Key::new(path.as_bytes().to_vec()).unwrap();
        self.shared.tables[url].lock().unwrap().get(&key).cloned()
    }

    /// Puts something as another client would.
    pub(crate) fn set_value(&self, url: &str, path: &str, value: Option<StoredValue>) {
        let key = Key::new(path.as_bytes().to_vec()).unwrap();
        let mut table = self.shared.tables[url].lock().unwrap();
        match value {
            Some(value) => table.insert(key, (value, Ttl::from_s(1000))),
            None => table.remove(&key),
        };
    }

    /// The size that the master has for a chunk server.
    pub(crate) fn size(&self, n: usize) -> i64 {
        self.shared.sizes.lock().unwrap()[&Self::chunk(n)]
    }

    /// The calls since the last time this was asked.
    pub(crate) fn take_calls(&self) -> Vec<(String, &'static str)> {
        std::mem::take(&mut self.shared.calls.lock().unwrap())
    }
}

impl Calls for Cluster {
    async fn call<M: Method>(&self, url: &str, call: M) -> Result<M::Answer, CallError> {
        self.shared.calls.lock().unwrap().push((url.to_owned(), M::NAME));
        // Others get their turn, as with a real network.
        tokio::task::yield_now().await;
        if self.shared.down.lock().unwrap().contains(url) {
            let (server, reason) = (url.to_owned(), "it is down".to_owned());
            let barrier = Barrier::NoConnection;
            return Err(CallError::Unreachable { server, barrier, reason });
        }
        let registry = &self.shared.registries[url];
        let params = call.into_params();
        let keys = self.shared.keys.lock().unwrap().get(url).copied();
        if let Some(fault) = keys.and_then(|keys| refusal(M::NAME, keys, &params)) {
            return Err(fault.into());
        }
        let answer = registry.dispatch(M::NAME, params, Caller::default()).await;
        let answer = answer.map_err(|fault| match fault.code {
            Fault::UNKNOWN_METHOD if !self.shared.is_ours => {
                let name = M::NAME;
                Fault::new(1, format!("<class 'Exception'>:method \"{name}\" is not supported"))
            }
            _ => fault,
        })?;
        tokio::task::yield_now().await;
        Ok(M::Answer::from_value(answer).expect("our own answers are well-formed"))
    }
}

/// What Python says about a key of a type that is none for a server's table.
fn refusal(method: &str, keys: Dialect, params: &[Value]) -> Option<Fault> {
    let key = params.first().filter(|_| matches!(method, "get" | "put" | "changeSize"))?;
    let message = match (keys, Dialect::of(key)) {
        (Dialect::String, Dialect::Binary) => "<class 'TypeError'>:unhashable type: 'Binary'",
        (Dialect::Binary, Dialect::String) => {
            "<class 'AttributeError'>:'str' object has no attribute 'data'"
        }
        (Dialect::String, Dialect::String) | (Dialect::Binary, Dialect::Binary) => return None,
    };
    Some(Fault::new(1, message))
}

fn table(table: &Table, is_ours: bool) -> Registry {
    let mut registry = Registry::default();
    let entries = table.clone();
    registry.add(move |call: Get, _| {
        let found = entries.lock().unwrap().get(&call.key).cloned();
        async move { Ok(found.map(|(value, ttl)| Entry { value, ttl_s: ttl.as_ms() / 1000 })) }
    });
    let entries = table.clone();
    registry.add(move |call: Put, _| {
        put(&mut entries.lock().unwrap(), call.key, call.value, call.ttl);
        async { Ok(Done) }
    });
    if is_ours {
        let entries = table.clone();
        registry.add(move |call: Replace, _| {
            let mut entries = entries.lock().unwrap();
            let found = entries.get(&call.key).map(|(value, _)| value);
            let matches = found == call.expected.as_ref();
            if matches {
                put(&mut entries, call.key, call.value, call.ttl);
            }
            async move { Ok(Replaced(matches)) }
        });
        registry.add(|_: SyncChunk, _| async { Ok(Done) });
    }
    registry
}

fn put(table: &mut Entries, key: Key, value: StoredValue, ttl: Ttl) {
    if ttl.is_zero() {
        table.remove(&key)
    } else {
        table.insert(key, (value, ttl))
    };
}

fn add_sizes(registry: &mut Registry, master: &Table, sizes: &Sizes) {
    let all = sizes.clone();
    registry.add(move |_: GetServer, _| {
        let all = all.lock().unwrap();
        let smallest = all.iter().min_by_key(|(_, size)| **size).map(|(url, _)| url.clone());
        async move { Ok(smallest) }
    });
    let (all, entries) = (sizes.clone(), master.clone());
    registry.add(move |call: ChangeSize, _| {
        let entry = entries.lock().unwrap().get(&call.key).cloned();
        let old = entry.map_or(0, |(value, _)| form::read_attributes(&value).unwrap().size);
        let mut all = all.lock().unwrap();
        let answer = match all.get_mut(&call.server) {
            Some(size) => {
                *size += i64::try_from(call.size).unwrap() - i64::try_from(old).unwrap();
                Ok(Done)
            }
            None => Err(FsError::new(ErrorKind::UnknownServer, "nobody registered it")),
        };
        async move { answer }
    });
}
