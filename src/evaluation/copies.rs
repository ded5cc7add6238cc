//! Finds the images of an evaluation that duplicate one of the run.

use std::{path::Path, sync::Arc};

use serde::Serialize;

use crate::{
    base::{names, progress::Progress},
    data::{
        batches::dataset::ImageSet,
        duplicates::{
            Likeness,
            known::{Known, KnownCopy},
        },
        listing::Part,
        pixels::image_stats::ImageStats,
    },
};

/// Returns which image of the `known` parts of the run each image duplicates; `None` if the run is
/// unknown.
///
/// # Errors
/// Returns an error if the files of the run that identify its images can't be read.
pub(super) fn copies_of_known(
    set: &ImageSet,
    facts: &[Arc<ImageStats>],
    known: &[Part],
    run: Option<&Path>,
    progress: &dyn Progress,
) -> anyhow::Result<Option<Vec<Option<KnownCopy>>>> {
    let run = run.map(Known::open).transpose()?.flatten();
    if run.as_ref().is_some_and(|run| !run.has_looks()) && !facts.is_empty() {
        progress.say(
            "The run was made by an older version, which stored no thumbnails: near-duplicates are \
             found among its own images only",
        );
    }
    let pixels: Vec<_> = set.images.iter().map(|image| image.digest).collect();
    Ok(run.map(|run| run.copies(known, &pixels, facts)))
}

/// A row of `copies.csv`.
#[derive(Serialize)]
pub(super) struct CopyRow {
    path: String,
    /// The image of the run that it duplicates.
    copy_of: String,
    likeness: Likeness,
}

impl CopyRow {
    /// Returns the row of the image at `path`; `None` if it is no copy.
    pub(super) fn of(path: &Path, copy: &Option<KnownCopy>) -> Option<Self> {
        copy.as_ref().map(|copy| Self {
            path: names::of_path(path),
            copy_of: copy.path.clone(),
            likeness: copy.likeness,
        })
    }
}
