//! The changes to one image: a map of its pixels, then changes of their values in order.

use std::{any::Any, fmt::Debug};

use pixel_sampling::{IDENTITY, Map};

/// The changes drawn for one image.
#[derive(Debug)]
pub struct Plan {
    /// Map from the pixels of the result to those of the source.
    pub map: Map,
    /// Changes of the pixel values, in order.
    pub changes: Vec<Box<dyn Change>>,
}

impl Plan {
    /// A plan that changes nothing.
    pub const NONE: Self = Self {
        map: IDENTITY,
        changes: Vec::new(),
    };

    /// Adds a change behind the others.
    pub(super) fn add(&mut self, change: impl Change) {
        self.changes.push(Box::new(change));
    }
}

/// A change of pixel values between 0 and 255, with its strength.
pub trait Change: Any + Debug + Send + Sync {
    /// Changes the pixel values in place. Applied again, it does the same.
    ///
    /// # Shapes
    /// `levels` is `[channels, height, width]`, while `shape` is `[height, width, channels]`.
    fn apply(&self, levels: &mut [f32], shape: [usize; 3]);

    /// Returns the factor if the change is a multiplication that is clipped to 0..=255. It is then
    /// part of the sampling pass if it stands alone, which spares a pass over the values.
    fn gain(&self) -> Option<f32> {
        None
    }
}
