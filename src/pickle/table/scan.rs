//! A first look over a pickle, which builds nothing: it is whole, and these are the numbers in the memo
//! that it asks for. What it must not hold is for the reader to say, which knows more of it.

use std::collections::HashSet;
use std::io::BufRead;

use crate::limits;
use crate::pickle::PickleError;
use crate::pickle::reader::STOP;
use crate::pickle::source::{Source, Stream};

/// Longest line with a number in the memo.
const NUMBER_SIZE_MAX: usize = 64;

/// The numbers in the memo that GET asks for.
///
/// # Errors
/// [`PickleError`] if the pickle is cut short, or has opcodes that there are not.
pub(super) fn recalled(from: impl BufRead) -> Result<HashSet<u32>, PickleError> {
    let mut source = Stream::new(from, NUMBER_SIZE_MAX);
    let mut recalled = HashSet::new();
    loop {
        source.renew();
        let at = source.at();
        let [opcode] = source.array()?;
        let index = match opcode {
            STOP if source.is_at_end()? => return Ok(recalled),
            STOP => return Err(PickleError::Length(source.at())),
            b'g' => Some(number(&source.line()?).ok_or(PickleError::Malformed(at))?),
            b'h' => Some(u32::from_le_bytes([source.array::<1>()?[0], 0, 0, 0])),
            b'j' => Some(u32::from_le_bytes(source.array()?)),
            _ => {
                pass_operands(&mut source, opcode, at)?;
                None
            }
        };
        recalled.extend(index);
        if recalled.len() > limits::PICKLE_OBJECTS_MAX {
            return Err(PickleError::TooBig("what its entries share"));
        }
    }
}

fn number(line: &[u8]) -> Option<u32> {
    std::str::from_utf8(line).ok()?.parse().ok()
}

fn pass_operands(
    source: &mut Stream<impl BufRead>,
    opcode: u8,
    at: usize,
) -> Result<(), PickleError> {
    match opcode {
        b'('
        | b']'
        | b'l'
        | b'a'
        | b'e'
        | b'}'
        | b'd'
        | b's'
        | b'u'
        | b')'
        | b't'
        | b'R'
        | b'N'
        | b'0'..=b'2'
        | b'b'
        | b'o'
        | b'Q'
        | 0x81
        | 0x85..=0x89
        | 0x8f..=0x94
        | 0x97
        | 0x98 => Ok(()),
        0x80 | 0x82 | b'K' | b'q' => source.skip(1),
        0x83 | b'M' => source.skip(2),
        0x84 | b'J' | b'r' => source.skip(4),
        0x95 | b'G' => source.skip(8),
        b'I' | b'L' | b'F' | b'S' | b'V' | b'P' | b'p' => source.skip_line(),
        b'c' | b'i' => source.skip_line().and_then(|()| source.skip_line()),
        0x8a | b'U' | b'C' | 0x8c => pass_counted::<1>(source),
        0x8b | b'T' | b'B' | b'X' => pass_counted::<4>(source),
        0x8e | 0x8d | 0x96 => pass_counted::<8>(source),
        _ => Err(PickleError::Opcode { opcode, at }),
    }
}

fn pass_counted<const N: usize>(source: &mut Stream<impl BufRead>) -> Result<(), PickleError> {
    let mut count = [0; 8];
    count[..N].copy_from_slice(&source.array::<N>()?);
    source.skip(u64::from_le_bytes(count))
}
