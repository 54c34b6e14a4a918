//! What text XML can carry, and fast search in bytes.

/// Whether XML 1.0 has this character (its section 2.2). Of the control characters it has only
/// tab, line feed and carriage return.
#[must_use]
pub fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Whether XML has every character of a text.
pub(super) fn is_xml_text(text: &str) -> bool {
    // Text that is neither control characters nor near the end of the basic plane is most text,
    // and can be told by its bytes.
    let suspicious = |byte| byte < b' ' || byte == 0xef;
    match position(text.as_bytes(), suspicious) {
        None => true,
        Some(_) => text.chars().all(is_xml_char),
    }
}

/// Text for people in which everything that XML cannot carry is replaced.
pub(super) fn presentable(text: &str) -> String {
    text.chars().map(|c| if is_xml_char(c) { c } else { '\u{fffd}' }).collect()
}

/// The beginning of a text that came from a peer, made safe to print in one line.
pub(in crate::rpc) fn shortened(text: &str) -> String {
    const CHARS_SHOWN: usize = 80;
    let mut shown: String = text.chars().take(CHARS_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARS_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

/// [`shortened`] for text that may not even be UTF-8.
pub(super) fn shortened_bytes(text: &[u8]) -> String {
    const BYTES_READ: usize = 400;
    shortened(&String::from_utf8_lossy(text.get(..BYTES_READ).unwrap_or(text)))
}

/// White space as XML has it (its section 2.3).
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// The first byte that is `wanted`. Looks at a block at a time without a branch for every byte,
/// which compilers turn into vector instructions.
pub(super) fn position(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> Option<usize> {
    const BLOCK: usize = 64;
    let mut start = 0;
    for block in bytes.chunks(BLOCK) {
        if block.iter().fold(false, |found, byte| found | wanted(*byte)) {
            return block.iter().position(|byte| wanted(*byte)).map(|at| start + at);
        }
        start += block.len();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{is_xml_text, position, shortened};

    #[test]
    fn control_characters_are_not_text() {
        assert!(is_xml_text("a\tb\r\nc \u{e9}\u{fffd}\u{1f600}\u{feff}"));
        for bad in ["\0", "a\u{1b}", "\u{ffff}", "x\u{fffe}"] {
            assert!(!is_xml_text(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_byte_is_found_wherever_it_is() {
        for length in 0..200 {
            let mut bytes = vec![b'a'; length];
            assert_eq!(position(&bytes, |b| b == b'<'), None);
            for at in 0..length {
                bytes[at] = b'<';
                assert_eq!(position(&bytes, |b| b == b'<'), Some(at));
                bytes[at] = b'a';
            }
        }
    }

    #[test]
    fn what_a_peer_sent_fits_into_a_line() {
        assert_eq!(shortened("a\nb"), "a\\nb");
        assert!(shortened(&"x".repeat(1000)).chars().count() < 100);
    }
}
