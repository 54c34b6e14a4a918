//! What text XML can carry, and what people can read of it.

use memchr::{memchr, memchr3};

/// Bytes that are looked at at once.
const BLOCK: usize = 64;

/// Whether XML 1.0 has this character (its section 2.2). Of the control characters it has only
/// tab, line feed and carriage return.
#[must_use]
pub fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Whether XML has every character of a text.
pub(super) fn is_xml_text(text: &str) -> bool {
    // Text that is neither control characters nor near the end of the basic plane is most text,
    // and can be told by its bytes; without a branch for each, so that compilers use vector
    // instructions.
    let is_suspicious = |byte: &u8| *byte < b' ' || *byte == 0xef;
    let is_plain = |block: &[u8]| !block.iter().fold(false, |found, b| found | is_suspicious(b));
    text.as_bytes().chunks(BLOCK).all(is_plain) || text.chars().all(is_xml_char)
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

/// Where the first white space is.
pub(super) fn position_of_blank(text: &[u8]) -> Option<usize> {
    let line_end = memchr3(b'\n', b'\r', b'\t', text);
    memchr(b' ', &text[..line_end.unwrap_or(text.len())]).or(line_end)
}

#[cfg(test)]
mod tests {
    use super::{is_blank, is_xml_text, position_of_blank, shortened};

    #[test]
    fn control_characters_are_not_text() {
        assert!(is_xml_text("a\tb\r\nc \u{e9}\u{fffd}\u{1f600}\u{feff}"));
        for bad in ["\0", "a\u{1b}", "\u{ffff}", "x\u{fffe}"] {
            assert!(!is_xml_text(bad), "{bad:?}");
        }
    }

    #[test]
    fn the_first_blank_is_found_wherever_it_is() {
        let text = b"a b\tc\rd\ne";
        for start in 0..text.len() {
            let rest = &text[start..];
            assert_eq!(position_of_blank(rest), rest.iter().position(|byte| is_blank(*byte)));
        }
        assert_eq!(position_of_blank(b""), None);
    }

    #[test]
    fn what_a_peer_sent_fits_into_a_line() {
        assert_eq!(shortened("a\nb"), "a\\nb");
        assert!(shortened(&"x".repeat(1000)).chars().count() < 100);
    }
}
