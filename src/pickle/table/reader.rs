//! Reading a table.

use std::collections::HashSet;
use std::io::BufRead;

use jiff::civil::DateTime;

use super::scan;
use crate::limits;
use crate::pickle::machine::{Id, Machine};
use crate::pickle::reader::{Budget, Reader, STOP, build};
use crate::pickle::source::{Source, Stream};
use crate::pickle::{PickleError, Value};

/// Reads a table, of any protocol. Never more than an entry is in memory, and what entries share: so a
/// pickle is looked over first, for what that is.
pub struct TableReader {
    recalled: HashSet<u32>,
    /// Largest entry as it is pickled, in bytes.
    pub(super) entry_size_max: usize,
    /// Largest key and value, and what all entries share, in bytes.
    pub(super) value_size_max: usize,
}

impl TableReader {
    /// Looks over a pickle.
    ///
    /// # Errors
    /// [`PickleError`] for what cannot be read as a table in any case.
    pub fn look_over(from: impl BufRead) -> Result<Self, PickleError> {
        Ok(Self {
            recalled: scan::recalled(from)?,
            entry_size_max: limits::DUMP_ENTRY_SIZE_MAX,
            value_size_max: limits::BODY_SIZE_MAX,
        })
    }

    /// Reads the entries of the same pickle, in its order. Of equal keys the last one counts.
    ///
    /// # Errors
    /// [`PickleError`] for anything but one whole table of plain data within the limits, and what
    /// `each` returns.
    pub fn read<E: From<PickleError>>(
        &self,
        from: impl BufRead,
        mut each: impl FnMut(Value, Value, DateTime) -> Result<(), E>,
    ) -> Result<(), E> {
        let machine = Machine::for_entries(self.value_size_max, self.recalled.clone());
        let source = Stream::new(from, self.entry_size_max);
        let mut reader = Reader { source, machine };
        loop {
            let at = reader.source.at();
            let opcode = reader.byte()?;
            // A value that has a place in the memo is told right behind it.
            if !matches!(opcode, b'p' | b'q' | b'r' | 0x94)
                && let Some(entry) = reader.machine.take_entry()
            {
                self.hand_over(&mut reader, &[entry], &mut each)?;
            }
            if opcode == STOP {
                return Ok(end(&mut reader, at)?);
            }
            reader.step(opcode, at)?;
            if matches!(opcode, b's' | b'u' | b'd') {
                let entries = reader.machine.take_members();
                self.hand_over(&mut reader, &entries, &mut each)?;
            }
        }
    }

    /// Builds entries, and then forgets them.
    fn hand_over<E: From<PickleError>>(
        &self,
        reader: &mut Reader<Stream<impl BufRead>>,
        entries: &[(Id, Id)],
        each: &mut impl FnMut(Value, Value, DateTime) -> Result<(), E>,
    ) -> Result<(), E> {
        for (key, value) in entries {
            let no_table = PickleError::Unexpected("a table of values with dates of expiry");
            let (value, expiry) = reader.machine.dated(*value).ok_or(no_table)?;
            let mut budget =
                Budget { objects: limits::PICKLE_OBJECTS_MAX, bytes: self.value_size_max };
            let mut build = |id| build(&reader.machine, id, limits::XML_DEPTH_MAX, &mut budget);
            each(build(*key)?, build(value)?, expiry)?;
        }
        if !entries.is_empty() {
            reader.source.renew();
            reader.machine.forget_entry()?;
        }
        Ok(())
    }
}

/// The end of a table.
fn end(reader: &mut Reader<Stream<impl BufRead>>, at: usize) -> Result<(), PickleError> {
    let root = reader.finish(at)?;
    if reader.machine.is_dict(root) { Ok(()) } else { Err(PickleError::Unexpected("a table")) }
}
