//! Names of files, folders and classes as text that can be printed, written to a list, and turned
//! back into the path.
//!
//! Control characters of a terminal and bytes that aren't UTF-8 are written as `\x1B` or `\xE9`;
//! everything else stays as it is. A backslash that could be read as the start of such an escape is
//! written as `\x5C`, so that no two names have the same text.

use std::{
    ffi::OsStr,
    fmt::Write,
    path::{Path, PathBuf},
};

/// Returns a path as printable text.
pub fn of_path(path: &Path) -> String {
    of_os(path.as_os_str())
}

/// Returns a name of the operating system as printable text.
pub fn of_os(name: &OsStr) -> String {
    let mut text = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        let valid = chunk.valid();
        for (at, letter) in valid.char_indices() {
            // On Windows a backslash separates folders and names are Unicode.
            let is_taken_for_one = cfg!(unix) && escaped_byte(&valid.as_bytes()[at..]).is_some();
            push(&mut text, letter, is_taken_for_one || is_obeyed(letter));
        }
        push_bytes(&mut text, chunk.invalid());
    }
    text
}

/// Returns text from foreign_names, for example a label in a list, with control characters escaped.
/// Text of [`of_path`] stays as it is.
pub fn of_text(text: &str) -> String {
    printable(text, &[])
}

/// Returns text for a terminal with control characters escaped, except line breaks and tabs.
pub fn of_lines(text: &str) -> String {
    printable(text, &['\n', '\t'])
}

/// Escapes every control character that isn't in `kept`.
fn printable(text: &str, kept: &[char]) -> String {
    let mut clean = String::with_capacity(text.len());
    text.chars().for_each(|letter| {
        push(
            &mut clean,
            letter,
            is_obeyed(letter) && !kept.contains(&letter),
        )
    });
    clean
}

/// Returns a name for a sentence or a list: in quotes if it is empty, has a comma or semicolon, or
/// has ends or characters that wouldn't be visible.
pub fn quoted(name: &str) -> String {
    let is_plain = !name.is_empty()
        && name.trim() == name
        && !name.contains([',', ';'])
        && !name.chars().any(is_unseen);
    if is_plain {
        return name.to_owned();
    }
    let mut text = "\"".to_owned();
    for letter in name.chars() {
        if is_unseen(letter) {
            let _ = write!(text, "\\u{{{:x}}}", u32::from(letter));
        } else {
            text.push(letter);
        }
    }
    text + "\""
}

/// Returns the path of a text of [`of_path`]. Its escapes are read as such only if the file that
/// they lead to exists; any other text is taken literally.
pub fn to_path(text: &str) -> PathBuf {
    unescaped(text)
        .filter(|path| path.symlink_metadata().is_ok())
        .unwrap_or_else(|| PathBuf::from(text))
}

/// Returns the path that the escapes in a text stand for, or `None` if it has none.
#[cfg(unix)]
pub fn unescaped(text: &str) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let (mut bytes, mut rest, mut has_any) = (Vec::new(), text.as_bytes(), false);
    while let Some(first) = rest.first() {
        let escaped = escaped_byte(rest);
        has_any |= escaped.is_some();
        bytes.push(escaped.unwrap_or(*first));
        rest = &rest[if escaped.is_some() { 4 } else { 1 }..];
    }
    has_any.then(|| std::ffi::OsString::from_vec(bytes).into())
}

/// Returns the path that the escapes in a text stand for: never one here, where names are Unicode.
#[cfg(not(unix))]
pub fn unescaped(_text: &str) -> Option<PathBuf> {
    None
}

/// Returns a name as part of a file name on any system: without separators and reserved characters,
/// and short enough to leave room for a prefix and an extension.
pub fn for_file(name: &str) -> String {
    // Most file systems allow 255 bytes.
    const MOST_BYTES: usize = 160;
    let is_refused = |letter: char| is_obeyed(letter) || "/\\:*?\"<>|".contains(letter);
    let mut part = String::new();
    for letter in name.chars() {
        if part.len() + letter.len_utf8() > MOST_BYTES {
            break;
        }
        part.push(if is_refused(letter) { '_' } else { letter });
    }
    if part.starts_with('.') {
        format!("_{part}")
    } else {
        part
    }
}

/// Whether a terminal reacts to a character: it moves the cursor, ends a line or changes the
/// writing direction.
fn is_obeyed(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{FFFE}' | '\u{FFFF}')
        || matches!(letter, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character is invisible, or is whitespace other than a space.
pub fn is_unseen(letter: char) -> bool {
    matches!(letter, '\u{AD}' | '\u{200B}'..='\u{200F}' | '\u{2060}'..='\u{2064}' | '\u{FEFF}')
        || letter.is_whitespace() && letter != ' '
}

/// Appends a character, or its UTF-8 bytes as escapes.
fn push(text: &mut String, letter: char, is_escaped: bool) {
    if is_escaped {
        push_bytes(text, letter.encode_utf8(&mut [0; 4]).as_bytes())
    } else {
        text.push(letter)
    }
}

fn push_bytes(text: &mut String, bytes: &[u8]) {
    bytes
        .iter()
        .for_each(|byte| _ = write!(text, "\\x{byte:02X}"));
}

/// Returns the byte of the escape at the start of `bytes`. Hexadecimal digits are uppercase only,
/// as they are written, so that `\xe9` in a name isn't an escape.
fn escaped_byte(bytes: &[u8]) -> Option<u8> {
    let [b'\\', b'x', high, low, ..] = bytes else {
        return None;
    };
    let digit = |byte: u8| {
        if byte.is_ascii_lowercase() {
            None
        } else {
            char::from(byte).to_digit(16)
        }
    };
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

/// Iterates over the names that a thing may have where others have its own: `name`, `name-2`,
/// `name-3` and so on, without an end.
pub fn numbered(name: &str) -> impl Iterator<Item = String> {
    std::iter::once(name.to_owned()).chain((2usize..).map(move |count| format!("{name}-{count}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ordinary_names_stay_and_others_stand_as_their_bytes() {
        for name in [
            "train/a/000.png",
            "Röntgen/Kopf (1).jpg",
            "日本/猫.png",
            "a b'c\"d#=,;|.png",
            "x\\y",
            "\\xe9",
            "مرحبا",
        ] {
            assert_eq!(of_path(Path::new(name)), name);
            assert_eq!(of_text(name), name);
        }
        for (name, text) in [
            ("a\nb", "a\\x0Ab"),
            ("\u{1b}[31mred", "\\x1B[31mred"),
            ("a\u{85}", "a\\xC2\\x85"),
            ("\u{202e}gnp", "\\xE2\\x80\\xAEgnp"),
        ] {
            assert_eq!(of_path(Path::new(name)), text);
            assert_eq!(of_text(name), text);
            assert_eq!(of_text(text), text, "a name stays itself");
        }
        assert_eq!(
            of_path(Path::new("\\xE9")),
            if cfg!(unix) { "\\x5CxE9" } else { "\\xE9" }
        );
        assert_eq!(of_lines("a\tb\nc\r\u{7f}"), "a\tb\nc\\x0D\\x7F");
    }

    #[test]
    fn names_in_a_sentence_show_their_ends_and_what_is_unseen() {
        for (name, expected) in [
            ("a", "a"),
            ("no tumor", "no tumor"),
            ("a ", "\"a \""),
            ("", "\"\""),
            ("a, b", "\"a, b\""),
            ("do\u{200b}g", "\"do\\u{200b}g\""),
            ("a\u{a0}b", "\"a\\u{a0}b\""),
        ] {
            assert_eq!(quoted(name), expected);
        }
    }

    #[test]
    fn a_part_of_a_file_name_has_nothing_that_a_system_refuses_and_is_short() {
        assert_eq!(for_file("a/b\\c:d\n|e"), "a_b_c_d__e");
        assert_eq!(for_file("..x"), "_..x");
        assert_eq!(for_file(&"ä".repeat(200)), "ä".repeat(80));
    }

    #[cfg(unix)]
    #[test]
    fn the_text_of_a_path_leads_back_to_the_file() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in [
            &b"f\xE9.png"[..],
            b"a\nb.png",
            b"\\xE9.png",
            b"plain.png",
            "\u{e9}.png".as_bytes(),
        ] {
            let path = folder.path().join(OsStr::from_bytes(name));
            std::fs::write(&path, name).expect("written");
        }
        for entry in std::fs::read_dir(folder.path()).expect("listed") {
            let path = entry.expect("read").path();
            assert_eq!(to_path(&of_path(&path)), path);
        }
        // A path that doesn't exist is taken literally.
        assert_eq!(to_path("nowhere\\x41"), Path::new("nowhere\\x41"));
    }

    #[cfg(unix)]
    proptest! {
        #[test]
        fn no_two_names_have_one_text(
            bytes in prop::collection::vec(
                prop::sample::select(b"\\x5CE9a\n\xE9\xC3".to_vec()),
                0..12,
            ),
        ) {
            use std::os::unix::ffi::OsStrExt;
            let text = of_os(OsStr::from_bytes(&bytes));
            let back = unescaped(&text).unwrap_or_else(|| PathBuf::from(&text));
            prop_assert_eq!(back.as_os_str().as_bytes(), &bytes[..]);
        }
    }
}
