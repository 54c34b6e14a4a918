//! What a remote method is: a type whose fields are the parameters, with its name, its help and
//! its conversions to and from XML-RPC values in one place, used by caller and server alike.

use std::vec;

use bytes::Bytes;
use dxr::Value;

use crate::rpc::fault::Fault;

/// A remote method; a value of the type is one call of it.
pub trait Method: Sized + Send + 'static {
    /// The name on the wire.
    const NAME: &'static str;
    /// One or two sentences for `system.methodHelp`.
    const HELP: &'static str;
    /// For `system.methodSignature`: each form is the answer's type, then the parameters' types.
    const SIGNATURES: &'static [&'static [&'static str]];
    /// Whether a call may be sent again when it is not known whether it was carried out.
    const REPEATABLE: bool;
    /// What the method answers.
    type Answer: Answer;

    /// Takes the contents out of the parameters that need not be copied to be sent, in their order; in
    /// the place of each an empty one stays. A method with such parameters has no others that may be
    /// empty contents.
    fn take_contents(&mut self) -> Vec<Bytes> {
        Vec::new()
    }

    /// Bytes that the answer may take, if that can be many: a server has room for them before it makes
    /// the answer. 0 if they are few, or known only to the handler, which takes the room itself.
    fn answer_size_max(&self) -> u64 {
        0
    }

    /// The parameters, in order.
    fn into_params(self) -> Vec<Value>;

    /// The call that these parameters make.
    ///
    /// # Errors
    /// [`WrongType`] says which parameter is missing, wrong or one too many.
    fn from_params(params: Params) -> Result<Self, WrongType>;
}

/// The answer of a remote method.
pub trait Answer: Sized + Send + 'static {
    /// The answer as a value of XML-RPC.
    fn into_value(self) -> Value;

    /// The answer that a value means.
    ///
    /// # Errors
    /// [`WrongType`] says what was expected.
    fn from_value(value: Value) -> Result<Self, WrongType>;
}

/// A parameter or an answer of the wrong type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongType(String);

impl WrongType {
    /// Says what was expected instead of what.
    pub fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl From<WrongType> for Fault {
    fn from(error: WrongType) -> Self {
        Self::new(Fault::WRONG_PARAMETERS, error.0)
    }
}

/// The parameters of a call on their way in: taken one by one, in order.
#[derive(Debug)]
pub struct Params {
    values: vec::IntoIter<Value>,
    given: usize,
    taken: usize,
}

impl Params {
    /// All parameters of one call.
    #[must_use]
    pub fn new(values: Vec<Value>) -> Self {
        Self { given: values.len(), taken: 0, values: values.into_iter() }
    }

    /// The next parameter, converted by `convert`; `name` is what people call it.
    ///
    /// # Errors
    /// If there is none, or `convert` refuses it.
    pub fn take<T>(
        &mut self,
        name: &str,
        convert: impl FnOnce(Value) -> Result<T, WrongType>,
    ) -> Result<T, WrongType> {
        self.taken += 1;
        let Some(value) = self.values.next() else {
            return Err(WrongType(format!(
                "parameter {} ({name}) is missing: the call has {}",
                self.taken, self.given
            )));
        };
        convert(value)
            .map_err(|error| WrongType(format!("parameter {} ({name}): {error}", self.taken)))
    }

    /// As [`Params::take`], of a parameter that can be left out at the end.
    ///
    /// # Errors
    /// If `convert` refuses it.
    pub fn take_if_any<T>(
        &mut self,
        name: &str,
        convert: impl FnOnce(Value) -> Result<T, WrongType>,
    ) -> Result<Option<T>, WrongType> {
        if self.values.len() == 0 { Ok(None) } else { self.take(name, convert).map(Some) }
    }

    /// Ends the list.
    ///
    /// # Errors
    /// If parameters are left over.
    pub fn finish(self) -> Result<(), WrongType> {
        if self.values.len() == 0 {
            return Ok(());
        }
        Err(WrongType(format!("takes {} parameters, the call has {}", self.taken, self.given)))
    }
}

/// The XML-RPC name of a value's type, for messages.
#[must_use]
pub fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Integer(_) => "int",
        Value::Long(_) => "i8",
        Value::Boolean(_) => "boolean",
        Value::String(_) => "string",
        Value::Double(_) => "double",
        Value::DateTime(_) => "dateTime.iso8601",
        Value::Base64(_) => "base64",
        Value::Struct(_) => "struct",
        Value::Array(_) => "array",
        Value::Nil => "nil",
        _ => "unknown type",
    }
}
