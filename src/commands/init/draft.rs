//! Drafts a recipe: chooses the network by the images and the available weights.

use std::path::{Path, PathBuf};

use super::found::Found;
use crate::{
    architecture::Architecture,
    base::{names, usage::UsageError},
    commands::{
        common::{
            approach::{self, Approach},
            trials,
        },
        ui::{self, Terminal},
    },
    nn::{
        estimate::size_words,
        pretrained::{self, AtHand, fetch},
    },
};

/// The user's choices for a recipe.
#[derive(Clone, Copy, Debug)]
pub struct Wishes<'a> {
    /// File of pretrained weights to start from.
    pub weights: Option<&'a Path>,
    /// Whether to compare networks by short trainings.
    pub has_trials: bool,
    /// Whether weights may be downloaded.
    pub download: Download,
}

/// Whether weights may be downloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Download {
    /// Don't download: the command must not write anything.
    Never,
    /// Download if the user agrees when asked.
    Ask,
    /// Download without asking.
    Agreed,
}

impl Download {
    /// Returns [`Self::Agreed`] or [`Self::Ask`].
    pub fn of(is_agreed: bool) -> Self {
        if is_agreed { Self::Agreed } else { Self::Ask }
    }

    /// Downloads weights if the user agrees, and returns them. A failed download is reported and
    /// isn't an error, because a network from scratch needs no weights.
    fn run(self) -> Option<AtHand> {
        let architecture = approach::fetched();
        let published = architecture.entry().published.as_ref()?;
        let question = || {
            let (name, size) = (
                architecture.name(),
                size_words(*published.bytes.end() as f64),
            );
            format!(
                "No pretrained weights are on this machine. Download those of {name} ({size}, {}) \
                 from {}?",
                published.license, published.url
            )
        };
        if self == Self::Never || self == Self::Ask && !ui::is_agreed(&question()) {
            return None;
        }
        match fetch::fetch(architecture, published, published.url, &Terminal) {
            Ok(path) => pretrained::identify(&path),
            Err(error) => {
                ui::say(&format!("warning: {error}; continuing without them"));
                None
            }
        }
    }
}

/// A recipe for a folder or list of images.
pub struct Draft {
    /// Name of the recipe, from the folder or list.
    pub name: String,
    /// The recipe as TOML.
    pub text: String,
    /// Description of the images for the user.
    pub about: String,
    /// The folders of images, which must not be written into.
    pub folders: Vec<PathBuf>,
}

impl Draft {
    /// Drafts a recipe for the images in the folder or list `source`, which isn't changed, with the
    /// pretrained weights that the user names or the best ones on this machine. With trials, the
    /// better network on the images is chosen.
    ///
    /// # Errors
    /// Returns an error if there are no images, or if the weights belong to no known architecture.
    pub fn of(source: &Path, wishes: &Wishes<'_>) -> anyhow::Result<Self> {
        let found = Found::look(source)?;
        let name = recipe_name(source);
        let approach = if wishes.has_trials {
            tried(&found, wishes, &name)?
        } else {
            suited(&found, wishes)?
        };
        let about = format!("{}\n{}", found.describe(), approach.words());
        Ok(Self {
            text: found.recipe(&name, &approach),
            about,
            folders: found.folders(source),
            name,
        })
    }
}

/// Chooses the network: a pretrained one if there is one and the images suit it.
fn suited(found: &Found, wishes: &Wishes<'_>) -> anyhow::Result<Approach> {
    if wishes.weights.is_none() && !found.facts.suit_backbones() {
        return Ok(Approach::Scratch);
    }
    Ok(pretrained_from(wishes)?.map_or(Approach::Scratch, Approach::Pretrained))
}

/// Chooses the network by short trainings.
fn tried(found: &Found, wishes: &Wishes<'_>, name: &str) -> anyhow::Result<Approach> {
    let Some(at_hand) = pretrained_from(wishes)? else {
        return Ok(Approach::Scratch);
    };
    let mut approaches = vec![Approach::Scratch, Approach::Pretrained(at_hand)];
    let recipes: Vec<_> = approaches
        .iter()
        .map(|approach| (approach.name(), found.recipe(name, approach)))
        .collect();
    Ok(approaches.swap_remove(trials::best(&recipes)?))
}

/// Returns the weights that the user names, or the best ones on this machine, or downloaded ones.
fn pretrained_from(wishes: &Wishes<'_>) -> anyhow::Result<Option<AtHand>> {
    let Some(path) = wishes.weights else {
        return Ok(approach::best(pretrained::at_hand()).or_else(|| wishes.download.run()));
    };
    let found = pretrained::identify(path).ok_or_else(|| {
        let known: Vec<_> = Architecture::all()
            .filter(|known| !known.is_of_recipe())
            .map(Architecture::name)
            .collect();
        let path = names::of_path(path);
        UsageError(format!(
            "--weights {path}: found no weights of a known network there, expected those of {}",
            known.join(", ")
        ))
    })?;
    Ok(Some(found))
}

/// Returns the name of a folder, or of a list without its extension, in a form that a run folder
/// can have on any system.
fn recipe_name(source: &Path) -> String {
    let whole = source.canonicalize().unwrap_or_else(|_| source.to_owned());
    let name = if whole.is_file() {
        whole.file_stem()
    } else {
        whole.file_name()
    };
    let name = name.map_or_else(String::new, |name| {
        names::for_file(names::of_os(name).trim_start_matches('.'))
    });
    if name.is_empty() {
        "images".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_name_to_the_recipe_where_it_can() {
        for (folder, expected) in [
            ("no/such/cats", "cats"),
            ("no/such/.hidden", "hidden"),
            ("no/such/a:b\tc", "a_b_x09c"),
            ("no/...", "images"),
        ] {
            assert_eq!(recipe_name(Path::new(folder)), expected);
        }
        assert_eq!(recipe_name(Path::new(&"x".repeat(255))).len(), 160);
    }

    #[test]
    fn a_list_gives_its_name_without_its_ending() {
        let folder = tempfile::tempdir().expect("a folder");
        let list = folder.path().join("labels.csv");
        std::fs::write(&list, "").expect("written");
        assert_eq!(recipe_name(&list), "labels");
    }
}
