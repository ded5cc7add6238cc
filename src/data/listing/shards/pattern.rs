//! Names of shards as people write them: `train-{000000..000009}.tar`, `{a,b}/*.tar`.

use std::path::PathBuf;

use glob::{MatchOptions, glob_with};

use crate::{
    base::{names, words},
    data::{error::DataError, shards::is_shard},
};

/// As in a shell. Names that begin with a dot are hidden.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// Number of names that a pattern may stand for.
const MOST: usize = 1_000_000;

/// Returns whether a text is a pattern rather than a name.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// Returns the shards that a pattern stands for, sorted, each once.
///
/// # Errors
/// Returns an error if the pattern can't be understood, or if what it stands for isn't there or is
/// no tar file.
pub(super) fn expand(pattern: &str) -> Result<Vec<PathBuf>, DataError> {
    let wrong = |reason: String| DataError::Classes(format!("{reason}: {pattern}"));
    let names = braced(pattern).map_err(wrong)?;
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in &names {
        if !name.contains(['*', '?', '[']) {
            let path = PathBuf::from(name);
            let list = if path.is_file() {
                &mut found
            } else {
                &mut missing
            };
            list.push(path);
            continue;
        }
        let before = found.len();
        let paths = glob_with(name, OPTIONS).map_err(|error| wrong(error.to_string()))?;
        for path in paths {
            found.push(path.map_err(|error| wrong(error.to_string()))?);
        }
        if found.len() == before {
            missing.push(PathBuf::from(name));
        }
    }
    if let Some(first) = missing.first() {
        return Err(DataError::Missing {
            expected: "tar file",
            path: first.clone(),
            hint: format!(
                "{} of the {} names of {pattern} are missing; check the pattern, which is relative \
                 to the current directory",
                missing.len(),
                names.len()
            ),
        });
    }
    found.sort();
    found.dedup();
    let others: Vec<_> = found.iter().filter(|path| !is_shard(path)).collect();
    if others.is_empty() {
        return Ok(found);
    }
    let others: Vec<_> = others.iter().map(|path| names::of_path(path)).collect();
    Err(wrong(format!(
        "found {}, expected tar files (.tar) only",
        words::listed(&others)
    )))
}

/// Returns the addresses of tar files that an address with braces stands for.
///
/// # Errors
/// Returns an error if it can't be understood, or if an address isn't that of a tar file.
pub(super) fn addresses(pattern: &str) -> Result<Vec<PathBuf>, DataError> {
    let wrong = |reason: String| DataError::Classes(format!("{reason}: {pattern}"));
    let found = braced(pattern).map_err(wrong)?;
    let found: Vec<_> = found.into_iter().map(PathBuf::from).collect();
    match found.iter().find(|address| !is_shard(address)) {
        Some(other) => Err(wrong(format!(
            "found {}, expected addresses of tar files such as \
             https://host/train-{{000000..000009}}.tar, since a server doesn't list its files",
            names::of_path(other)
        ))),
        None => Ok(found),
    }
}

/// Returns the texts that a text with braces stands for: `{a,b}` for each part, `{08..11}` for each
/// number, with as many digits as the first one.
fn braced(text: &str) -> Result<Vec<String>, String> {
    let Some((before, rest)) = text.split_once('{') else {
        return Ok(vec![text.to_owned()]);
    };
    let (inner, after) = rest.split_once('}').ok_or("found { without }")?;
    if inner.contains('{') {
        return Err("found braces in braces, expected one behind the other".to_owned());
    }
    let parts: Vec<String> = match inner.split_once("..") {
        Some((first, last)) => numbers(first, last)
            .ok_or_else(|| format!("found {{{inner}}}, expected numbers such as {{000..127}}"))?,
        None => inner.split(',').map(str::to_owned).collect(),
    };
    let ends = braced(after)?;
    if parts.len().saturating_mul(ends.len()) > MOST {
        return Err(format!("found more than {MOST} names"));
    }
    let with_ends = |part: &String| -> Vec<String> {
        ends.iter()
            .map(|end| format!("{before}{part}{end}"))
            .collect()
    };
    Ok(parts.iter().flat_map(with_ends).collect())
}

/// Returns the numbers from the first to the last one as text.
fn numbers(first: &str, last: &str) -> Option<Vec<String>> {
    let is_number = |text: &str| text.bytes().all(|digit| digit.is_ascii_digit());
    let (from, to): (usize, usize) = (first.parse().ok()?, last.parse().ok()?);
    let is_range = is_number(first) && is_number(last) && from <= to && to - from < MOST;
    is_range.then(|| {
        (from..=to)
            .map(|number| format!("{number:0width$}", width = first.len()))
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_stand_for_numbers_and_names() {
        for (text, expected) in [
            ("a", vec!["a"]),
            (
                "a-{08..11}.tar",
                vec!["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"],
            ),
            ("{7..7}", vec!["7"]),
            ("{x,y}{0..1}", vec!["x0", "x1", "y0", "y1"]),
            ("{,b}.tar", vec![".tar", "b.tar"]),
        ] {
            assert_eq!(braced(text).expect("understood"), expected, "{text}");
        }
        for (text, expected) in [
            ("a{1..", "found { without }"),
            ("{3..1}", "found {3..1}, expected numbers"),
            ("{a..c}", "found {a..c}, expected numbers"),
            ("{a,{b}}", "braces in braces"),
            ("{0..99999999}", "expected numbers"),
            ("{0..9999}{0..9999}", "more than 1000000 names"),
        ] {
            let error = braced(text).expect_err(text);
            assert!(error.contains(expected), "{error}");
        }
    }
}
