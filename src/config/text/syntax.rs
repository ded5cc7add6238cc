//! Explains errors of TOML syntax, and texts that are valid by accident.

use super::lines::line_at;
use crate::base::words::shortened;

/// Characters that a backslash and a letter stand for in double quotes.
const ESCAPES: [(char, char, &str); 6] = [
    ('\t', 't', "tab"),
    ('\n', 'n', "line break"),
    ('\r', 'r', "carriage return"),
    ('\u{8}', 'b', "backspace"),
    ('\u{c}', 'f', "form feed"),
    ('\u{1b}', 'e', "escape character"),
];

/// Returns the line of a TOML parser's error, and what is wrong there.
pub(super) fn syntax_words(text: &str, error: &toml::de::Error) -> (usize, String) {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = line_at(text, at);
    let written = text.lines().nth(line - 1).unwrap_or_default().trim();
    let said = error
        .message()
        .split(", expected")
        .next()
        .unwrap_or_default();
    let words = match quoted_with_backslash(written) {
        Some(quoted) if said.contains("escape") || said.contains("unicode") => {
            backslash_words(quoted)
        }
        _ if said.contains("must be quoted")
            || said == "missing value"
            || said.contains("boolean") =>
        {
            unquoted_words(written)
        }
        // The parser takes a word that begins with `i` or `n` for `inf` or `nan`.
        _ if said == "invalid float" && has_word(written) => unquoted_words(written),
        _ if said == "key with no value" => format!("{}: expected key = value", shortened(written)),
        _ if said == "duplicate key" => {
            let key = written.split('=').next().unwrap_or_default().trim();
            format!("{key} occurs twice in the recipe; remove one")
        }
        _ => format!("{said}: {}", shortened(written)),
    };
    (line, words)
}

/// Returns whether the value on this line begins with a letter.
fn has_word(written: &str) -> bool {
    written
        .split_once('=')
        .is_some_and(|(_, value)| value.trim_start().starts_with(char::is_alphabetic))
}

/// Describes a value without quotes, most often a text.
fn unquoted_words(written: &str) -> String {
    let (key, value) = written
        .split_once('=')
        .map_or((written, ""), |(key, value)| (key.trim(), value.trim()));
    match value {
        "" => format!("{key} has no value"),
        "True" | "False" => format!("{key} = {value}: expected true or false in small letters"),
        "None" | "null" | "nil" => format!("{key} = {value}: to leave a value unset, omit the key"),
        _ => format!(
            "{key} = {}: expected a number, true, false, a list, a table or a string in quotes",
            shortened(value)
        ),
    }
}

/// Returns the text in double quotes of a line that has a backslash in it.
fn quoted_with_backslash(line: &str) -> Option<&str> {
    line.split('"')
        .skip(1)
        .step_by(2)
        .find(|quoted| quoted.contains('\\'))
}

fn backslash_words(quoted: &str) -> String {
    format!(
        "\"{quoted}\": in double quotes a backslash begins a special character; {}",
        written_otherwise(quoted)
    )
}

fn written_otherwise(text: &str) -> String {
    if text.starts_with("regex:") {
        return format!("write '{text}'");
    }
    format!(
        "write \"{}\" or '{text}'",
        text.replace("\\\\", "/").replace('\\', "/")
    )
}

/// Describes a text with a character that can't be meant, such as a tab in a path whose folder
/// begins with t.
pub(super) fn control_words(text: &str) -> Option<String> {
    let control = text.chars().find(|letter| letter.is_control())?;
    let (mut shown, mut meant) = (text.to_owned(), text.to_owned());
    for (character, letter, name) in ESCAPES {
        shown = shown.replace(character, &format!("<{name}>"));
        meant = meant.replace(character, &format!("\\{letter}"));
    }
    let Some((_, letter, name)) = ESCAPES.iter().find(|(character, ..)| *character == control)
    else {
        let shown: String = text
            .chars()
            .map(|letter| {
                if letter.is_control() {
                    '\u{fffd}'
                } else {
                    letter
                }
            })
            .collect();
        return Some(format!(
            "found \"{shown}\" with the control character U+{:04X} in it; leave it out",
            u32::from(control)
        ));
    };
    Some(format!(
        "found \"{shown}\": \\{letter} in double quotes is a {name}; {}",
        written_otherwise(&meant)
    ))
}
