//! What the inputs of a phase are computed from, and which features of frozen layers are kept:
//! their shape, size and folder.

use std::{fs, path::PathBuf};

use crate::{
    base::io::cache,
    config::{Config, Pooling},
    train::{Datasets, Learner},
};

/// Maximum size on disk of the features of one set; above it, the frozen layers run in each epoch.
const MAX_BYTES: usize = 16 << 30;

/// What inputs are computed from; within a phase, only the weights of trained layers change.
#[derive(Clone, Copy)]
pub(in crate::train) struct Sources<'a> {
    pub(in crate::train) config: &'a Config,
    pub(in crate::train) datasets: &'a Datasets,
    pub(in crate::train) learner: &'a Learner,
}

/// Shape and folder of the features of an image.
#[derive(Clone)]
pub(super) struct Layout {
    /// Number of layer groups that compute the features.
    pub(super) groups: usize,
    /// `[channels, height, width]`.
    pub(super) shape: [usize; 3],
    /// Whether features are pooled as the head would pool them.
    pub(super) is_pooled: bool,
    pub(super) folder: PathBuf,
}

impl Layout {
    /// Returns the layout of the features after the frozen layer groups, or `None` if nothing is
    /// frozen.
    ///
    /// # Errors
    /// Returns the reason if there is no folder to keep features in.
    pub(super) fn of(
        Sources {
            config, learner, ..
        }: Sources<'_>,
    ) -> Result<Option<Self>, String> {
        let (groups, model) = (learner.stepper.frozen, &learner.model);
        if groups == 0 {
            return Ok(None);
        }
        let mut shape = model.shape_after(groups, learner.stepper.network_input.shape);
        let is_pooled = groups == model.num_groups() && config.model.pooling != Pooling::Flatten;
        if is_pooled {
            // The head computes the same from pooled features, at a fraction of their size.
            shape = [config.model.pooling.width(shape), 1, 1];
        }
        Ok(Some(Self {
            groups,
            shape,
            is_pooled,
            folder: folder()?,
        }))
    }

    /// Returns the bytes of one image's features.
    pub(super) fn size(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }

    /// Checks the size of the features of `count` images.
    ///
    /// # Errors
    /// Returns the reason if they are too large to keep.
    pub(super) fn check(&self, count: usize) -> Result<(), String> {
        let bytes = self.size().saturating_mul(count);
        if bytes > MAX_BYTES {
            return Err(format!(
                "features would take {} GiB, more than {} GiB",
                bytes >> 30,
                MAX_BYTES >> 30
            ));
        }
        Ok(())
    }
}

/// Returns the folder for features in the user's cache folder, creating it.
fn folder() -> Result<PathBuf, String> {
    let folder =
        cache::folder("features").ok_or("the system names no cache folder for this user")?;
    fs::create_dir_all(&folder).map_err(|error| {
        format!(
            "can't create the folder for features: {error}: {}",
            folder.display()
        )
    })?;
    Ok(folder)
}
