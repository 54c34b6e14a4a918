//! The methods about methods, as every XML-RPC server has them: `system.listMethods`,
//! `system.methodHelp`, `system.methodSignature` (XML-RPC introspection of Eric Kidd, 2001) and
//! `system.multicall` (the same author's boxcarring, as Python has it).

use std::collections::BTreeSet;
use std::time::Instant;

use dxr::Value;

use crate::limits;
use crate::rpc::fault::Fault;
use crate::rpc::method::{Answer, Method, Params, WrongType, type_name};
use crate::rpc::registry::{Caller, Registry};

/// `system.listMethods()`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListMethods;

impl Method for ListMethods {
    const NAME: &'static str = "system.listMethods";
    const HELP: &'static str = "system.listMethods(): the names of all methods, sorted.";
    const SIGNATURES: &'static [&'static [&'static str]] = &[&["array"]];
    const REPEATABLE: bool = true;
    type Answer = BTreeSet<String>;

    fn into_params(self) -> Vec<Value> {
        Vec::new()
    }

    fn from_params(params: Params) -> Result<Self, WrongType> {
        params.finish().map(|()| Self)
    }
}

impl Answer for BTreeSet<String> {
    fn into_value(self) -> Value {
        Value::Array(self.into_iter().map(Value::String).collect())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        elements(value)?.into_iter().map(text).collect()
    }
}

pub(super) fn list_methods(
    registry: &Registry,
    _call: ListMethods,
) -> Result<BTreeSet<String>, Fault> {
    Ok(registry.methods.keys().copied().map(str::to_owned).collect())
}

macro_rules! about_one_method {
    ($(#[$doc:meta])* $method:ident, $name:literal, $answer:ty, $help:literal, $type:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $method {
            /// The name of the method that is asked about.
            pub method_name: String,
        }

        impl Method for $method {
            const NAME: &'static str = $name;
            const HELP: &'static str = $help;
            const SIGNATURES: &'static [&'static [&'static str]] = &[&[$type, "string"]];
            const REPEATABLE: bool = true;
            type Answer = $answer;

            fn into_params(self) -> Vec<Value> {
                vec![Value::String(self.method_name)]
            }

            fn from_params(mut params: Params) -> Result<Self, WrongType> {
                let method_name = params.take("method name", text)?;
                params.finish()?;
                Ok(Self { method_name })
            }
        }
    };
}

about_one_method! {
    /// `system.methodHelp(name)`
    MethodHelp, "system.methodHelp", String,
    "system.methodHelp(name): what the method does.", "string"
}

impl Answer for String {
    fn into_value(self) -> Value {
        Value::String(self)
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        text(value)
    }
}

pub(super) fn method_help(registry: &Registry, call: MethodHelp) -> Result<String, Fault> {
    Ok(registry.entry(&call.method_name)?.help.to_owned())
}

about_one_method! {
    /// `system.methodSignature(name)`
    MethodSignature, "system.methodSignature", Signatures,
    "system.methodSignature(name): an array of the method's forms; each is an array of the \
     answer's type and then the parameters' types.", "array"
}

/// The forms of a method, each the answer's type and then the parameters' types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signatures(pub Vec<Vec<String>>);

impl Answer for Signatures {
    fn into_value(self) -> Value {
        let form =
            |types: Vec<String>| Value::Array(types.into_iter().map(Value::String).collect());
        Value::Array(self.0.into_iter().map(form).collect())
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        let form = |value| elements(value)?.into_iter().map(text).collect();
        elements(value)?.into_iter().map(form).collect::<Result<_, _>>().map(Self)
    }
}

pub(super) fn method_signature(
    registry: &Registry,
    call: MethodSignature,
) -> Result<Signatures, Fault> {
    let forms = registry.entry(&call.method_name)?.signatures;
    let owned = |types: &&[&str]| types.iter().copied().map(str::to_owned).collect();
    Ok(Signatures(forms.iter().map(owned).collect()))
}

/// `system.multicall(calls)`
#[derive(Clone, Debug, PartialEq)]
pub struct Multicall {
    /// Each a struct of `methodName` and `params`.
    pub calls: Vec<Value>,
}

impl Method for Multicall {
    const NAME: &'static str = "system.multicall";
    const HELP: &'static str = "system.multicall(calls): carries out one after the other the \
        calls in an array of {\"methodName\": name, \"params\": array}. Answers an array with, \
        for each, either an array of its one answer or {\"faultCode\": code, \"faultString\": \
        message}.";
    const SIGNATURES: &'static [&'static [&'static str]] = &[&["array", "array"]];
    const REPEATABLE: bool = false;
    type Answer = Results;

    fn into_params(self) -> Vec<Value> {
        vec![Value::Array(self.calls)]
    }

    fn from_params(mut params: Params) -> Result<Self, WrongType> {
        let calls = params.take("calls", elements)?;
        params.finish()?;
        Ok(Self { calls })
    }
}

/// The outcomes of the calls in a [`Multicall`], as values.
#[derive(Clone, Debug, PartialEq)]
pub struct Results(pub Vec<Value>);

impl Answer for Results {
    fn into_value(self) -> Value {
        Value::Array(self.0)
    }

    fn from_value(value: Value) -> Result<Self, WrongType> {
        elements(value).map(Self)
    }
}

impl Registry {
    pub(super) async fn multicall(
        &self,
        multicall: Multicall,
        caller: Caller,
    ) -> Result<Results, Fault> {
        let count = multicall.calls.len();
        if count > limits::MULTICALL_MAX {
            let limit = limits::MULTICALL_MAX;
            let message = format!("system.multicall takes {limit} calls at once, not {count}");
            return Err(Fault::new(Fault::INVALID_CALL, message));
        }
        let mut results = Vec::with_capacity(count);
        let (mut size, mut budget) = (0, Budget::begin());
        for call in multicall.calls {
            let outcome = match part(call) {
                Ok((name, params)) => match budget.take(self.is_heavy(&name)) {
                    Ok(()) => self.dispatch_part(&name, params, caller.clone()).await,
                    Err(fault) => Err(fault),
                },
                Err(wrong) => Err(wrong.into()),
            };
            let result = match outcome {
                Ok(answer) => Value::Array(vec![answer]),
                Err(fault) => fault_members(fault),
            };
            size += size_of_value(&result);
            if size > limits::BODY_SIZE_MAX / 4 * 3 {
                let message = "the answers together are too large; ask for less at a time";
                return Err(Fault::new(Fault::INVALID_CALL, message));
            }
            results.push(result);
        }
        Ok(Results(results))
    }
}

/// The work that one [`Multicall`] may still make.
struct Budget {
    heavy: usize,
    end: Instant,
}

impl Budget {
    fn begin() -> Self {
        let end = Instant::now() + limits::MULTICALL_TIMEOUT;
        Self { heavy: limits::MULTICALL_HEAVY_MAX, end }
    }

    /// Takes one call out of it, unless that is too much.
    fn take(&mut self, is_heavy: bool) -> Result<(), Fault> {
        let refused = |message: String| Err(Fault::new(Fault::INVALID_CALL, message));
        if Instant::now() >= self.end {
            let limit = limits::MULTICALL_TIMEOUT;
            return refused(format!("not carried out: the calls before it took {limit:?}"));
        }
        match self.heavy.checked_sub(usize::from(is_heavy)) {
            Some(heavy) => self.heavy = heavy,
            None => {
                let limit = limits::MULTICALL_HEAVY_MAX;
                let message = "not carried out: system.multicall takes no more than";
                return refused(format!("{message} {limit} calls that make so much work"));
            }
        }
        Ok(())
    }
}

/// The method's name and the parameters of one call in a [`Multicall`].
fn part(call: Value) -> Result<(String, Vec<Value>), WrongType> {
    let Value::Struct(mut members) = call else {
        return Err(WrongType::new(format!(
            "a call in system.multicall must be a struct, not {}",
            type_name(&call)
        )));
    };
    let mut member = |name: &str| {
        let missing = || WrongType::new(format!("a call in system.multicall has no {name}"));
        members.remove(name).ok_or_else(missing)
    };
    Ok((text(member("methodName")?)?, elements(member("params")?)?))
}

fn fault_members(fault: Fault) -> Value {
    let members = [
        ("faultCode".to_owned(), Value::Integer(fault.code)),
        ("faultString".to_owned(), Value::String(fault.message)),
    ];
    Value::Struct(members.into())
}

/// About how many bytes a value takes in memory.
fn size_of_value(value: &Value) -> usize {
    let inside = match value {
        Value::String(text) => text.len(),
        Value::Base64(bytes) => bytes.len(),
        Value::Array(values) => values.iter().map(size_of_value).sum(),
        Value::Struct(members) => {
            members.iter().map(|(name, value)| name.len() + size_of_value(value)).sum()
        }
        _ => 0,
    };
    size_of::<Value>() + inside
}

fn text(value: Value) -> Result<String, WrongType> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(WrongType::new(format!("expected string, got {}", type_name(&other)))),
    }
}

fn elements(value: Value) -> Result<Vec<Value>, WrongType> {
    match value {
        Value::Array(values) => Ok(values),
        other => Err(WrongType::new(format!("expected array, got {}", type_name(&other)))),
    }
}
