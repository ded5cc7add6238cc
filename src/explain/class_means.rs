//! Mean map and mean image of each class: where a network finds evidence for the class in general.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{Border, border, overlay};
use crate::{
    base::{
        names::{self, for_file, of_text},
        progress::Progress,
    },
    report::images::{colored, in_a_row, magnified, write_png},
};

/// Maximum number of classes with a mean: each takes the memory of several images.
const CLASSES: usize = 50;
/// Maximum number of classes whose means are reported in a line.
const LINES: usize = 10;

/// Sums over the images that a class was explained for.
#[derive(Debug)]
struct Sums {
    map: Vec<f32>,
    image: Vec<f32>,
    count: usize,
}

/// Sums of each class, for the first [`CLASSES`] classes.
#[derive(Debug, Default)]
pub(super) struct ClassMeans {
    sums: BTreeMap<String, Sums>,
    /// Number of images of other classes.
    num_without: usize,
}

impl ClassMeans {
    /// Adds an image and its map.
    ///
    /// # Shapes
    /// `image` is `[height, width, channels]` with values 0 to 255, `map` is `[height, width]`,
    /// both flattened.
    pub(super) fn add(&mut self, class: &str, map: &[f32], image: &[u8]) {
        if self.sums.len() == CLASSES && !self.sums.contains_key(class) {
            self.num_without += 1;
            return;
        }
        let empty = || Sums {
            map: vec![0.0; map.len()],
            image: vec![0.0; image.len()],
            count: 0,
        };
        let sums = self.sums.entry(class.to_owned()).or_insert_with(empty);
        sums.map
            .iter_mut()
            .zip(map)
            .for_each(|(sum, value)| *sum += value);
        sums.image
            .iter_mut()
            .zip(image)
            .for_each(|(sum, level)| *sum += f32::from(*level));
        sums.count += 1;
    }

    /// Writes `mean-CLASS.png` for each class with several images, and reports what it shows.
    ///
    /// # Errors
    /// Returns an error if a file can't be written.
    pub(super) fn write(
        &self,
        out: &Path,
        shape: [usize; 3],
        progress: &dyn Progress,
    ) -> anyhow::Result<()> {
        let several: Vec<_> = self
            .sums
            .iter()
            .filter(|(_, sums)| sums.count > 1)
            .collect();
        let mut taken = BTreeSet::new();
        for (index, (class, Sums { map, image, count })) in several.iter().enumerate() {
            let level = |sum: &f32| (sum / *count as f32).round() as u8;
            let image = colored(&image.iter().map(level).collect::<Vec<_>>(), shape);
            let map: Vec<f32> = map.iter().map(|sum| sum / *count as f32).collect();
            let Border { share, area } = border(&map, [shape[0], shape[1]]);
            // Different classes may have the same file name after replacements.
            let name = names::numbered(&file_name(class))
                .find(|name| taken.insert(name.clone()))
                .expect("there is no last name");
            let path = out.join(format!("mean-{name}.png"));
            write_png(
                &in_a_row(&[magnified(&image), magnified(&overlay(&image, &map))]),
                &path,
            )?;
            if index < LINES {
                progress.say(&format!(
                    "{}: mean of {count} images, {:.0} % of the attention on the border, which is \
                     {:.0} % of the image: {}",
                    of_text(class),
                    share * 100.0,
                    area * 100.0,
                    names::of_path(&path)
                ));
            }
        }
        if several.len() > LINES {
            progress.say(&format!(
                "... and the means of {} more classes: {}",
                several.len() - LINES,
                names::of_path(&out.join("mean-*.png"))
            ));
        }
        if self.num_without > 0 {
            progress.say(&format!(
                "{} images are of other classes than the first {CLASSES}, which alone have a mean",
                self.num_without
            ));
        }
        Ok(())
    }
}

/// Returns a class name as part of a file name.
fn file_name(class: &str) -> String {
    let kept = |letter: char| {
        if letter.is_alphanumeric() || "-_.".contains(letter) {
            letter
        } else {
            '_'
        }
    };
    for_file(&class.chars().map(kept).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_whose_files_would_have_one_name_have_one_each_and_more_than_fifty_are_counted() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut means = ClassMeans::default();
        let long = "é".repeat(127);
        for class in ["a|b", "a?b", "a_b-2", &long] {
            (0..2).for_each(|_| means.add(class, &[0.0, 1.0], &[10, 20]));
        }
        means
            .write(folder.path(), [1, 2, 1], &crate::base::progress::Silent)
            .expect("written");
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .expect("listed")
            .map(|entry| {
                entry
                    .expect("read")
                    .file_name()
                    .to_string_lossy()
                    .into_owned()
            })
            .collect();
        names.sort();
        assert_eq!(
            names[..3],
            ["mean-a_b-2.png", "mean-a_b-3.png", "mean-a_b.png"]
        );
        assert!(
            names.len() == 4 && names[3].starts_with("mean-éé"),
            "{names:?}"
        );
        (0..60).for_each(|class| means.add(&class.to_string(), &[0.0, 1.0], &[10, 20]));
        assert_eq!((means.sums.len(), means.num_without), (CLASSES, 14));
    }
}
