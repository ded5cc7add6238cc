//! A run that several ranks train: what must be the same in all of them before the first step, and
//! whose folder it is.

use std::path::PathBuf;

use super::{changes::written_rows, files::Place};
use crate::{
    data::{TrainingData, table},
    nn::{
        cpu::backend::{is_host, kernel_words},
        weights::{Part, to_bytes},
    },
    ranks::Ranks,
    train::{Session, TrainError},
};

impl Session {
    /// Follows the run in the folder `path` of rank 0, in place of [`Self::begin`].
    pub fn follow(&mut self, path: PathBuf) {
        self.files.place = Some(Place::There(path));
    }

    /// Trains this run together with the other ranks, which have read it or its recipe themselves.
    ///
    /// # Errors
    /// Returns an error if a rank doesn't answer, or has other images or weights, a device of
    /// another kind, or a processor with another instruction set.
    pub fn join(&mut self, ranks: &Ranks, data: &TrainingData) -> Result<(), TrainError> {
        self.learner.stepper.ranks = ranks.clone();
        if !ranks.are_several() {
            return Ok(());
        }
        let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
        let weights = to_bytes(&self.learner.inference_model(), Part::ALL)?;
        let device = if is_host(&self.learner.stepper.device) {
            "cpu"
        } else {
            "gpu"
        };
        ranks.check_same(&[("kind of device", device.to_owned())])?;
        if device == "cpu" {
            // Optimizers of other instruction sets would lead the ranks apart.
            let kernels = kernel_words(&self.learner.stepper.device);
            ranks.check_same(&[("CPU kernels", kernels)])?;
        }
        let images = table::to_csv(&written_rows(data));
        ranks.check_same_lines("images", &String::from_utf8_lossy(&images))?;
        ranks.check_same(&[("first weights", digest(&weights))])?;
        Ok(())
    }
}
