//! Class names that differ and look the same: finds them, and says where the difference lies, so
//! that a misspelled class is not trained as one of its own.

use std::collections::BTreeMap;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::base::{names, words::nearest};

/// A way in which names may differ that is easily overlooked: a function that makes such names
/// equal, and its description for messages.
struct Way {
    fold: fn(&str) -> String,
    words: &'static str,
}

/// All ways, in the order in which they are tried and named.
const WAYS: [Way; 8] = [
    Way {
        fold: |name| name.trim().to_owned(),
        words: "in spaces at the beginning or end",
    },
    Way {
        fold: |name| {
            name.chars()
                .filter(|letter| !names::is_unseen(*letter))
                .collect()
        },
        words: "in invisible characters",
    },
    Way {
        fold: |name| name.nfc().collect(),
        words: "in how accents are composed (one character, or a letter and a mark)",
    },
    Way {
        fold: str::to_lowercase,
        words: "in upper and lower case",
    },
    Way {
        fold: with_spaces,
        words: "in spaces, hyphens and underscores",
    },
    Way {
        fold: |name| name.nfkc().collect(),
        words: "in wide, narrow or joined forms of letters",
    },
    Way {
        fold: |name| {
            name.nfd()
                .filter(|letter| !is_combining_mark(*letter))
                .collect()
        },
        words: "in accents",
    },
    Way {
        fold: |name| name.chars().map(latin).collect(),
        words: "in letters of another alphabet that look the same",
    },
];

/// Replaces each run of spaces, hyphens and underscores with one space.
fn with_spaces(name: &str) -> String {
    let is_space = |letter: char| letter.is_whitespace() || "-_".contains(letter);
    let mut spaced = String::new();
    for letter in name.chars() {
        if !is_space(letter) {
            spaced.push(letter);
        } else if !spaced.ends_with(' ') {
            spaced.push(' ');
        }
    }
    spaced
}

/// Returns the Latin letter that a Greek or Cyrillic one looks like, and other letters as they are.
fn latin(letter: char) -> char {
    const OTHERS: &str = "АВЕКМНОРСТХаеорсухіјѕΑΒΕΖΗΙΚΜΝΟΡΤΥΧονρ";
    const LATIN: &str = "ABEKMHOPCTXaeopcyxijsABEZHIKMNOPTYXovp";
    OTHERS
        .chars()
        .zip(LATIN.chars())
        .find(|(other, _)| *other == letter)
        .map_or(letter, |(_, latin)| latin)
}

/// Folds a name in all ways except `without`.
fn folded(name: &str, without: Option<usize>) -> String {
    let ways = WAYS
        .iter()
        .enumerate()
        .filter(|(index, _)| Some(*index) != without);
    ways.fold(name.to_owned(), |name, (_, way)| (way.fold)(&name))
}

/// Returns how two names that look the same differ, in words. Returns `None` if they are equal or
/// look different.
pub fn difference(one: &str, other: &str) -> Option<String> {
    if one == other || folded(one, None) != folded(other, None) {
        return None;
    }
    if let Some(way) = WAYS.iter().find(|way| (way.fold)(one) == (way.fold)(other)) {
        return Some(way.words.to_owned());
    }
    // No single way is enough: report each without which the names would still differ.
    let needed = WAYS
        .iter()
        .enumerate()
        .filter(|(index, _)| folded(one, Some(*index)) != folded(other, Some(*index)));
    Some(
        needed
            .map(|(_, way)| way.words)
            .collect::<Vec<_>>()
            .join(" and "),
    )
}

/// Returns a sentence for each pair of class names that differ and look the same.
pub fn pairs<'a>(classes: impl IntoIterator<Item = &'a String>) -> Vec<String> {
    let mut alike: BTreeMap<String, Vec<&String>> = BTreeMap::new();
    classes
        .into_iter()
        .for_each(|class| alike.entry(folded(class, None)).or_default().push(class));
    let words = |one: &String, other: &String| {
        let (one_name, other_name) = (names::quoted(one), names::quoted(other));
        let how = difference(one, other).unwrap_or_default();
        format!("the classes {one_name} and {other_name} differ {how} only")
    };
    alike
        .values()
        .flat_map(|names| names[1..].iter().map(move |other| words(names[0], other)))
        .collect()
}

/// Returns what may have been meant by an unknown name, as the continuation of a sentence. The text
/// is empty if no known name is similar.
pub fn meant(unknown: &str, known: &[String]) -> String {
    if let Some((class, how)) = known
        .iter()
        .find_map(|class| Some((class, difference(unknown, class)?)))
    {
        return format!(
            "; {} and {} differ {how} only",
            names::quoted(unknown),
            names::quoted(class)
        );
    }
    match nearest(unknown, known.iter().map(String::as_str)) {
        Some(class) => format!(
            "; did you mean {} by {}?",
            names::quoted(class),
            names::quoted(unknown)
        ),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_difference_of_names_that_look_the_same_is_told() {
        for (one, other, expected) in [
            ("Dog", "dog", "in upper and lower case"),
            ("dog", "dog ", "in spaces at the beginning or end"),
            (
                "caf\u{e9}",
                "cafe\u{301}",
                "in how accents are composed (one character, or a letter and a mark)",
            ),
            ("caf\u{e9}", "cafe", "in accents"),
            ("do\u{200b}g", "dog", "in invisible characters"),
            ("no_tumor", "no tumor", "in spaces, hyphens and underscores"),
            (
                "\u{ff11}",
                "1",
                "in wide, narrow or joined forms of letters",
            ),
            (
                "c\u{430}t",
                "cat",
                "in letters of another alphabet that look the same",
            ),
            (
                "No-Tumor",
                "no tumor",
                "in upper and lower case and in spaces, hyphens and underscores",
            ),
        ] {
            assert_eq!(
                difference(one, other).as_deref(),
                Some(expected),
                "{one} {other}"
            );
            assert_eq!(
                difference(other, one).as_deref(),
                Some(expected),
                "{other} {one}"
            );
        }
        for (one, other) in [
            ("dog", "dog"),
            ("dog", "dot"),
            ("-1", "1"),
            ("1.0", "10"),
            ("a", "b"),
        ] {
            assert_eq!(difference(one, other), None, "{one} {other}");
        }
    }

    #[test]
    fn all_of_a_set_are_compared_and_a_near_miss_is_suggested() {
        let classes = ["Dog", "cat", "dog", "dog ", "emu"].map(str::to_owned);
        let expected = [
            "the classes Dog and dog differ in upper and lower case only",
            "the classes Dog and \"dog \" differ in spaces at the beginning or end and in upper \
             and lower case only",
        ];
        assert_eq!(pairs(&classes), expected);
        assert_eq!(
            meant(
                "glioma_tumour",
                &["glioma_tumor".to_owned(), "no_tumor".to_owned()]
            ),
            "; did you mean glioma_tumor by glioma_tumour?"
        );
        assert_eq!(meant("x", &classes), "");
    }
}
