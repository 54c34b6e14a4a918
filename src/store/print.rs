//! The lines of `print_content`.

use std::io::Write;

use crate::clock::Timestamp;
use crate::error::Result;
use crate::types::{Key, StoredValue};

/// Bytes of a value that are shown.
const PREVIEW_SIZE: usize = 60;

/// Prints an entry on one line: key, type, size, seconds left, the beginning of the value. Whatever
/// is not printable ASCII is escaped, so that no value can forge a line or command a terminal.
///
/// # Errors
/// What the output says.
pub fn print_line(
    out: &mut impl Write,
    key: &Key,
    value: &StoredValue,
    expires: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let StoredValue { kind, bytes } = value;
    let shown = bytes.get(..PREVIEW_SIZE).unwrap_or(bytes).escape_ascii();
    let more = if bytes.len() > PREVIEW_SIZE { "..." } else { "" };
    let (size, left_s) = (bytes.len(), expires.since_ms(now) / 1000);
    writeln!(out, "{key} {kind:?} {size} bytes, {left_s} s: {shown}{more}")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::print_line;
    use crate::clock::Timestamp;
    use crate::types::{Key, StoredValue, ValueKind};

    #[test]
    fn a_line_is_one_line_whatever_is_in_it() {
        let key = Key::new("a\nb").unwrap();
        let bytes = Bytes::from(vec![b'\n'; 100]);
        let value = StoredValue { kind: ValueKind::Base64, bytes };
        let mut out = Vec::new();
        print_line(&mut out, &key, &value, Timestamp(9500), Timestamp(0)).unwrap();
        let line = String::from_utf8(out).unwrap();
        assert!(line.starts_with("a\\nb Base64 100 bytes, 9 s: \\n\\n"), "{line}");
        assert!(line.ends_with("\\n...\n") && line.lines().count() == 1, "{line}");
    }
}
