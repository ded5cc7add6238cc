//! Draws the changes to an image: one map of its pixels, then changes of their values in a fixed
//! order.

use rand::RngExt as _;

use super::{
    change::{Change, Plan},
    geometry,
    geometry::Geometry,
    policy,
};
use crate::{
    base::rng::{Purpose, Stream, uniform},
    config::{Augment, ErasedTo, Erasing, Ranged, Semantics},
};

/// Draws the changes that `settings` ask for; `stream` opens the random stream of a family.
pub(super) fn draw(
    settings: &Augment,
    [height, width, _]: [usize; 3],
    stream: &dyn Fn(Purpose) -> Stream,
) -> Plan {
    let size = [height, width];
    let mut plan = Plan::NONE;
    if let Some(crop) = &settings.random_resized_crop
        && let Some(mut own) = comes_up(crop.probability, Purpose::ResizedCrop, stream)
    {
        plan.map = geometry::crop(crop, size, &mut own);
    }
    if let Some((distortion, mut own)) =
        strength(settings.perspective.as_ref(), Purpose::Perspective, stream)
    {
        // A map leads from the result to the source, so the one composed last is applied to the
        // image last: the image is cropped, then distorted, then rotated.
        plan.map = geometry::compose(plan.map, geometry::perspective(distortion, size, &mut own));
    }
    if settings.resamples() || settings.horizontal_flip || settings.vertical_flip {
        let drawn = Geometry::draw(settings, size, &mut stream(Purpose::Geometry));
        plan.map = geometry::compose(plan.map, drawn.map(size, settings.semantics));
    }
    draw_color(settings, stream, &mut plan.changes);
    if let Some(settings) = &settings.policy
        && let Some(mut own) = comes_up(settings.probability(), Purpose::Policy, stream)
    {
        policy::draw(settings, size, &mut own, &mut plan);
    }
    draw_filters(settings, size, stream, &mut plan.changes);
    plan
}

/// Draws the changes of color, in the order in which they are applied.
fn draw_color(settings: &Augment, stream: &dyn Fn(Purpose) -> Stream, changes: &mut Vec<Change>) {
    if settings.channel_shift_range != 0.0 || settings.brightness_range.is_some() {
        let mut own = stream(Purpose::Color);
        let shift = uniform(
            &mut own,
            -settings.channel_shift_range,
            settings.channel_shift_range,
        ) as f32;
        let brightness = settings
            .brightness_range
            .map(|[low, high]| uniform(&mut own, low, high) as f32);
        if shift != 0.0 {
            changes.push(Change::ChannelShift(shift));
        }
        match (brightness, settings.semantics) {
            (Some(factor), Semantics::Standard) => changes.push(Change::Brightness(factor)),
            (Some(factor), Semantics::Keras) => changes.push(Change::WholeBrightness(factor)),
            (None, _) => {}
        }
    }
    type Make = fn(f32) -> Change;
    let families: [(_, _, Make); 4] = [
        (&settings.contrast, Purpose::Contrast, Change::Contrast),
        (&settings.gamma, Purpose::Gamma, Change::Gamma),
        (
            &settings.saturation,
            Purpose::Saturation,
            Change::Saturation,
        ),
        (&settings.hue, Purpose::Hue, Change::Hue),
    ];
    for (family, purpose, change) in families {
        changes.extend(
            strength(family.as_ref(), purpose, stream).map(|(strength, _)| change(strength as f32)),
        );
    }
    if let Some(gray) = &settings.random_gray {
        changes.extend(comes_up(gray.probability, Purpose::Gray, stream).map(|_| Change::Grey));
    }
}

/// Draws blur, sharpening, noise, JPEG artifacts and erasing, in the order in which they are
/// applied.
fn draw_filters(
    settings: &Augment,
    size: [usize; 2],
    stream: &dyn Fn(Purpose) -> Stream,
    changes: &mut Vec<Change>,
) {
    changes.extend(
        strength(settings.gaussian_blur.as_ref(), Purpose::Blur, stream)
            .map(|(sigma, _)| Change::Blur(sigma as f32)),
    );
    changes.extend(
        strength(settings.sharpen.as_ref(), Purpose::Sharpen, stream)
            .map(|(factor, _)| Change::Sharpen(factor as f32)),
    );
    changes.extend(
        strength(settings.gaussian_noise.as_ref(), Purpose::Noise, stream)
            .map(|(sigma, own)| Change::Noise(sigma as f32, Box::new(own))),
    );
    // Rounding makes all whole qualities equally likely except the two ends.
    changes.extend(
        strength(settings.jpeg.as_ref(), Purpose::Jpeg, stream)
            .map(|(quality, _)| Change::Jpeg(quality.round() as u8)),
    );
    if let Some(erasing) = &settings.random_erasing
        && let Some(mut own) = comes_up(erasing.probability, Purpose::Erasing, stream)
    {
        let area = rectangle(erasing, size, &mut own);
        changes.push(match erasing.value {
            ErasedTo::Level(level) => Change::Erase(area, level as f32),
            ErasedTo::Named(_) => Change::EraseToNoise(area, Box::new(own)),
        });
    }
}

/// Opens the family's stream and returns it, after its first draw, with the given probability.
fn comes_up(
    probability: f64,
    purpose: Purpose,
    stream: &dyn Fn(Purpose) -> Stream,
) -> Option<Stream> {
    let mut own = stream(purpose);
    (own.random::<f64>() < probability).then_some(own)
}

/// Draws a strength from the family's range with its probability, and returns it with the family's
/// stream.
fn strength(
    family: Option<&Ranged>,
    purpose: Purpose,
    stream: &dyn Fn(Purpose) -> Stream,
) -> Option<(f64, Stream)> {
    let family = family?;
    let mut own = comes_up(family.probability, purpose, stream)?;
    let [low, high] = family.range;
    Some((uniform(&mut own, low, high), own))
}

/// Draws a rectangle, as top, left, height and width, of a random area and aspect ratio (Zhong et
/// al. 2020, arXiv 1708.04896), clipped to the image.
fn rectangle(erasing: &Erasing, [height, width]: [usize; 2], stream: &mut Stream) -> [usize; 4] {
    let area = uniform(stream, erasing.scale[0], erasing.scale[1]) * (height * width) as f64;
    let ratio = uniform(stream, erasing.ratio[0].ln(), erasing.ratio[1].ln()).exp();
    let side = |length: f64, most: usize| (length.round() as usize).clamp(1, most);
    let (rows, columns) = (
        side((area / ratio).sqrt(), height),
        side((area * ratio).sqrt(), width),
    );
    [
        stream.random_range(0..=height - rows),
        stream.random_range(0..=width - columns),
        rows,
        columns,
    ]
}

#[cfg(test)]
mod tests {
    use pixel_sampling::Edge;
    use safetensors::SafeTensors;
    use serde_json::Value;

    use super::*;
    use crate::augment::tests::image;

    /// From `scripts/reference/imagedatagenerator.py`, Keras 3.15.1.
    const GOLDEN: &[u8] = include_bytes!("../../tests/golden/imagedatagenerator.safetensors");

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

    fn level_changes(parameters: &Value) -> Vec<Change> {
        let shift = parameters
            .get("channel_shift_intensity")
            .map(|shift| Change::ChannelShift(shift.as_f64().expect("a number") as f32));
        let brightness = parameters
            .get("brightness")
            .map(|factor| Change::WholeBrightness(factor.as_f64().expect("a number") as f32));
        shift.into_iter().chain(brightness).collect()
    }

    fn plan(parameters: &Value, size: [usize; 2]) -> Plan {
        let geometry = Geometry {
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
            map: geometry.map(size, Semantics::Keras),
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
