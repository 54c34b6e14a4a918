//! The escapes of protocol 0: string literals of Python 2, and its raw-unicode-escape encoding.

use bytes::Bytes;

/// What a quoted string literal without its quotes stands for; `None` if an escape is cut short.
pub(super) fn unquote(literal: &Bytes) -> Option<Bytes> {
    if !literal.contains(&b'\\') {
        return Some(literal.clone());
    }
    let mut out = Vec::with_capacity(literal.len());
    let mut rest = literal.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match rest.next()? {
            b'\n' => {}
            quoted @ (b'\\' | b'\'' | b'"') => out.push(quoted),
            b'a' => out.push(0x07),
            b'b' => out.push(0x08),
            b't' => out.push(b'\t'),
            b'n' => out.push(b'\n'),
            b'v' => out.push(0x0b),
            b'f' => out.push(0x0c),
            b'r' => out.push(b'\r'),
            b'x' => {
                let digits = [hex_digit(rest.next()?)?, hex_digit(rest.next()?)?];
                out.push(digits[0] << 4 | digits[1]);
            }
            first @ b'0'..=b'7' => {
                let mut value = u32::from(first - b'0');
                for _ in 0..2 {
                    let Some(digit) = rest.next_if(|b| (b'0'..=b'7').contains(b)) else { break };
                    value = value << 3 | u32::from(digit - b'0');
                }
                out.push(value.to_le_bytes()[0]);
            }
            other => out.extend([b'\\', other]),
        }
    }
    Some(out.into())
}

fn hex_digit(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// The text of a raw-unicode-escape line: Latin-1, with `\uXXXX` and `\UXXXXXXXX` behind an odd
/// number of backslashes. `None` if an escape is cut short or beyond Unicode.
pub(super) fn from_raw_unicode(line: &Bytes) -> Option<Bytes> {
    if line.is_ascii() && !line.contains(&b'\\') {
        return Some(line.clone());
    }
    let mut out = Vec::with_capacity(line.len());
    let mut rest: &[u8] = line;
    let mut backslashes_before = 0_usize;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte != b'\\' && backslashes_before == 0 {
            let plain = rest.split(|byte| *byte == b'\\').next().unwrap_or_default();
            push_latin1(&mut out, plain);
            rest = &rest[plain.len()..];
            continue;
        }
        let is_escape = byte == b'\\' && backslashes_before.is_multiple_of(2);
        let digits = match tail.first() {
            Some(b'u') if is_escape => 4,
            Some(b'U') if is_escape => 8,
            _ => {
                push_code_point(&mut out, u32::from(byte))?;
                backslashes_before = if byte == b'\\' { backslashes_before + 1 } else { 0 };
                rest = tail;
                continue;
            }
        };
        let digits = tail.get(1..=digits)?;
        let mut code = 0_u32;
        for digit in digits {
            code = code << 4 | u32::from(hex_digit(*digit)?);
        }
        push_code_point(&mut out, code)?;
        backslashes_before = 0;
        rest = &tail[1 + digits.len()..];
    }
    Some(out.into())
}

/// Appends Latin-1 as UTF-8.
pub(super) fn push_latin1(out: &mut Vec<u8>, latin1: &[u8]) {
    out.reserve(latin1.len());
    for byte in latin1 {
        if byte.is_ascii() {
            out.push(*byte);
        } else {
            out.push(0xc0 | byte >> 6);
            out.push(0x80 | byte & 0x3f);
        }
    }
}

/// Appends a code point as UTF-8; a surrogate in three bytes, or together with the one before it
/// as the character that the pair means.
fn push_code_point(out: &mut Vec<u8>, code: u32) -> Option<()> {
    if let Some(c) = char::from_u32(code) {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        return Some(());
    }
    if !(0xd800..0xe000).contains(&code) {
        return None;
    }
    if code >= 0xdc00
        && let Some(&[0xed, second @ 0xa0..=0xaf, third]) = out.last_chunk::<3>()
    {
        let high = u32::from(second & 0x0f) << 6 | u32::from(third & 0x3f);
        let pair = char::from_u32(0x1_0000 + (high << 10 | (code - 0xdc00)))?;
        out.truncate(out.len() - 3);
        out.extend_from_slice(pair.encode_utf8(&mut [0; 4]).as_bytes());
        return Some(());
    }
    let [low, high, ..] = code.to_le_bytes();
    out.extend([0xed, 0x80 | (high & 0x0f) << 2 | low >> 6, 0x80 | low & 0x3f]);
    Some(())
}

/// Whether bytes are UTF-8, except that surrogates may stand alone.
pub(super) fn is_text(bytes: &[u8]) -> bool {
    if std::str::from_utf8(bytes).is_ok() {
        return true;
    }
    let mut rest = bytes;
    while let Some((_, tail)) = split_code_point(rest) {
        rest = tail;
    }
    rest.is_empty()
}

/// The code points of text, up to where it is none.
pub(super) fn code_points(text: &[u8]) -> impl Iterator<Item = u32> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (code, tail) = split_code_point(rest)?;
        rest = tail;
        Some(code)
    })
}

fn split_code_point(text: &[u8]) -> Option<(u32, &[u8])> {
    let width = match text.first()? {
        0..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let (head, rest) = text.split_at_checked(width)?;
    if let Ok(c) = std::str::from_utf8(head) {
        return Some((u32::from(c.chars().next()?), rest));
    }
    match *head {
        [0xed, second @ 0xa0..=0xbf, third @ 0x80..=0xbf] => {
            let code = 0xd000 | u32::from(second & 0x3f) << 6 | u32::from(third & 0x3f);
            Some((code, rest))
        }
        _ => None,
    }
}

/// Text as Latin-1; `None` if it has a character beyond.
pub fn to_latin1(text: &Bytes) -> Option<Bytes> {
    if text.is_ascii() {
        return Some(text.clone());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = std::str::from_utf8(text).ok()?.as_bytes().iter();
    while let Some(byte) = rest.next() {
        match byte {
            0..=0x7f => out.push(*byte),
            // The first of two bytes; what is beyond Latin-1 begins with a higher one.
            0xc2 | 0xc3 => out.push(byte << 6 | rest.next()? & 0x3f),
            _ => return None,
        }
    }
    Some(out.into())
}

/// Text as bytes, each lone surrogate from U+DC80 to U+DCFF as the byte it stands for.
pub(super) fn surrogates_to_bytes(text: &Bytes) -> Bytes {
    if std::str::from_utf8(text).is_ok() {
        return text.clone();
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest: &[u8] = text;
    while let Some((code, tail)) = split_code_point(rest) {
        match code {
            0xdc80..=0xdcff => out.push(code.to_le_bytes()[0]),
            _ => out.extend_from_slice(&rest[..rest.len() - tail.len()]),
        }
        rest = tail;
    }
    out.into()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{from_raw_unicode, is_text, surrogates_to_bytes, to_latin1, unquote};

    fn raw(line: &'static [u8]) -> Option<Vec<u8>> {
        from_raw_unicode(&Bytes::from_static(line)).map(Into::into)
    }

    #[test]
    fn raw_unicode_escapes_stand_behind_odd_backslashes_only() {
        assert_eq!(raw(br"a\\u0041"), Some(br"a\\u0041".to_vec()));
        assert_eq!(raw(br"\\\u0041"), Some(br"\\A".to_vec()));
        assert_eq!(raw(br"\u005cu0041\n"), Some(br"\u0041\n".to_vec()));
        assert_eq!(raw(b"\xe4\\u20ac"), Some("ä€".into()));
        assert_eq!(raw(br"\ud83d\ude00 \U0001f600"), Some("😀 😀".into()));
        for cut in [&br"\u12"[..], br"\u12g4", br"\U00110000"] {
            assert_eq!(raw(cut), None);
        }
    }

    #[test]
    fn lone_surrogates_are_kept_and_stand_for_bytes_in_paths() {
        let text = Bytes::from(raw(br"/\udcff\ud800").unwrap());
        assert!(is_text(&text) && std::str::from_utf8(&text).is_err());
        assert_eq!(surrogates_to_bytes(&text), &b"/\xff\xed\xa0\x80"[..]);
        assert!(!is_text(b"\xff") && !is_text(b"\xed\xa0"));
    }

    #[test]
    fn string_literals_of_python_2_are_read() {
        let read = |literal: &'static [u8]| unquote(&Bytes::from_static(literal));
        let plain: &[u8] = b"a\\'\n\0\xffA\x07z\\q";
        assert_eq!(read(br"a\\\'\n\x00\xff\101\7z\q").unwrap(), plain);
        assert_eq!(read(br"\x4"), None);
        assert_eq!(read(b"\\"), None);
    }

    #[test]
    fn latin_1_ends_at_255() {
        assert_eq!(to_latin1(&"aÿ".into()), Some(Bytes::from_static(b"a\xff")));
        assert_eq!(to_latin1(&"€".into()), None);
    }
}
