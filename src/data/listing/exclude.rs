//! `data.exclude`: glob patterns of files and folders to leave out, relative to the listed folder
//! or the folder of the CSV.

use std::{cell::Cell, path::Path};

use glob::{MatchOptions, Pattern};

use crate::{base::names, config::Data, data::error::DataError};

/// As in a shell: `*` and `?` stay within a name, `**` spans folders, and case matters.
const OPTIONS: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// Patterns, each with whether it has excluded something so far.
#[derive(Debug, Default)]
pub struct Exclude {
    patterns: Vec<(Pattern, Cell<bool>)>,
}

impl Exclude {
    /// Reads the patterns of a configuration.
    ///
    /// # Errors
    /// Returns an error if one of them isn't a valid pattern.
    pub fn of(data: &Data) -> Result<Self, DataError> {
        let patterns = data
            .exclude_patterns()
            .map_err(|error| DataError::Classes(format!("data.exclude: {error}")))?;
        Ok(Self {
            patterns: patterns
                .into_iter()
                .map(|pattern| (pattern, Cell::new(false)))
                .collect(),
        })
    }

    /// Returns whether a path below `root` is excluded, and records which patterns match it.
    pub fn takes(&self, path: &Path, root: &Path) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let path = slashed(path.strip_prefix(root).unwrap_or(path));
        let mut is_taken = false;
        // All patterns are tried, so that each that matches counts as used.
        for (pattern, is_used) in &self.patterns {
            if pattern.matches_with(&path, OPTIONS) {
                is_used.set(true);
                is_taken = true;
            }
        }
        is_taken
    }

    /// Returns a warning about the first pattern that nothing has matched, if there is one.
    pub fn without_effect(&self) -> Option<String> {
        let (pattern, _) = self.patterns.iter().find(|(_, is_used)| !is_used.get())?;
        Some(format!(
            "data.exclude: `{pattern}` has no effect: no file or folder matches it; patterns are \
             relative to the data's folder, such as \"drafts\", \"*/thumbs\" or \"**/*_mask.png\""
        ))
    }
}

/// Returns a path with `/` between folders on every system and without a leading `./`.
fn slashed(path: &Path) -> String {
    let text = names::of_path(path);
    let text = if cfg!(windows) {
        text.replace('\\', "/")
    } else {
        text
    };
    text.strip_prefix("./").map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Kind, list,
            tests::{folder_with, images},
        },
        *,
    };

    fn exclude(patterns: &[&str]) -> Exclude {
        let exclude = patterns
            .iter()
            .map(|pattern| (*pattern).to_owned())
            .collect();
        Exclude::of(&Data {
            exclude,
            ..Data::of("x".to_owned())
        })
        .expect("patterns")
    }

    #[test]
    fn a_star_stays_in_a_name_and_two_go_through_folders() {
        for (pattern, path, expected) in [
            ("drafts", "data/drafts", true),
            ("drafts/", "data/drafts", true),
            ("./drafts", "data/drafts", true),
            ("drafts", "data/cats/drafts", false),
            ("*", "data/cats/x.png", false),
            ("*/x.png", "data/cats/x.png", true),
            ("**/*_mask.png", "data/cats/deep/1_mask.png", true),
            ("**/*_mask.png", "data/1_mask.png", true),
            ("cats/**", "data/cats/deep/1.png", true),
            ("cats/[12].png", "data/cats/2.png", true),
            ("Drafts", "data/drafts", false),
            ("lost+found", "data/lost+found", true),
        ] {
            assert_eq!(
                exclude(&[pattern]).takes(Path::new(path), Path::new("data")),
                expected,
                "{pattern} {path}"
            );
        }
    }

    #[test]
    fn a_pattern_that_fits_nothing_is_named() {
        let exclude = exclude(&["a", "b/*.png"]);
        assert!(exclude.takes(Path::new("data/a"), Path::new("data")));
        let words = exclude.without_effect().expect("unused");
        assert!(words.contains("`b/*.png` has no effect"), "{words}");
        assert!(exclude.takes(Path::new("data/b/1.png"), Path::new("data")));
        assert_eq!(exclude.without_effect(), None);
    }

    #[test]
    fn patterns_leave_out_folders_and_files_and_a_class_that_they_empty() {
        let folder = folder_with(&[
            "a/1.png",
            "a/1_mask.png",
            "a/deep/2_mask.png",
            "b/3.png",
            "drafts/4.png",
            "old/5.png",
        ]);
        let exclude = exclude(&["drafts", "**/*_mask.png", "old/**"]);
        let listing = list(folder.path(), &exclude).expect("listed");
        assert_eq!(
            (&listing.classes[..], images(&listing, folder.path())),
            (
                &["a".to_owned(), "b".to_owned()][..],
                vec!["a/1.png".to_owned(), "b/3.png".to_owned()]
            )
        );
        assert_eq!(listing.passed_over.count(Kind::Excluded), 4);
        assert_eq!(exclude.without_effect(), None);
    }
}
