//! Text of users on its way into files that don't take every letter.

use std::borrow::Cow;

/// `text` without control characters, which neither XML nor a page may have: each but line breaks and tabs becomes the sign for an unknown letter.
pub fn without_controls(text: &str) -> Cow<'_, str> {
    let is_refused = |letter: char| letter.is_control() && !['\n', '\t'].contains(&letter) || ['\u{fffe}', '\u{ffff}'].contains(&letter);
    if text.contains(is_refused) { text.replace(is_refused, "\u{fffd}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_become_visible() {
        assert_eq!(without_controls("a\u{1b}[31m\tb\r\n\u{0}\u{85}"), "a\u{fffd}[31m\tb\u{fffd}\n\u{fffd}\u{fffd}");
        assert!(matches!(without_controls("\u{e9}t\u{e9}\n"), Cow::Borrowed(_)));
    }
}
