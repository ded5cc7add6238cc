//! Words for messages: the name that was probably meant, and lists that stay readable.

use super::names;

/// Maximum number of names that a message lists.
const SHOWN: usize = 10;

/// Returns the one of `names` most similar to `found` (Jaro-Winkler, ignoring case), if any is
/// similar enough to be meant.
pub fn nearest<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const ALIKE: f64 = 0.75;
    let found = found.to_lowercase();
    let alike = names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&found, &name.to_lowercase()), name));
    // The first of equals: `max_by` would return the last.
    alike
        .filter(|(similarity, _)| *similarity > ALIKE)
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, name)| name)
}

/// Returns the question whether [`nearest`] was meant, for the end of a message; nothing if no name
/// is similar enough.
pub fn did_you_mean<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    nearest(found, names).map_or_else(String::new, |meant| format!("; did you mean `{meant}`?"))
}

/// Lists names, each as [`names::quoted`]; of a long list the first ones and the number of all.
pub fn listed(all: &[String]) -> String {
    let shown: Vec<_> = all
        .iter()
        .take(SHOWN)
        .map(|name| names::quoted(name))
        .collect();
    match all.len() {
        count if count > SHOWN => format!("{}, ... ({count} of them)", shown.join(", ")),
        _ => shown.join(", "),
    }
}

/// Returns a text as a message shows it: its first 80 characters, and nothing that moves a cursor.
pub fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    let mut shown: String = text
        .chars()
        .take(MOST)
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown.push_str("...");
    }
    shown
}

/// Returns a number with its noun: `1 group`, `2 groups`.
pub fn counted(count: usize, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_the_most_alike_or_none() {
        for (found, expected) in [
            ("epoch", Some("epochs")),
            ("EPOCHS", Some("epochs")),
            ("catt", Some("cat")),
            ("giraffe", None),
            ("", None),
        ] {
            assert_eq!(
                nearest(found, ["dog", "cat", "epochs", "cats"]),
                expected,
                "{found}"
            );
        }
    }

    #[test]
    fn a_long_list_is_cut_and_counted() {
        let names: Vec<_> = (0..12).map(|index| index.to_string()).collect();
        assert_eq!(listed(&names[..3]), "0, 1, 2");
        assert_eq!(listed(&["b".to_owned(), " c".to_owned()]), "b, \" c\"");
        assert_eq!(
            listed(&names),
            "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (12 of them)"
        );
    }
}
