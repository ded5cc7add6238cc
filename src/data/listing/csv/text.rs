//! Decodes the bytes of a list: UTF-8, UTF-16 with or without a byte order mark, and Windows-1252.
//! Refuses what is no text, and names it.

/// The text of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub text: String,
    /// The encoding, if it isn't UTF-8.
    pub encoding: Option<&'static str>,
}

/// First bytes of files that are no lists, and what such files are.
const MAGIC: [(&[u8], &str); 13] = [
    (b"\x89PNG", "a PNG image"),
    (b"\xFF\xD8\xFF", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (b"RIFF", "a WebP image or similar"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook"),
    (b"\xD0\xCF\x11\xE0", "an old Excel workbook or similar"),
    (b"\x1F\x8B", "a gzip archive"),
    (b"Rar!", "a RAR archive"),
    (b"7z\xBC\xAF", "a 7z archive"),
    (b"%PDF", "a PDF"),
    (b"PAR1", "a Parquet file"),
];

/// Decodes a list.
///
/// # Errors
/// Returns what the file is instead of text, and what to do.
pub(super) fn decode(bytes: &[u8]) -> Result<Text, String> {
    const ADVICE: &str = "is neither a folder of class folders nor a CSV with the columns \
                          path,label";
    if let Some((_, what)) = MAGIC.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        let more = if what.contains("Excel") {
            "; of a workbook, save the sheet as CSV"
        } else {
            ""
        };
        return Err(format!("found {what}, which {ADVICE}{more}"));
    }
    if let Some(rest) = bytes.strip_prefix(b"\xEF\xBB\xBF") {
        return Ok(of_bytes(rest));
    }
    // ASCII letters in UTF-16 have a zero in every second byte and none between them. Each test
    // allows for some other characters.
    let zeros = |start: usize| {
        bytes
            .iter()
            .skip(start)
            .step_by(2)
            .filter(|byte| **byte == 0)
            .count()
    };
    let is_high =
        |start: usize| zeros(start) * 5 > bytes.len() && zeros(1 - start) * 50 < bytes.len();
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ if is_high(1) => utf16(bytes, u16::from_le_bytes),
        _ if is_high(0) => utf16(bytes, u16::from_be_bytes),
        _ if bytes.contains(&0) => Err(format!("found bytes that aren't text; it {ADVICE}")),
        _ => Ok(of_bytes(bytes)),
    }
}

/// Decodes UTF-16 with the byte order of `unit`.
fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<Text, String> {
    let units: Vec<u16> = bytes
        .chunks_exact(2)
        .map(|pair| unit([pair[0], pair[1]]))
        .collect();
    let text = String::from_utf16(&units).map_err(|_| {
        "found bytes that begin like UTF-16 and aren't; save it as UTF-8".to_owned()
    })?;
    let text = text
        .strip_prefix('\u{FEFF}')
        .map_or(text.clone(), str::to_owned);
    Ok(Text {
        text,
        encoding: Some("UTF-16"),
    })
}

/// Decodes UTF-8, or Windows-1252 if the bytes aren't valid UTF-8.
fn of_bytes(bytes: &[u8]) -> Text {
    match std::str::from_utf8(bytes) {
        Ok(text) => Text {
            text: text.to_owned(),
            encoding: None,
        },
        Err(_) => Text {
            text: bytes.iter().map(|byte| windows_1252(*byte)).collect(),
            encoding: Some("Windows-1252 (Latin-1)"),
        },
    }
}

/// Characters of the bytes 0x80 to 0x9F in Windows-1252. Unassigned bytes stand for themselves.
const UPPER: [char; 32] = [
    '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8D}', 'Ž', '\u{8F}',
    '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9D}', 'ž', 'Ÿ',
];

fn windows_1252(byte: u8) -> char {
    if (0x80..0xA0).contains(&byte) {
        UPPER[usize::from(byte - 0x80)]
    } else {
        char::from(byte)
    }
}

/// Encodes a text in Windows-1252, to find a file whose name was written in that encoding. Returns
/// `None` if a character has no byte.
pub(super) fn to_windows_1252(text: &str) -> Option<Vec<u8>> {
    let byte = |letter: char| match UPPER.iter().position(|upper| *upper == letter) {
        Some(at) => u8::try_from(at + 0x80).ok(),
        None => u8::try_from(u32::from(letter)).ok(),
    };
    text.chars().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_encoding_gives_the_same_text() {
        let text = "path,label\nf\u{e9}.png,na\u{ef}ve\u{20ac}\n";
        let units: Vec<u16> = text.encode_utf16().collect();
        let utf16 = |bytes: fn(u16) -> [u8; 2], mark: &[u8]| {
            [
                mark.to_vec(),
                units.iter().flat_map(|unit| bytes(*unit)).collect(),
            ]
            .concat()
        };
        let cases = [
            (text.as_bytes().to_vec(), None),
            ([b"\xEF\xBB\xBF", text.as_bytes()].concat(), None),
            (utf16(u16::to_le_bytes, b"\xFF\xFE"), Some("UTF-16")),
            (utf16(u16::to_be_bytes, b"\xFE\xFF"), Some("UTF-16")),
            (utf16(u16::to_le_bytes, b""), Some("UTF-16")),
            (utf16(u16::to_be_bytes, b""), Some("UTF-16")),
            (
                b"path,label\nf\xE9.png,na\xEFve\x80\n".to_vec(),
                Some("Windows-1252 (Latin-1)"),
            ),
        ];
        for (bytes, encoding) in cases {
            assert_eq!(
                decode(&bytes),
                Ok(Text {
                    text: text.to_owned(),
                    encoding
                })
            );
        }
        assert_eq!(
            to_windows_1252("f\u{e9}\u{20ac}").as_deref(),
            Some(&b"f\xE9\x80"[..])
        );
        assert_eq!(to_windows_1252("\u{732b}"), None);
    }

    #[test]
    fn what_is_no_text_is_named() {
        for (bytes, expected) in [
            (
                &b"\x89PNG\r\n\x1a\n\0\0\0"[..],
                "found a PNG image, which is neither a folder of class folders nor a CSV",
            ),
            (b"\xFF\xD8\xFF\xE0\0", "a JPEG image"),
            (b"PK\x03\x04\x14\0", "save the sheet as CSV"),
            (b"abc\0def", "bytes that aren't text"),
        ] {
            let error = decode(bytes).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }
}
