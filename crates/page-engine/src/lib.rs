//! The part of Emberlens that classifies images without the program: it reads an image file, brings
//! it to the levels that the network was trained with, runs the network and computes Grad-CAM. An
//! exported page contains it as WebAssembly (`scripts/page-engine`), with `abi` as its interface.
//!
//! A network comes as a [`Model`]: how images are prepared, and a list of [`Step`]s with their
//! weights, in which batch norms are folded into convolutions and the head is steps like all
//! others. `src/export/page` makes it from the description of any network.

#[cfg(target_arch = "wasm32")]
mod abi;
mod backward;
mod file;
mod fit;
mod forward;
mod map;
mod model;
mod normalize;
mod upright;

pub use forward::Maps;
pub use map::Map;
pub use model::{
    Channel, Conv, Filter, Fit, Function, Join, Linear, Model, Normalize, Output, Own, Pool,
    PoolKind, Step, Weights,
};
pub use upright::{Pixels, webp_orientation};

/// Models, one or more, and the image that they were last given.
#[derive(Debug)]
pub struct Engine {
    models: Vec<Model>,
    image: Pixels,
}

impl Engine {
    /// Reads a model from the bytes of [`Model::to_bytes`]. Its first image is a black pixel.
    ///
    /// # Errors
    /// Returns an error if the bytes are no model.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        Ok(Self {
            models: vec![read(bytes)?],
            image: Pixels::black(),
        })
    }

    /// Adds a model, whose classes and way to read images must be those of the first. The engine
    /// then has the mean of their probabilities, and that of their maps before these are scaled.
    ///
    /// # Errors
    /// Returns an error if the bytes are no model.
    pub fn add(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.models.push(read(bytes)?);
        Ok(())
    }

    /// Decodes a JPEG, PNG or TIFF.
    ///
    /// # Errors
    /// Returns the reason if the file is damaged, of another format, or too large.
    pub fn open(&mut self, file: &[u8]) -> Result<(), String> {
        self.image = file::decode(file, self.models[0].channels)?;
        Ok(())
    }

    /// Takes an image that something else has decoded; `orientation` is the number that EXIF data
    /// have for it.
    ///
    /// # Shapes
    /// `rgba` is `[height, width, 4]` with the colors as they are without alpha.
    ///
    /// # Panics
    /// Panics if `rgba` has another length or no pixels.
    pub fn take(&mut self, rgba: Vec<u8>, [height, width]: [usize; 2], orientation: u8) {
        assert!(
            !rgba.is_empty() && rgba.len() == height * width * 4,
            "{height}x{width} pixels in {} bytes",
            rgba.len()
        );
        let shape = [height, width, 4];
        self.image = upright::upright(shape, rgba, orientation, self.models[0].channels);
    }

    /// Returns the probability of each class.
    ///
    /// # Errors
    /// Returns an error if a logit isn't a finite number.
    pub fn probabilities(&self) -> Result<Vec<f32>, String> {
        let mut rows = Vec::new();
        for (model, input) in self.inputs() {
            let logits = forward::run(&model.steps, input).values;
            if logits.iter().any(|logit| !logit.is_finite()) {
                let reason = "the network's output isn't a number: its weights are damaged";
                return Err(reason.to_owned());
            }
            rows.push(model.output.probabilities(&logits, model.temperature));
        }
        Ok(mean(&rows))
    }

    /// Returns the evidence for a class by location (Grad-CAM).
    ///
    /// # Panics
    /// Panics if there is no such class.
    pub fn map(&self, class: usize) -> Map {
        let mut size = [0, 0];
        let evidence = |(model, input): (&Model, Maps)| {
            let (before, behind) = model.steps.split_at(model.map_after);
            let values = forward::run(before, input);
            let logits = forward::run(behind, values.clone());
            let score = model.output.score(logits, class);
            let gradient = backward::run(behind, values.clone(), score);
            size = [values.shape[1], values.shape[2]];
            map::evidence(&values, &gradient)
        };
        let each: Vec<Vec<f32>> = self.inputs().map(evidence).collect();
        let model = &self.models[0];
        let part = model.fit.view(self.image.size(), model.size);
        Map::new(&mean(&each), size, part)
    }

    /// Returns height, width and the values of the image at `side` pixels at most, with the same
    /// ratio of sides.
    ///
    /// # Shapes
    /// `[height, width, 4]`, opaque.
    pub fn thumbnail(&self, side: usize) -> ([usize; 2], Vec<u8>) {
        self.image.thumbnail(side)
    }

    /// Returns the models, each with its input.
    fn inputs(&self) -> impl Iterator<Item = (&Model, Maps)> {
        let levels = fit::levels(&self.image, &self.models[0]);
        let models = self.models.iter();
        models.map(move |model| (model, normalize::normalized(&levels, model)))
    }
}

fn read(bytes: &[u8]) -> Result<Model, String> {
    Model::from_bytes(bytes).map_err(|error| format!("the model is damaged: {error}"))
}

/// Returns the mean of several rows, value by value.
fn mean(rows: &[Vec<f32>]) -> Vec<f32> {
    let share = 1.0 / rows.len() as f32;
    let at = |index: usize| share * rows.iter().map(|row| row[index]).sum::<f32>();
    (0..rows[0].len()).map(at).collect()
}
