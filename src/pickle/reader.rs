//! Reading a pickle: its opcodes and their operands, and what they build.

use bytes::Bytes;

use super::machine::{Function, Id, Machine, Object};
use super::source::{Memory, Source};
use super::{PickleError, Value, escape};
use crate::limits;

/// The last opcode of every pickle.
pub(super) const STOP: u8 = b'.';

/// Reads a pickle of plain data.
///
/// `size_max` bounds, in bytes, the pickle, and the strings of the result as well: one that is
/// referred to twice counts twice. Strings share the memory of `pickle` wherever they stand in it
/// without escapes.
///
/// # Errors
/// [`PickleError`] for anything but one whole pickle of plain data within the limits.
pub fn read(pickle: &Bytes, size_max: usize) -> Result<Value, PickleError> {
    if pickle.len() > size_max {
        return Err(PickleError::TooBig("size"));
    }
    let machine = Machine::new(size_max, limits::PICKLE_DEPTH_MAX);
    let mut reader = Reader { source: Memory::new(pickle), machine };
    let root = reader.run()?;
    let mut budget = Budget { objects: limits::PICKLE_OBJECTS_MAX, bytes: size_max };
    build(&reader.machine, root, limits::PICKLE_DEPTH_MAX, &mut budget)
}

/// Carries out the opcodes of a source.
pub(super) struct Reader<S> {
    pub(super) source: S,
    pub(super) machine: Machine,
}

impl<S: Source> Reader<S> {
    fn run(&mut self) -> Result<Id, PickleError> {
        loop {
            let at = self.source.at();
            let opcode = self.byte()?;
            if opcode == STOP {
                return self.finish(at);
            }
            self.step(opcode, at)?;
        }
    }

    /// What is left on the stack behind STOP at `at`.
    pub(super) fn finish(&mut self, at: usize) -> Result<Id, PickleError> {
        if !self.source.is_at_end()? {
            return Err(PickleError::Length(self.source.at()));
        }
        self.machine.finish().map_err(|_| PickleError::Malformed(at))
    }

    /// Carries out the opcode that stands at `at`.
    pub(super) fn step(&mut self, opcode: u8, at: usize) -> Result<(), PickleError> {
        self.carry_out(opcode).map_err(|error| match error {
            PickleError::Malformed(_) => PickleError::Malformed(at),
            PickleError::Opcode { opcode, .. } => PickleError::Opcode { opcode, at },
            other => other,
        })
    }

    fn carry_out(&mut self, opcode: u8) -> Result<(), PickleError> {
        match opcode {
            // Protocol and frame heads say nothing that is needed here.
            0x80 => self.source.take(1).map(drop),
            0x95 => self.source.take(8).map(drop),
            b'(' => self.machine.mark(),
            b']' => self.machine.push(Object::List(Vec::new())),
            b'l' => self.machine.list(),
            b'a' => self.machine.append(false),
            b'e' => self.machine.append(true),
            b'}' => self.machine.push(Object::Dict(Vec::new())),
            b'd' => self.machine.dict(),
            b's' => self.machine.set_items(false),
            b'u' => self.machine.set_items(true),
            b')' => self.machine.tuple(Some(0)),
            0x85..=0x87 => self.machine.tuple(Some(usize::from(opcode - 0x84))),
            b't' => self.machine.tuple(None),
            b'p' => self.decimal().and_then(|index| self.machine.remember(Some(index))),
            b'q' => self.byte().and_then(|index| self.machine.remember(Some(index.into()))),
            b'r' => self.u32().and_then(|index| self.machine.remember(Some(index))),
            0x94 => self.machine.remember(None),
            b'g' => self.decimal().and_then(|index| self.machine.recall(index)),
            b'h' => self.byte().and_then(|index| self.machine.recall(index.into())),
            b'j' => self.u32().and_then(|index| self.machine.recall(index)),
            b'c' | 0x93 => self.function(opcode).and_then(|object| self.machine.push(object)),
            b'R' => self.machine.reduce(),
            b'i' => {
                let (module, name) = (self.source.line()?, self.source.line()?);
                Err(PickleError::global(&module, &name))
            }
            _ => {
                let object = self.scalar(opcode)?;
                self.machine.push(object)
            }
        }
    }

    fn scalar(&mut self, opcode: u8) -> Result<Object, PickleError> {
        Ok(match opcode {
            b'N' => Object::None,
            0x88 => Object::Bool(true),
            0x89 => Object::Bool(false),
            b'I' => match self.source.line()?.as_ref() {
                b"00" => Object::Bool(false),
                b"01" => Object::Bool(true),
                number => Object::Int(parse(number)?),
            },
            b'L' => {
                let line = self.source.line()?;
                Object::Int(parse(line.strip_suffix(b"L").unwrap_or(&line))?)
            }
            b'K' => Object::Int(self.byte()?.into()),
            b'M' => Object::Int(u16::from_le_bytes(self.source.array()?).into()),
            b'J' => Object::Int(i32::from_le_bytes(self.source.array()?).into()),
            0x8a => self.byte().and_then(|length| self.long(length.into()))?,
            0x8b => self.u32().and_then(|length| self.long(length.into()))?,
            b'F' => Object::Float(parse(&self.source.line()?)?),
            b'G' => Object::Float(f64::from_be_bytes(self.source.array()?)),
            b'S' => Object::Str(self.quoted()?),
            b'U' => Object::Str(self.counted::<1>()?),
            b'T' => Object::Str(self.counted::<4>()?),
            b'C' => Object::Bytes(self.counted::<1>()?),
            b'B' => Object::Bytes(self.counted::<4>()?),
            0x8e => Object::Bytes(self.counted::<8>()?),
            0x96 => Object::ByteArray(self.counted::<8>()?),
            b'V' => {
                let line = self.source.line()?;
                Object::Text(escape::from_raw_unicode(&line).ok_or(PickleError::Malformed(0))?)
            }
            0x8c => self.counted::<1>().and_then(text)?,
            b'X' => self.counted::<4>().and_then(text)?,
            0x8d => self.counted::<8>().and_then(text)?,
            _ => return Err(PickleError::Opcode { opcode, at: self.source.at() }),
        })
    }

    /// GLOBAL has module and name in two lines, STACK_GLOBAL as two strings on the stack.
    fn function(&mut self, opcode: u8) -> Result<Object, PickleError> {
        let (module, name) = if opcode == b'c' {
            (self.source.line()?, self.source.line()?)
        } else {
            let name = self.machine.pop()?;
            let module = self.machine.pop()?;
            match (self.machine.object(module)?, self.machine.object(name)?) {
                (Object::Text(module), Object::Text(name)) => (module.clone(), name.clone()),
                _ => return Err(PickleError::Malformed(0)),
            }
        };
        Ok(Object::Function(match (module.as_ref(), name.as_ref()) {
            (b"_codecs", b"encode") => Function::Encode,
            (b"builtins" | b"__builtin__", b"bytes") => Function::Bytes,
            (b"builtins" | b"__builtin__", b"bytearray") => Function::ByteArray,
            (b"datetime", b"datetime") => Function::DateTime,
            (module, name) => return Err(PickleError::global(module, name)),
        }))
    }

    /// A number in little-endian two's complement.
    fn long(&mut self, length: u64) -> Result<Object, PickleError> {
        let bytes = self.source.take(length)?;
        let sign = bytes.last().map_or(0, |last| if last & 0x80 == 0 { 0 } else { 0xff });
        let mut number = [sign; 16];
        let (low, high) = bytes.split_at(bytes.len().min(16));
        number[..low.len()].copy_from_slice(low);
        if high.iter().any(|byte| *byte != sign) || (number[15] ^ sign) & 0x80 != 0 {
            return Err(PickleError::TooBig("a number of more than 128 bits"));
        }
        Ok(Object::Int(i128::from_le_bytes(number)))
    }

    fn quoted(&mut self) -> Result<Bytes, PickleError> {
        let line = self.source.line()?;
        match line.as_ref() {
            [first @ (b'\'' | b'"'), .., last] if first == last => {
                escape::unquote(&line.slice(1..line.len() - 1)).ok_or(PickleError::Malformed(0))
            }
            _ => Err(PickleError::Malformed(0)),
        }
    }

    /// Bytes behind their count, which has `N` bytes, little end first.
    fn counted<const N: usize>(&mut self) -> Result<Bytes, PickleError> {
        let mut count = [0; 8];
        count[..N].copy_from_slice(&self.source.array::<N>()?);
        self.source.take(u64::from_le_bytes(count))
    }

    fn decimal(&mut self) -> Result<u32, PickleError> {
        parse(&self.source.line()?)
    }

    pub(super) fn byte(&mut self) -> Result<u8, PickleError> {
        self.source.array::<1>().map(|[byte]| byte)
    }

    fn u32(&mut self) -> Result<u32, PickleError> {
        self.source.array().map(u32::from_le_bytes)
    }
}

fn text(bytes: Bytes) -> Result<Object, PickleError> {
    if escape::is_text(&bytes) { Ok(Object::Text(bytes)) } else { Err(PickleError::Malformed(0)) }
}

fn parse<T: std::str::FromStr>(digits: &[u8]) -> Result<T, PickleError> {
    let number = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
    number.ok_or(PickleError::Malformed(0))
}

/// Room made for a list before its items are counted.
const CAPACITY_MAX: usize = 1024;

/// What may still be built.
pub(super) struct Budget {
    pub(super) objects: usize,
    pub(super) bytes: usize,
}

/// The tree below one object. Objects that hold themselves end at the depth limit, and shared ones
/// are counted as often as they appear.
pub(super) fn build(
    machine: &Machine,
    id: Id,
    depth: usize,
    budget: &mut Budget,
) -> Result<Value, PickleError> {
    let below = depth.checked_sub(1).ok_or(PickleError::TooBig("depth of nesting"))?;
    let objects = budget.objects.checked_sub(1);
    budget.objects = objects.ok_or(PickleError::TooBig("number of objects"))?;
    let mut counted = |bytes: &Bytes| {
        let left = budget.bytes.checked_sub(bytes.len());
        budget.bytes = left.ok_or(PickleError::TooBig("size"))?;
        Ok::<_, PickleError>(bytes.clone())
    };
    Ok(match machine.object(id)? {
        Object::None => Value::None,
        Object::Bool(value) => Value::Bool(*value),
        Object::Int(value) => Value::Int(*value),
        Object::Float(value) => Value::Float(*value),
        Object::Str(bytes) => Value::Str(counted(bytes)?),
        Object::Bytes(bytes) => Value::Bytes(counted(bytes)?),
        Object::ByteArray(bytes) => Value::ByteArray(counted(bytes)?),
        Object::Text(bytes) => Value::Text(counted(bytes)?),
        Object::DateTime(date) => Value::DateTime(*date),
        Object::List(items) => Value::List(build_all(machine, items, below, budget)?),
        Object::Tuple(items) => Value::Tuple(build_all(machine, items, below, budget)?),
        Object::Dict(items) => {
            let mut members = Vec::with_capacity(items.len().min(CAPACITY_MAX));
            for (key, value) in items {
                let key = build(machine, *key, below, budget)?;
                members.push((key, build(machine, *value, below, budget)?));
            }
            Value::Dict(members)
        }
        Object::Function(_) => return Err(PickleError::Unexpected("plain data")),
    })
}

fn build_all(
    machine: &Machine,
    items: &[Id],
    depth: usize,
    budget: &mut Budget,
) -> Result<Vec<Value>, PickleError> {
    let mut values = Vec::with_capacity(items.len().min(CAPACITY_MAX));
    for item in items {
        values.push(build(machine, *item, depth, budget)?);
    }
    Ok(values)
}
