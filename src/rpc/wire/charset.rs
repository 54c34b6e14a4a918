//! The character encodings of bodies, by the names that XML declarations have for them.

use encoding_rs::{Encoding, REPLACEMENT, UTF_8, UTF_16BE, UTF_16LE};

/// How the characters of a body are encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    /// US-ASCII, which is UTF-8 as well, but not with every byte.
    Ascii,
    /// UTF-16 in an order of bytes, or in the one that the body shows.
    Utf16(Option<ByteOrder>),
    /// Another one of the Encoding Standard (<https://encoding.spec.whatwg.org>). `is_iso` if the
    /// name is that of an ISO standard where the Encoding Standard has a code page of Windows,
    /// which differs from it in the control characters 0x80 to 0x9f.
    Other {
        encoding: &'static Encoding,
        is_iso: bool,
    },
}

/// Which byte of a unit of UTF-16 comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteOrder {
    Little,
    Big,
}

/// What the bytes from 0x80 on mean in an encoding of one byte for each character.
pub(super) type UpperHalf = [Option<char>; 128];

impl Charset {
    /// The encoding with this name, if anybody knows it.
    ///
    /// Python's names are known too: it writes `latin-1`, `utf_8` and `iso8859_15`.
    pub(super) fn named(name: &str) -> Option<Self> {
        let label = name.to_ascii_lowercase();
        let bare = label.replace(['-', '_'], "");
        match bare.as_str() {
            "ascii" | "usascii" | "ansix3.41968" => return Some(Self::Ascii),
            "utf16" => return Some(Self::Utf16(None)),
            "utf16le" => return Some(Self::Utf16(Some(ByteOrder::Little))),
            "utf16be" => return Some(Self::Utf16(Some(ByteOrder::Big))),
            _ => {}
        }
        let spellings = [label.clone(), label.replace('_', "-"), bare];
        let encoding = spellings.iter().find_map(|name| Encoding::for_label(name.as_bytes()))?;
        if encoding == REPLACEMENT {
            // Its names are those of encodings that are not safe to read.
            return None;
        }
        Some(if encoding == UTF_8 {
            Self::Utf8
        } else if encoding == UTF_16LE || encoding == UTF_16BE {
            Self::Utf16(None)
        } else {
            let page = encoding.name().strip_prefix("windows-");
            let is_iso = page.is_some_and(|number| !label.contains(number));
            Self::Other { encoding, is_iso }
        })
    }

    /// The table of the bytes from 0x80 on, if each of them is one character, or none.
    pub(super) fn upper_half(self) -> Option<UpperHalf> {
        match self {
            Self::Ascii => Some([None; 128]),
            Self::Other { encoding, is_iso } if encoding.is_single_byte() => {
                let mut table = [None; 128];
                for (byte, meaning) in (0x80..=u8::MAX).zip(&mut table) {
                    let is_control = is_iso && byte < 0xa0;
                    *meaning = if is_control { Some(byte.into()) } else { decode(encoding, byte) };
                }
                Some(table)
            }
            Self::Utf8 | Self::Utf16(_) | Self::Other { .. } => None,
        }
    }

    /// The encoding's name, for people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Ascii => "US-ASCII",
            Self::Utf16(None) => "UTF-16",
            Self::Utf16(Some(ByteOrder::Little)) => "UTF-16LE",
            Self::Utf16(Some(ByteOrder::Big)) => "UTF-16BE",
            Self::Other { encoding, is_iso: false } => encoding.name(),
            Self::Other { encoding, is_iso: true } => match encoding.name() {
                "windows-1254" => "ISO-8859-9",
                "windows-874" => "ISO-8859-11",
                _ => "ISO-8859-1",
            },
        }
    }
}

/// The character that a byte stands for in an encoding of single bytes.
fn decode(encoding: &'static Encoding, byte: u8) -> Option<char> {
    let mut text = [0; char::MAX_LEN_UTF8];
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let (_, _, length) = decoder.decode_to_utf8_without_replacement(&[byte], &mut text, true);
    std::str::from_utf8(text.get(..length)?).ok()?.chars().next()
}

#[cfg(test)]
mod tests {
    use super::{ByteOrder, Charset};

    fn name_of(label: &str) -> &'static str {
        Charset::named(label).unwrap_or_else(|| panic!("{label} is not known")).name()
    }

    #[test]
    fn every_usual_spelling_is_known() {
        let spellings = [
            ("UTF-8", "UTF-8"),
            ("utf_8", "UTF-8"),
            ("utf8", "UTF-8"),
            ("US-ASCII", "US-ASCII"),
            ("ascii", "US-ASCII"),
            ("ANSI_X3.4-1968", "US-ASCII"),
            ("ISO-8859-1", "ISO-8859-1"),
            ("iso8859-1", "ISO-8859-1"),
            ("iso_8859_1", "ISO-8859-1"),
            ("latin1", "ISO-8859-1"),
            ("Latin-1", "ISO-8859-1"),
            ("l1", "ISO-8859-1"),
            ("Windows-1252", "windows-1252"),
            ("cp1252", "windows-1252"),
            ("x-cp1252", "windows-1252"),
            ("windows-1251", "windows-1251"),
            ("iso-8859-9", "ISO-8859-9"),
            ("cp1254", "windows-1254"),
            ("TIS-620", "ISO-8859-11"),
            ("windows-874", "windows-874"),
            ("iso8859_15", "ISO-8859-15"),
            ("koi8_r", "KOI8-R"),
            ("utf-16", "UTF-16"),
            ("UTF16", "UTF-16"),
            ("ucs-2", "UTF-16"),
            ("utf_16_be", "UTF-16BE"),
            ("Shift_JIS", "Shift_JIS"),
            ("gb2312", "GBK"),
            ("euc-kr", "EUC-KR"),
        ];
        for (label, name) in spellings {
            assert_eq!(name_of(label), name, "{label}");
        }
        for label in ["", "utf-7", "utf-32", "cp037", "iso-2022-kr", "hz-gb-2312", "x", "größe"] {
            assert_eq!(Charset::named(label), None, "{label}");
        }
        assert_eq!(Charset::named("utf-16le"), Some(Charset::Utf16(Some(ByteOrder::Little))));
    }

    #[test]
    fn iso_standards_have_control_characters_where_windows_has_letters() {
        let meaning = |label, byte: u8| {
            Charset::named(label).unwrap().upper_half().unwrap()[usize::from(byte - 0x80)]
        };
        for byte in 0x80..=0xff {
            assert_eq!(meaning("iso-8859-1", byte), Some(char::from(byte)));
            assert_eq!(meaning("us-ascii", byte), None);
        }
        for label in ["iso-8859-1", "iso-8859-2", "iso-8859-9", "iso-8859-11", "iso-8859-15"] {
            assert_eq!(meaning(label, 0x80), Some('\u{80}'), "{label}");
            assert_eq!(meaning(label, 0x9f), Some('\u{9f}'), "{label}");
        }
        assert_eq!(meaning("windows-1252", 0x80), Some('€'));
        assert_eq!(meaning("windows-1254", 0x80), Some('€'));
        assert_eq!(meaning("iso-8859-9", 0xfd), Some('ı'));
        assert_eq!(meaning("iso-8859-15", 0xa4), Some('€'));
        assert_eq!(meaning("koi8-r", 0xc1), Some('а'));
        assert_eq!(meaning("windows-1253", 0xaa), None);
        assert_eq!(Charset::named("gbk").unwrap().upper_half(), None);
    }
}
