//! Reads listed images. Those that can't be read are skipped, or end the run if the configuration
//! says so.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    batches::dataset::{Image, ImageSet},
    error::DataError,
    listing::{Entry, Part},
    pixels::{image_stats::ImageStats, memory},
    store::{CachePolicy, Format, Read, Store, read},
    table::{Failure, Skipped},
};
use crate::{
    base::{names, words},
    config::{Data, OnBadImage},
};

/// Images that were read.
pub(super) struct Loaded {
    /// The pixels.
    pub store: Arc<Store>,
    /// The images, each with its position among the entries.
    pub images: Vec<(usize, Image)>,
    /// Statistics of each image.
    pub facts: Vec<Arc<ImageStats>>,
    /// Images that can't be decoded, with their position among the entries.
    pub skipped: Vec<(usize, Skipped)>,
}

impl Loaded {
    /// Returns a set of the images at these positions among those that were read.
    pub(super) fn set(
        &self,
        classes: &Arc<Vec<String>>,
        positions: impl Iterator<Item = usize>,
    ) -> Arc<ImageSet> {
        Arc::new(ImageSet {
            classes: Arc::clone(classes),
            images: positions.map(|at| self.images[at].1.clone()).collect(),
            store: Arc::clone(&self.store),
        })
    }
}

/// Reads listed images as `data` says. `done` is called with the number of images that were read
/// since the last call, from any thread.
///
/// # Errors
/// Returns an error for a class that isn't among `classes`, and for an image that can't be read if
/// `data.on_bad_image` is `error`.
pub(super) fn read_entries(
    entries: &[&Entry],
    classes: &[String],
    data: &Data,
    done: &(dyn Fn(usize) + Sync),
) -> Result<Loaded, DataError> {
    let paths: Vec<_> = entries.iter().map(|entry| entry.path.as_path()).collect();
    let policy = CachePolicy {
        cache: data.cache,
        memory_mb: data.cache_memory_mb,
    };
    // One budget for the process: the recipe that is read last sets it.
    memory::set_limit(data.decode_memory_mb);
    let (store, reads) = read(&paths, Format::of(data), policy, done)?;
    let mut loaded = Loaded {
        store,
        images: Vec::new(),
        facts: Vec::new(),
        skipped: Vec::new(),
    };
    let labels: BTreeMap<&str, usize> = classes
        .iter()
        .enumerate()
        .map(|(label, class)| (class.as_str(), label))
        .collect();
    for (index, (entry, read)) in entries.iter().zip(reads).enumerate() {
        let (path, group) = (entry.path.clone(), entry.group.clone());
        match read {
            Read::Good(facts) => {
                let Some(label) = labels.get(entry.class.as_str()).copied() else {
                    return Err(unknown_class(entry, classes));
                };
                let image = Image {
                    path,
                    label,
                    group,
                    weight: entry.weight,
                    digest: facts.pixels,
                    slot: index,
                };
                loaded.images.push((index, image));
                loaded.facts.push(facts);
            }
            Read::Bad(reason) if data.on_bad_image == OnBadImage::Error => {
                return Err(DataError::Image { path, reason });
            }
            Read::Bad(reason) => {
                let skipped = Skipped {
                    path: names::of_path(&path),
                    reason,
                    split: entry.split.map_or("", Part::name),
                    class: entry.class.clone(),
                    failure: Failure::Decoding,
                };
                loaded.skipped.push((index, skipped));
            }
        }
    }
    Ok(loaded)
}

fn unknown_class(entry: &Entry, classes: &[String]) -> DataError {
    DataError::Classes(format!(
        "found the unknown class {}, expected one of {}: {}",
        names::quoted(&entry.class),
        words::listed(classes),
        names::of_path(&entry.path)
    ))
}
