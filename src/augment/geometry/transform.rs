//! The map of rotation, shifts, shear, zoom and flips, as Keras documents it and as Keras makes it.

use pixel_sampling::{IDENTITY, Map};

use super::maps::{about, about_center, compose, mirror, snap};
use crate::augment::family::Semantics;

/// The parameters of Keras's `apply_transform`, under its names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::augment) struct Transform {
    /// Rotation in degrees; positive values turn the image counterclockwise.
    pub(in crate::augment) theta: f64,
    /// Vertical shift in pixels.
    pub(in crate::augment) tx: f64,
    /// Horizontal shift in pixels.
    pub(in crate::augment) ty: f64,
    /// Shear in degrees.
    pub(in crate::augment) shear: f64,
    /// Scale of the source's rows, or of its columns with the semantics `"keras"`; a value below 1
    /// magnifies.
    pub(in crate::augment) zx: f64,
    /// Scale of the source's columns, or of its rows with the semantics `"keras"`.
    pub(in crate::augment) zy: f64,
    /// Whether to mirror left and right.
    pub(in crate::augment) flip_horizontal: bool,
    /// Whether to mirror top and bottom.
    pub(in crate::augment) flip_vertical: bool,
}

impl Transform {
    /// The parameters that change nothing.
    pub(in crate::augment) const NONE: Self = Self {
        theta: 0.0,
        tx: 0.0,
        ty: 0.0,
        shear: 0.0,
        zx: 1.0,
        zy: 1.0,
        flip_horizontal: false,
        flip_vertical: false,
    };

    /// Returns the map of the drawn parameters: rotation, shift, shear and zoom about the center,
    /// in Keras's order of factors, applied to the mirrored image.
    pub(in crate::augment) fn map(&self, shape: [usize; 2], semantics: Semantics) -> Map {
        let map = match semantics {
            Semantics::Standard => self.standard_map(shape),
            Semantics::Keras => self.keras_map(shape),
        };
        compose(
            map,
            mirror([self.flip_horizontal, self.flip_vertical], shape),
        )
    }

    /// The map with the semantics that Keras documents: shifts move the image right and down, and
    /// everything else is about the center of the image.
    fn standard_map(&self, shape: [usize; 2]) -> Map {
        let (sine, cosine) = self.theta.to_radians().sin_cos();
        let rotation = [[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]];
        let shift = [[1.0, 0.0, -self.ty], [0.0, 1.0, -self.tx], [0.0, 0.0, 1.0]];
        let shear = self.shear.to_radians();
        let shear = [
            [1.0, -shear.sin(), 0.0],
            [0.0, shear.cos(), 0.0],
            [0.0, 0.0, 1.0],
        ];
        let zoom = [[self.zy, 0.0, 0.0], [0.0, self.zx, 0.0], [0.0, 0.0, 1.0]];
        snap(about_center(
            [rotation, shift, shear, zoom]
                .into_iter()
                .fold(IDENTITY, compose),
            shape,
        ))
    }

    /// The map of Keras 2.9 to 3.15. Keras builds the matrix for (row, column), fixes its center,
    /// and exchanges its axes only then. A height shift therefore moves the image sideways, and the
    /// center of an image that isn't square has its coordinates exchanged.
    fn keras_map(&self, [height, width]: [usize; 2]) -> Map {
        if (Self {
            flip_horizontal: false,
            flip_vertical: false,
            ..*self
        }) == Self::NONE
        {
            // Keras skips the transform if nothing but flips is set.
            return IDENTITY;
        }
        let (sine, cosine) = (self.theta * std::f64::consts::PI / 180.0).sin_cos();
        let rotation = [[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]];
        let shift = [[1.0, 0.0, self.tx], [0.0, 1.0, self.ty], [0.0, 0.0, 1.0]];
        let shear = self.shear * std::f64::consts::PI / 180.0;
        let shear = [
            [1.0, -shear.sin(), 0.0],
            [0.0, shear.cos(), 0.0],
            [0.0, 0.0, 1.0],
        ];
        let zoom = [[self.zx, 0.0, 0.0], [0.0, self.zy, 0.0], [0.0, 0.0, 1.0]];
        let matrix = [rotation, shift, shear, zoom]
            .into_iter()
            .fold(IDENTITY, compose);
        // After the exchange, the first row of the (row, column) matrix computes the column, as in
        // this map.
        about(
            [height as f64 / 2.0 - 0.5, width as f64 / 2.0 - 0.5],
            matrix,
        )
    }
}

#[cfg(test)]
mod tests {
    use pixel_sampling::Edge;
    use safetensors::SafeTensors;
    use serde_json::Value;

    use super::*;
    use crate::augment::{
        change::{Change, Plan},
        color::brightness::{BrightenWhole, ChannelShift},
        tests::image,
    };

    /// From `scripts/reference/imagedatagenerator.py`, Keras 3.15.1.
    const GOLDEN: &[u8] = include_bytes!("../../../tests/golden/imagedatagenerator.safetensors");

    fn number(value: &Value, key: &str, otherwise: f64) -> f64 {
        value
            .get(key)
            .map_or(otherwise, |value| value.as_f64().expect("a number"))
    }

    fn flag(value: &Value, key: &str) -> bool {
        value
            .get(key)
            .is_some_and(|value| value.as_bool().expect("true or false"))
    }

    fn level_changes(parameters: &Value) -> Vec<Box<dyn Change>> {
        let strength = |key: &str| Some(parameters.get(key)?.as_f64().expect("a number") as f32);
        let mut plan = Plan::NONE;
        if let Some(shift) = strength("channel_shift_intensity") {
            plan.add(ChannelShift(shift));
        }
        if let Some(factor) = strength("brightness") {
            plan.add(BrightenWhole(factor));
        }
        plan.changes
    }

    fn plan(parameters: &Value, size: [usize; 2]) -> Plan {
        let transform = Transform {
            theta: number(parameters, "theta", 0.0),
            tx: number(parameters, "tx", 0.0),
            ty: number(parameters, "ty", 0.0),
            shear: number(parameters, "shear", 0.0),
            zx: number(parameters, "zx", 1.0),
            zy: number(parameters, "zy", 1.0),
            flip_horizontal: flag(parameters, "flip_horizontal"),
            flip_vertical: flag(parameters, "flip_vertical"),
        };
        Plan {
            map: transform.map(size, Semantics::Keras),
            changes: level_changes(parameters),
        }
    }

    fn edge(case: &Value) -> Edge {
        match case["fill_mode"].as_str().expect("a name") {
            "nearest" => Edge::Nearest,
            "constant" => Edge::Constant(number(case, "cval", 0.0) as f32),
            "reflect" => Edge::Reflect,
            "wrap" => Edge::Wrap,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_same_parameters_give_the_same_pixels_as_keras() {
        let file = SafeTensors::deserialize(GOLDEN).expect("whole");
        let (_, metadata) = SafeTensors::read_metadata(GOLDEN).expect("whole");
        let cases: Vec<Value> =
            serde_json::from_str(&metadata.metadata().as_ref().expect("present")["cases"])
                .expect("JSON");
        let (mut seen, mut worst) = (0, 0.0f32);
        for (index, case) in cases
            .iter()
            .enumerate()
            .filter(|(_, case)| case["kind"] != "standardize")
        {
            let shape: [usize; 3] = serde_json::from_value(case["shape"].clone()).expect("a shape");
            let [height, width, channels] = shape;
            let source = image(shape);
            let parameters = &case["parameters"];
            let mut got = Vec::new();
            if case["kind"] == "transform" {
                plan(parameters, [height, width]).write(&source, shape, edge(case), None, &mut got);
            } else {
                Plan::NONE.write(&source, shape, Edge::Nearest, None, &mut got);
                let (scale, offset) = (
                    number(case, "scale", 1.0) as f32,
                    number(case, "offset", 0.0) as f32,
                );
                got.iter_mut()
                    .for_each(|level| *level = *level * scale + offset);
                level_changes(parameters)
                    .iter()
                    .for_each(|change| change.apply(&mut got, shape));
            }
            let expected = file.tensor(&format!("{index:03}")).expect("present");
            let limit = if parameters.get("brightness").is_some() {
                1.0
            } else {
                1e-3
            };
            for (at, bytes) in expected.data().chunks_exact(4).enumerate() {
                let expected = f32::from_le_bytes(bytes.try_into().expect("four bytes"));
                let got = got[at % channels * height * width + at / channels];
                // Values far beyond 255 have no precise thousandths.
                let difference = (got - expected).abs() / (expected.abs() / 255.0).max(1.0);
                worst = if limit < 1.0 {
                    worst.max(difference)
                } else {
                    worst
                };
                assert!(
                    difference <= limit,
                    "case {index} at {at}: {got}, Keras has {expected}: {case}"
                );
            }
            seen += 1;
        }
        assert!(
            seen >= 200 && worst < 1e-3,
            "{seen} cases, at most {worst} off"
        );
    }
}
