//! A run that several ranks train: what must be the same in all of them before the first step, and
//! whose folder it is.

use std::path::PathBuf;

use super::{changes::split_rows, files::Place};
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
    /// Returns an error if a rank doesn't answer, or has another recipe, other images or weights,
    /// or a device of another kind.
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
        ranks.check_same(&[
            ("version of emberlens", env!("CARGO_PKG_VERSION").to_owned()),
            ("kind of device", device.to_owned()),
        ])?;
        ranks.check_same_lines("recipe", &self.config.to_toml())?;
        let images = table::to_csv(&split_rows(data));
        ranks.check_same_lines("images", &String::from_utf8_lossy(&images))?;
        ranks.check_same(&[("first weights", digest(&weights))])?;
        if device == "gpu" {
            return Ok(());
        }
        let kernels = ranks.gather(kernel_words(&self.learner.stepper.device).as_bytes())?;
        if let Some(rank) = kernels.iter().position(|other| *other != kernels[0]) {
            let [others, own] = [rank, 0].map(|rank| String::from_utf8_lossy(&kernels[rank]));
            self.remarks.push(format!(
                "warning: rank {rank} on host {} computes by {others}, rank 0 by {own}: the last \
                 digits depend on which of them computes what",
                ranks.host(rank)
            ));
        }
        Ok(())
    }
}
