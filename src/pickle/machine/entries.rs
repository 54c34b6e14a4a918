//! A machine for a dict that is larger than memory: its entries are taken out as soon as they are
//! complete, and what no later entry refers to is forgotten.
//!
//! A complete value is known by its shape, a tuple of something and a date: protocols 1 and up put a
//! thousand keys and values on the stack before they store them.

use std::collections::HashSet;

use super::{Id, Machine, Object, Step};
use crate::limits;
use crate::pickle::PickleError;

/// What a machine keeps from one entry to the next.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Numbers in the memo that are asked for at some place.
    pub(super) recalled: HashSet<u32>,
    /// Objects memoised so far.
    pub(super) memoised: usize,
    /// Those of them in this entry that are asked for.
    pub(super) recent: Vec<Id>,
    /// Objects with smaller numbers are of earlier entries, and change no more.
    pub(super) floor: Id,
    /// Bytes of these.
    size: usize,
}

impl Machine {
    /// A machine that keeps what has one of these numbers in the memo.
    pub(in crate::pickle) fn for_entries(size_max: usize, recalled: HashSet<u32>) -> Self {
        // A value of XML may be nested deeper than what clients pickle themselves.
        let machine = Self::new(size_max, limits::XML_DEPTH_MAX);
        Self { kept: Some(Kept { recalled, ..Kept::default() }), ..machine }
    }

    /// Takes the key and the value that are on the stack, if the value is complete and more follows.
    pub(in crate::pickle) fn take_entry(&mut self) -> Option<(Id, Id)> {
        let [_, key, value] = *self.stack.as_slice() else { return None };
        if self.marks != [1] || self.dated(value).is_none() {
            return None;
        }
        self.stack.truncate(1);
        Some((key, value))
    }

    /// Takes what is in the outermost dict, if nothing else is on the stack.
    pub(in crate::pickle) fn take_members(&mut self) -> Vec<(Id, Id)> {
        let ([root], []) = (self.stack.as_slice(), self.marks.as_slice()) else {
            return Vec::new();
        };
        match self.objects.get_mut(*root as usize) {
            Some(Object::Dict(members)) => std::mem::take(members),
            _ => Vec::new(),
        }
    }

    /// Whether an object is a dict.
    pub(in crate::pickle) fn is_dict(&self, id: Id) -> bool {
        matches!(self.object(id), Ok(Object::Dict(_)))
    }

    /// The two parts of a value with its date.
    pub(in crate::pickle) fn dated(&self, value: Id) -> Option<(Id, jiff::civil::DateTime)> {
        let Ok(Object::Tuple(parts)) = self.object(value) else { return None };
        let [value, date] = *parts.as_slice() else { return None };
        match self.object(date) {
            Ok(Object::DateTime(date)) => Some((value, *date)),
            _ => None,
        }
    }

    /// Forgets the objects of the last entry, apart from those that others share with it.
    pub(in crate::pickle) fn forget_entry(&mut self) -> Step {
        let Some(kept) = &mut self.kept else { return Ok(()) };
        let recent = &mut self.objects[kept.floor as usize..];
        let mut is_live = vec![false; recent.len()];
        let mut wanted = std::mem::take(&mut kept.recent);
        wanted.extend(self.stack.first());
        while let Some(id) = wanted.pop() {
            let Some(at) = id.checked_sub(kept.floor).map(|at| at as usize) else { continue };
            if !std::mem::replace(&mut is_live[at], true) {
                wanted.extend(recent[at].parts());
            }
        }
        for (object, is_live) in recent.iter_mut().zip(&is_live) {
            if *is_live {
                kept.size = kept.size.saturating_add(object.size());
            } else {
                *object = Object::None;
            }
        }
        let live = is_live.iter().rposition(|is_live| *is_live).map_or(0, |at| at + 1);
        self.objects.truncate(kept.floor as usize + live);
        if kept.size > self.size_max || self.objects.len() > limits::PICKLE_OBJECTS_MAX {
            return Err(PickleError::TooBig("what its entries share"));
        }
        kept.floor = Id::try_from(self.objects.len()).map_err(|_| super::STACK)?;
        (self.pushes, self.size_left) = (0, self.size_max);
        Ok(())
    }
}

impl Object {
    /// The objects that this one refers to.
    fn parts(&self) -> Vec<Id> {
        match self {
            Self::List(items) | Self::Tuple(items) => items.clone(),
            Self::Dict(members) => members.iter().flat_map(|(k, v)| [*k, *v]).collect(),
            _ => Vec::new(),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Str(bytes) | Self::Bytes(bytes) | Self::ByteArray(bytes) | Self::Text(bytes) => {
                bytes.len()
            }
            _ => 0,
        }
    }
}
