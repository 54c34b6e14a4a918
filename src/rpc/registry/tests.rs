//! Dispatch, introspection and multicall, without a network.

use dxr::Value;

use crate::error::{ErrorKind, FsError};
use crate::limits;
use crate::rpc::fault::Fault;
use crate::rpc::method::{Method, Params, WrongType, type_name};
use crate::rpc::registry::{Caller, Registry};

/// `double(number)`: for tests.
struct Double(i32);

impl Method for Double {
    const NAME: &'static str = "double";
    const HELP: &'static str = "double(number): twice the number.";
    const SIGNATURES: &'static [&'static [&'static str]] = &[&["string", "int"]];
    const REPEATABLE: bool = true;
    type Answer = String;

    fn into_params(self) -> Vec<Value> {
        vec![Value::Integer(self.0)]
    }

    fn from_params(mut params: Params) -> Result<Self, WrongType> {
        let number = params.take("number", |value| match value {
            Value::Integer(number) => Ok(number),
            other => Err(WrongType::new(format!("expected int, got {}", type_name(&other)))),
        })?;
        params.finish()?;
        Ok(Self(number))
    }
}

fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.add(|Double(number): Double, _| async move {
        let twice = number.checked_mul(2);
        twice.map(|twice| twice.to_string()).ok_or(FsError::new(ErrorKind::TooBig, "too big"))
    });
    registry
}

async fn call(name: &str, params: Vec<Value>) -> Result<Value, Fault> {
    registry().dispatch(name, params, Caller::default()).await
}

fn strings(texts: &[&str]) -> Value {
    Value::Array(texts.iter().map(|text| Value::String((*text).to_owned())).collect())
}

fn part(name: &str, params: Vec<Value>) -> Value {
    let members = [
        ("methodName".to_owned(), Value::String(name.to_owned())),
        ("params".to_owned(), Value::Array(params)),
    ];
    Value::Struct(members.into())
}

#[tokio::test]
async fn the_table_describes_itself() {
    let names = [
        "double",
        "system.listMethods",
        "system.methodHelp",
        "system.methodSignature",
        "system.multicall",
    ];
    assert_eq!(call("system.listMethods", vec![]).await, Ok(strings(&names)));
    for name in names {
        let about = || vec![Value::String(name.to_owned())];
        let help = call("system.methodHelp", about()).await.unwrap();
        assert!(matches!(help, Value::String(text) if text.starts_with(name)), "{name}");
        let Value::Array(forms) = call("system.methodSignature", about()).await.unwrap() else {
            panic!("{name}");
        };
        assert!(!forms.is_empty(), "{name}");
    }
    let forms = call("system.methodSignature", vec![Value::String("double".to_owned())]).await;
    assert_eq!(forms, Ok(Value::Array(vec![strings(&["string", "int"])])));
    for about in ["system.methodHelp", "system.methodSignature"] {
        let fault = call(about, vec![Value::String("no".to_owned())]).await.unwrap_err();
        assert_eq!(fault.code, Fault::UNKNOWN_METHOD);
    }
}

#[tokio::test]
async fn wrong_calls_say_what_was_wrong() {
    let wrong = [
        ("no\n<such>", vec![], Fault::UNKNOWN_METHOD, "no\\n<such>"),
        ("", vec![], Fault::UNKNOWN_METHOD, "\"\""),
        ("double", vec![], Fault::WRONG_PARAMETERS, "parameter 1 (number) is missing"),
        ("double", vec![Value::Nil], Fault::WRONG_PARAMETERS, "expected int, got nil"),
        ("double", vec![Value::Integer(1); 2], Fault::WRONG_PARAMETERS, "takes 1 parameters"),
        ("double", vec![Value::Integer(i32::MAX)], ErrorKind::TooBig.errno(), "too big"),
        ("system.listMethods", vec![Value::Nil], Fault::WRONG_PARAMETERS, "takes 0"),
        ("system.multicall", vec![Value::Nil], Fault::WRONG_PARAMETERS, "expected array"),
    ];
    for (name, params, code, text) in wrong {
        let fault = call(name, params).await.unwrap_err();
        assert_eq!(fault.code, code, "{name:?}: {fault}");
        assert!(fault.message.contains(text), "{name:?}: {fault}");
    }
    let fault = call(&"x".repeat(100_000), vec![]).await.unwrap_err();
    assert!(fault.message.len() < 200, "{}", fault.message.len());
}

#[tokio::test]
async fn one_call_may_carry_many() {
    let calls = vec![
        part("double", vec![Value::Integer(4)]),
        part("double", vec![Value::Nil]),
        part("no", vec![]),
        part("system.multicall", vec![Value::Array(vec![])]),
        Value::Nil,
        Value::Struct([("methodName".to_owned(), Value::String("double".to_owned()))].into()),
        part("double", vec![Value::Integer(5)]),
    ];
    let answer = call("system.multicall", vec![Value::Array(calls)]).await.unwrap();
    let Value::Array(results) = answer else { panic!("{answer:?}") };
    let codes: Vec<Option<i32>> = results
        .iter()
        .map(|result| match result {
            Value::Struct(members) => match members.get("faultCode") {
                Some(Value::Integer(code)) => Some(*code),
                _ => panic!("{members:?}"),
            },
            _ => None,
        })
        .collect();
    let (wrong, unknown, invalid) =
        (Some(Fault::WRONG_PARAMETERS), Some(Fault::UNKNOWN_METHOD), Some(Fault::INVALID_CALL));
    assert_eq!(codes, [None, wrong, unknown, invalid, wrong, wrong, None]);
    assert_eq!(results.first(), Some(&strings(&["8"])));
    assert_eq!(results.last(), Some(&strings(&["10"])));

    let many = vec![part("double", vec![Value::Integer(1)]); limits::MULTICALL_MAX + 1];
    let fault = call("system.multicall", vec![Value::Array(many)]).await.unwrap_err();
    assert!(fault.message.contains("1024"), "{fault}");
    assert_eq!(call("system.multicall", vec![strings(&[])]).await, Ok(strings(&[])));
}

#[tokio::test]
async fn one_multicall_makes_only_so_much_work() {
    let mut registry = registry();
    registry.weigh::<Double>();
    let count = limits::MULTICALL_HEAVY_MAX + 5;
    let light = part("system.methodHelp", vec![Value::String("double".to_owned())]);
    let heavy = || part("double", vec![Value::Integer(1)]);
    let calls = (0..count).map(|_| heavy()).chain([light]).collect();
    let params = vec![Value::Array(calls)];
    let answer = registry.dispatch("system.multicall", params, Caller::default()).await;
    let Value::Array(results) = answer.unwrap() else { panic!("no array") };
    let done = results.iter().filter(|result| matches!(result, Value::Array(_))).count();
    assert_eq!(done, limits::MULTICALL_HEAVY_MAX + 1, "{results:?}");
}
