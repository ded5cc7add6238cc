//! The recipes of `configs/`, built into the program: an installed one has no such folder.

/// A recipe that comes with the program.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Name of its file, without `.toml`.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

/// All recipes of the program, by name.
pub const RECIPES: [Recipe; 8] = [
    Recipe {
        name: "autoencoder",
        text: include_str!("../../configs/autoencoder.toml"),
    },
    Recipe {
        name: "brain_tumor",
        text: include_str!("../../configs/brain_tumor.toml"),
    },
    Recipe {
        name: "brain_vgg16",
        text: include_str!("../../configs/brain_vgg16.toml"),
    },
    Recipe {
        name: "covid_vgg16",
        text: include_str!("../../configs/covid_vgg16.toml"),
    },
    Recipe {
        name: "covid_xray",
        text: include_str!("../../configs/covid_xray.toml"),
    },
    Recipe {
        name: "face_expression",
        text: include_str!("../../configs/face_expression.toml"),
    },
    Recipe {
        name: "hymenoptera_squeezenet",
        text: include_str!("../../configs/hymenoptera_squeezenet.toml"),
    },
    PHANTOM_RECIPE,
];

/// The recipe of `emberlens demo`: it trains on [`super::PHANTOM`], which needs no download.
pub const PHANTOM_RECIPE: Recipe = Recipe {
    name: "phantom",
    text: include_str!("../../configs/phantom.toml"),
};

impl Recipe {
    /// Returns the first sentence of the comment at its head: what it trains on what.
    pub fn about(&self) -> String {
        let head: Vec<_> = self
            .text
            .lines()
            .map_while(|line| line.strip_prefix("# "))
            .collect();
        let head = head.join(" ");
        head.split_once(". ")
            .map_or(head.clone(), |(sentence, _)| format!("{sentence}."))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn every_recipe_of_the_folder_is_built_in_and_says_what_it_is() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("configs");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .expect("listed")
            .map(|entry| entry.expect("read").file_name().display().to_string())
            .filter_map(|name| name.strip_suffix(".toml").map(str::to_owned))
            .collect();
        files.sort();
        assert_eq!(files, RECIPES.map(|recipe| recipe.name));
        for recipe in RECIPES {
            let about = recipe.about();
            assert!((20..160).contains(&about.len()), "{}: {about}", recipe.name);
        }
        assert_eq!(
            PHANTOM_RECIPE.about(),
            "Head phantoms that the program draws itself: needs no download."
        );
    }
}
