//! No call of the classic methods, however odd its keys, values and numbers, keeps a server from
//! writing, from folding its log, or from starting again.

mod common;

use std::collections::BTreeMap;

use common::cluster::{Cluster, Kind, Server};
use common::rpc::{Rpc, text_value};
use common::{SOON, wait_until};
use htfs::pickle::{Attributes, Style};
use htfs::proto::classic::GetServer;
use htfs::proto::log::ShowStatus;
use htfs::rpc::{Answer, CallError, Fault, Method, Params, Value, WrongType};
use proptest::prelude::{BoxedStrategy, Just, Strategy, any, prop, prop_oneof};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// The seed of the calls; another one can be given with `ODD_CALLS_SEED`.
const SEED: u64 = 1;
/// Rounds, after each of which the server is asked whether it still does its work.
const ROUNDS: usize = 12;
/// Calls in a round.
const CALLS: usize = 40;

/// Any answer.
struct Any(Value);

impl Answer for Any {
    fn into_value(self) -> Value {
        self.0
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        Ok(Self(value))
    }
}

/// Methods with any parameters at all.
macro_rules! odd_methods {
    ($($odd:ident $name:literal),*) => {
        $(
            struct $odd(Vec<Value>);

            impl Method for $odd {
                const NAME: &'static str = $name;
                const HELP: &'static str = "";
                const SIGNATURES: &'static [&'static [&'static str]] = &[];
                const REPEATABLE: bool = false;
                type Answer = Any;

                fn into_params(self) -> Vec<Value> {
                    self.0
                }

                fn from_params(_: Params) -> Result<Self, WrongType> {
                    unreachable!("nobody serves these")
                }
            }
        )*

        /// Calls a method by its name.
        fn call(rpc: &Rpc, url: &str, (name, params): Call) -> Result<Value, CallError> {
            match name {
                $($name => rpc.call(url, $odd(params)).map(|answer| answer.0),)*
                name => unreachable!("{name}"),
            }
        }
    };
}

odd_methods!(
    Put "put", Get "get", ChangeSize "changeSize", Replace "chunk.replace",
    Multicall "system.multicall"
);

type Call = (&'static str, Vec<Value>);

fn bytes(length: usize, byte: u8) -> Value {
    Value::Base64(vec![byte; length])
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// A dict of attributes, as clients pickle it.
fn dict(size: u64, contents: Option<&str>) -> Value {
    let contents = contents.and_then(|url| url.parse().ok());
    let attributes = Attributes { mode: 0o100_644, size, contents, ..Attributes::default() };
    Value::Base64(attributes.write(Style::Compact).to_vec())
}

fn any_key() -> BoxedStrategy<Value> {
    let fixed = vec![
        text(""),
        bytes(0, 0),
        text("/"),
        text("//"),
        text("/a"),
        text("/a/"),
        text("/a/b"),
        text("/a/../b"),
        text("k"),
        text(" "),
        Value::Base64(b"\0".to_vec()),
        Value::Base64(b"\0number\0".to_vec()),
        Value::Base64(b"\0number\x007".to_vec()),
        Value::Base64(b"/a\0\0\0\0\0\0\0\0\0".to_vec()),
        Value::Base64(vec![0; 9]),
        Value::Base64(b"/\xff\xfe".to_vec()),
        bytes(4096, 0xff),
        bytes(4096, b'/'),
        bytes(4088, b'x'),
        bytes(4097, b'x'),
        bytes(65_535, b'x'),
        bytes(65_536, 0),
        bytes(1 << 20, b'x'),
        Value::Integer(7),
        Value::Integer(i32::MIN),
        Value::Long(i64::MAX),
        Value::Double(0.5),
        Value::Double(-0.0),
        Value::Boolean(true),
        Value::Nil,
        Value::Array(vec![]),
        Value::Struct(BTreeMap::new()),
    ];
    let short = prop::collection::vec(any::<u8>(), 0..4).prop_map(Value::Base64);
    prop_oneof![8 => prop::sample::select(fixed), 1 => short].boxed()
}

fn any_value(server: &str) -> BoxedStrategy<Value> {
    let fixed = vec![
        text(""),
        text("text"),
        text("None"),
        bytes(0, 0),
        bytes(4096, 1),
        bytes(4097, 1),
        bytes(200_000, 2),
        Value::Integer(-1),
        Value::Long(i64::MIN),
        Value::Double(1e300),
        Value::Boolean(false),
        Value::Nil,
        Value::Array(vec![text(""), text("/"), text("/a"), text("a/b"), Value::Nil]),
        Value::Struct(BTreeMap::from([(String::new(), Value::Array(vec![]))])),
        dict(0, None),
        dict(5, Some(server)),
        dict(u64::MAX, Some(server)),
        dict(1, Some("https://localhost:1")),
        text("(dp0\nS'st_size'\np1\nI-1\ns."),
        text("(dp0\nS'st_mode'\np1\nI16877\nsS'st_size'\np2\nL99999999999999999999L\ns."),
        text("(lp0\nS'/'\np1\naS''\np2\naS'/a'\np3\na."),
    ];
    prop::sample::select(fixed).boxed()
}

fn any_number() -> BoxedStrategy<Value> {
    let fixed = vec![
        Value::Integer(60),
        Value::Integer(1),
        Value::Integer(0),
        Value::Integer(-1),
        Value::Integer(i32::MAX),
        Value::Long(i64::MAX),
        Value::Long(i64::MIN),
        text("18446744073709551615"),
        text("99999999999999999999"),
        text("1"),
        Value::Double(1.5),
        Value::Double(-1e308),
        Value::Double(1e308),
        Value::Nil,
        Value::Boolean(true),
    ];
    prop_oneof![Just(Value::Integer(600)), prop::sample::select(fixed)].boxed()
}

fn any_server(server: &str) -> BoxedStrategy<Value> {
    let odd = vec![text("https://localhost:1"), text(""), Value::Nil, bytes(300, b'h')];
    prop_oneof![4 => Just(text(server)), 1 => prop::sample::select(odd)].boxed()
}

/// One call, now and then with a parameter too few.
fn any_call(server: &str) -> BoxedStrategy<Call> {
    let expected = prop::collection::vec(any_value(server), 0..3).prop_map(Value::Array);
    let put = (any_key(), any_value(server), any_number());
    let change = (any_key(), any_server(server), any_number());
    let replace = (any_key(), expected, any_value(server), any_number());
    let calls = prop_oneof![
        6 => put.prop_map(|(key, value, ttl)| ("put", vec![key, value, ttl])),
        2 => change.prop_map(|(key, server, size)| ("changeSize", vec![key, server, size])),
        2 => replace.prop_map(|(key, old, new, ttl)| ("chunk.replace", vec![key, old, new, ttl])),
        1 => any_key().prop_map(|key| ("get", vec![key])),
    ];
    (calls, 0..20u8)
        .prop_map(|((name, mut params), chance)| {
            if chance == 0 {
                params.pop();
            }
            (name, params)
        })
        .boxed()
}

fn part((name, params): Call) -> Value {
    let name = ("methodName".to_owned(), text(name));
    Value::Struct(BTreeMap::from([name, ("params".to_owned(), Value::Array(params))]))
}

/// One call, or many in one.
fn any_call_or_many(server: &str) -> BoxedStrategy<Call> {
    let odd =
        vec![part(("system.multicall", vec![])), Value::Nil, part(("none", vec![Value::Nil]))];
    let parts = prop_oneof![12 => any_call(server).prop_map(part), 1 => prop::sample::select(odd)];
    let many = prop::collection::vec(parts, 0..60);
    let many = many.prop_map(|calls| ("system.multicall", vec![Value::Array(calls)]));
    prop_oneof![8 => any_call(server), 1 => many].boxed()
}

/// A fault is an answer, but not that of a server in trouble; nothing but an answer will do.
fn assert_answered(name: &str, answer: Result<Value, CallError>) {
    match answer {
        Ok(_) | Err(CallError::Unsendable { .. }) => {}
        Err(CallError::Fault(fault)) => assert_ne!(fault.code, Fault::INTERNAL, "{name}: {fault}"),
        Err(error) => panic!("{name}: {error}"),
    }
}

/// The server takes writes, and puts its log into its backup.
fn assert_works(rpc: &Rpc, server: &Server, round: usize) {
    let mark = format!("round {round}");
    rpc.put(&server.url, "alive", Some(&mark)).expect("it takes writes");
    assert_eq!(rpc.get(&server.url, "alive").expect("it answers"), Some(text_value(&mark)));
    let log = rpc.call(&server.url, ShowStatus).expect("it tells").state;
    assert!(log.operations <= log.backup_every, "the log is not folded any more: {log:?}");
}

fn assert_starts_again(rpc: &Rpc, server: &mut Server, mark: &str) {
    assert!(server.process.terminate().success(), "{}", server.process.log());
    server.start_again();
    assert_eq!(rpc.get(&server.url, "alive").expect("it answers"), Some(text_value(mark)));
    let log = server.process.log();
    assert!(!log.contains("panicked") && !log.contains("could not be renewed"), "{log}");
}

fn runner() -> TestRunner {
    let given = std::env::var("ODD_CALLS_SEED").ok().and_then(|seed| seed.parse().ok());
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&given.unwrap_or(SEED).to_le_bytes());
    TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &seed))
}

fn cluster(rpc: &Rpc, options: &[&str]) -> Cluster {
    let cluster = Cluster::with_options(&Kind::Rust, 1, options);
    let is_known = || rpc.call(&cluster.master.url, GetServer).is_ok_and(|url| url.is_some());
    wait_until("the master knows the chunk server", SOON, is_known);
    cluster
}

#[test]
fn servers_go_on_after_any_calls() {
    let rpc = Rpc::new();
    let mut cluster = cluster(&rpc, &["--backup-every", "20"]);
    let Cluster { master, chunks, .. } = &mut cluster;
    let chunk = &mut chunks[0];
    let calls = any_call_or_many(&chunk.url);
    let mut runner = runner();
    for round in 0..ROUNDS {
        for server in [&*master, &*chunk] {
            for _ in 0..CALLS {
                let (name, params) = calls.new_tree(&mut runner).expect("a call").current();
                let shown = format!("{name}{:.300}", format!("{params:?}"));
                assert_answered(&shown, call(&rpc, &server.url, (name, params)));
            }
            assert_works(&rpc, server, round);
        }
    }
    let last = format!("round {}", ROUNDS - 1);
    for server in [master, chunk] {
        assert_starts_again(&rpc, server, &last);
    }
}

/// As [`servers_go_on_after_any_calls`], with the one request that once ended all writing.
#[test]
fn an_empty_key_is_refused_at_every_entrance() {
    let rpc = Rpc::new();
    let mut cluster = cluster(&rpc, &[]);
    let url = cluster.chunks[0].url.clone();
    let put = |key: &str| ("put", vec![text(key), text("x"), Value::Integer(60)]);
    for server in [&mut cluster.master, &mut cluster.chunks[0]] {
        let calls = std::iter::once(put("")).chain(std::iter::repeat_n(put("k"), 1000));
        let many = ("system.multicall", vec![Value::Array(calls.map(part).collect())]);
        let answer = call(&rpc, &server.url, many).expect("it answers");
        let Value::Array(answers) = answer else { panic!("{answer:?}") };
        assert_eq!(answers.len(), 1001);
        assert!(matches!(answers[0], Value::Struct(_)), "{:?}", answers[0]);
        for key in [text(""), bytes(0, 0)] {
            let others: [Call; 4] = [
                ("put", vec![key.clone(), text("x"), Value::Integer(60)]),
                ("get", vec![key.clone()]),
                ("changeSize", vec![key.clone(), text(&url), Value::Integer(5)]),
                ("chunk.replace", vec![key, Value::Array(vec![]), text("x"), Value::Integer(60)]),
            ];
            for other in others {
                let name = other.0;
                let refused = call(&rpc, &server.url, other);
                assert!(matches!(refused, Err(CallError::Fault(_))), "{name}: {refused:?}");
            }
        }
        assert_works(&rpc, server, 0);
        assert_starts_again(&rpc, server, "round 0");
    }
}
