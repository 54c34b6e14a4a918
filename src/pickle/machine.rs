//! The stack machine that a pickle is a program for, over objects in one flat list.
//!
//! Objects refer to each other by index. So a reference costs four bytes however often it is
//! repeated, an object that holds itself is no leak, and nothing recurses when it is dropped.

mod entries;

use std::collections::HashMap;

use bytes::Bytes;
use jiff::civil::DateTime;

use super::{PickleError, date};
use crate::limits;
use entries::Kept;

/// An object's place in the list.
pub(super) type Id = u32;

/// What a pickle may call.
#[derive(Clone, Copy, Debug)]
pub(super) enum Function {
    /// `_codecs.encode(text, "latin1")`: how Python 3 writes bytes in protocols 0 to 2.
    Encode,
    /// `bytes()`: how it writes empty ones.
    Bytes,
    /// `bytearray(bytes)`, `bytearray(text, "latin-1")`, `bytearray()`.
    ByteArray,
    /// `datetime.datetime(state)`.
    DateTime,
}

/// One object.
#[derive(Clone, Debug)]
pub(super) enum Object {
    None,
    Bool(bool),
    Int(i128),
    Float(f64),
    Str(Bytes),
    Bytes(Bytes),
    ByteArray(Bytes),
    Text(Bytes),
    DateTime(DateTime),
    List(Vec<Id>),
    Tuple(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Function(Function),
}

/// The machine's state.
pub(super) struct Machine {
    objects: Vec<Object>,
    stack: Vec<Id>,
    /// Heights of the stack at which a MARK stands.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    pushes: usize,
    /// Bytes that calls may still make.
    size_left: usize,
    size_max: usize,
    depth_max: usize,
    /// For a dict whose entries are taken out one by one.
    kept: Option<Kept>,
}

type Step = Result<(), PickleError>;

/// What a machine says when the stack does not hold what an opcode needs; the caller knows where.
const STACK: PickleError = PickleError::Malformed(0);

impl Machine {
    /// A machine whose calls make at most `size_max` bytes together.
    pub(super) fn new(size_max: usize, depth_max: usize) -> Self {
        Self {
            objects: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            pushes: 0,
            size_left: size_max,
            size_max,
            depth_max,
            kept: None,
        }
    }

    pub(super) fn object(&self, id: Id) -> Result<&Object, PickleError> {
        self.objects.get(id as usize).ok_or(STACK)
    }

    /// Adds a new object and pushes it.
    pub(super) fn push(&mut self, object: Object) -> Step {
        let id = Id::try_from(self.objects.len()).map_err(|_| STACK)?;
        self.push_id(id)?;
        self.objects.push(object);
        Ok(())
    }

    /// Every push counts: so the objects, the stack and all lists together are bounded.
    fn push_id(&mut self, id: Id) -> Step {
        self.pushes += 1;
        if self.pushes > limits::PICKLE_OBJECTS_MAX {
            return Err(PickleError::TooBig("number of objects"));
        }
        self.stack.push(id);
        Ok(())
    }

    pub(super) fn mark(&mut self) -> Step {
        if self.marks.len() >= self.depth_max {
            return Err(PickleError::TooBig("depth of nesting"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Id, PickleError> {
        if self.stack.len() <= self.marks.last().copied().unwrap_or(0) {
            return Err(STACK);
        }
        self.stack.pop().ok_or(STACK)
    }

    /// Everything above the last mark, which goes too.
    fn pop_mark(&mut self) -> Result<Vec<Id>, PickleError> {
        let height = self.marks.pop().ok_or(STACK)?;
        Ok(self.stack.split_off(height))
    }

    /// The last object, when nothing else is left.
    pub(super) fn finish(&mut self) -> Result<Id, PickleError> {
        match (self.marks.len(), self.stack.as_slice()) {
            (0, [last]) => Ok(*last),
            _ => Err(STACK),
        }
    }

    fn top(&self) -> Result<Id, PickleError> {
        let height = self.marks.last().copied().unwrap_or(0);
        self.stack.get(height..).and_then(<[Id]>::last).copied().ok_or(STACK)
    }

    /// The topmost object, to be changed. No pickler changes what it has finished.
    fn top_mut(&mut self) -> Result<&mut Object, PickleError> {
        let id = self.top()?;
        let is_finished = self.kept.as_ref().is_some_and(|kept| id < kept.floor);
        if is_finished && self.stack.first() != Some(&id) {
            return Err(STACK);
        }
        self.objects.get_mut(id as usize).ok_or(STACK)
    }

    pub(super) fn remember(&mut self, index: Option<u32>) -> Step {
        let id = self.top()?;
        let count = self.kept.as_ref().map_or(self.memo.len(), |kept| kept.memoised);
        let index = index.map_or_else(|| u32::try_from(count).map_err(|_| STACK), Ok)?;
        if let Some(kept) = &mut self.kept {
            kept.memoised += 1;
            if !kept.recalled.contains(&index) {
                return Ok(());
            }
            kept.recent.push(id);
        }
        self.memo.insert(index, id);
        if self.memo.len() > limits::PICKLE_OBJECTS_MAX {
            return Err(PickleError::TooBig("number of objects"));
        }
        Ok(())
    }

    pub(super) fn recall(&mut self, index: u32) -> Step {
        let id = *self.memo.get(&index).ok_or(STACK)?;
        if self.kept.is_some() && self.stack.first() == Some(&id) {
            return Err(PickleError::Unexpected("a table: it holds itself"));
        }
        self.push_id(id)
    }

    /// A tuple of the `count` topmost objects, or of all above the mark.
    pub(super) fn tuple(&mut self, count: Option<usize>) -> Step {
        let items = match count {
            None => self.pop_mark()?,
            Some(count) => {
                let mut items = Vec::with_capacity(count);
                for _ in 0..count {
                    items.push(self.pop()?);
                }
                items.reverse();
                items
            }
        };
        self.push(Object::Tuple(items))
    }

    pub(super) fn list(&mut self) -> Step {
        let items = self.pop_mark()?;
        self.push(Object::List(items))
    }

    pub(super) fn dict(&mut self) -> Step {
        let items = pairs(&self.pop_mark()?)?;
        self.push(Object::Dict(items))
    }

    pub(super) fn append(&mut self, marked: bool) -> Step {
        let items = if marked { self.pop_mark()? } else { vec![self.pop()?] };
        match self.top_mut()? {
            Object::List(list) => list.extend(items),
            _ => return Err(STACK),
        }
        Ok(())
    }

    pub(super) fn set_items(&mut self, marked: bool) -> Step {
        let items = if marked {
            self.pop_mark()?
        } else {
            let value = self.pop()?;
            vec![self.pop()?, value]
        };
        let items = pairs(&items)?;
        match self.top_mut()? {
            Object::Dict(members) => members.extend(items),
            _ => return Err(STACK),
        }
        Ok(())
    }

    /// Calls a function with a tuple of arguments; [`call`](Self::call) knows all there are.
    pub(super) fn reduce(&mut self) -> Step {
        let arguments = self.pop()?;
        let function = self.pop()?;
        let (Object::Function(function), Object::Tuple(arguments)) =
            (self.object(function)?, self.object(arguments)?)
        else {
            return Err(STACK);
        };
        let result = self.call(*function, arguments).ok_or(STACK)?;
        if let Object::Bytes(made) | Object::ByteArray(made) = &result {
            let left = self.size_left.checked_sub(made.len());
            self.size_left = left.ok_or(PickleError::TooBig("size"))?;
        }
        self.push(result)
    }

    fn call(&self, function: Function, arguments: &[Id]) -> Option<Object> {
        let argument = |n: usize| self.objects.get(*arguments.get(n)? as usize);
        Some(match (function, arguments.len(), argument(0), argument(1)) {
            (Function::Encode, 2, Some(Object::Text(text)), Some(codec)) => {
                Object::Bytes(encode_latin1(text, codec)?)
            }
            (Function::Bytes, 0, None, None) => Object::Bytes(Bytes::new()),
            (Function::ByteArray, 0, None, None) => Object::ByteArray(Bytes::new()),
            (Function::ByteArray, 1, Some(Object::Bytes(bytes) | Object::Str(bytes)), None) => {
                Object::ByteArray(bytes.clone())
            }
            (Function::ByteArray, 2, Some(Object::Text(text)), Some(codec)) => {
                Object::ByteArray(encode_latin1(text, codec)?)
            }
            (Function::DateTime, 1, Some(Object::Bytes(state) | Object::Str(state)), None) => {
                Object::DateTime(date::read(state)?)
            }
            _ => return None,
        })
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, PickleError> {
    let (pairs, []) = items.as_chunks::<2>() else { return Err(STACK) };
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

fn encode_latin1(text: &Bytes, codec: &Object) -> Option<Bytes> {
    let (Object::Str(name) | Object::Text(name)) = codec else { return None };
    let is_latin1 = [&b"latin1"[..], b"latin-1"].contains(&name.as_ref());
    is_latin1.then(|| super::escape::to_latin1(text)).flatten()
}
