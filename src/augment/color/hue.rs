//! Hue: turns the colors around the color circle.

use crate::augment::{
    change::Change,
    family::{Example, Family},
    ranged::Ranged,
};

/// The family.
pub(in crate::augment) static FAMILY: Family<Ranged> = Family {
    keys: &["hue"],
    stream: 14,
    needs_color: true,
    check: |ranged, faults| ranged.check([-180.0, 180.0], faults),
    draw: |ranged, mut stream, drawing| {
        if let Some(degrees) = ranged.strength(&mut stream) {
            drawing.plan.add(Hue(degrees as f32));
        }
    },
    examples: &[Example {
        name: "hue",
        settings: "hue = { range = [-120, 120] }",
        about: "Degrees around the color circle.",
    }],
    neutral: &["hue = { range = [0, 0] }"],
    ..Family::NEW
};

/// Rotates the hue in the HSV color model by an angle in degrees. Does nothing to a gray image.
#[derive(Debug)]
pub(in crate::augment) struct Hue(pub(in crate::augment) f32);

impl Change for Hue {
    fn apply(&self, levels: &mut [f32], shape: [usize; 3]) {
        let plane = shape[0] * shape[1];
        if levels.len() == plane {
            return;
        }
        for index in 0..plane {
            let rgb = [0, 1, 2].map(|channel| levels[channel * plane + index]);
            let turned = turn_pixel(rgb, self.0);
            (0..3).for_each(|channel| levels[channel * plane + index] = turned[channel]);
        }
    }
}

/// Rotates the hue of one pixel and keeps its saturation and value.
fn turn_pixel([red, green, blue]: [f32; 3], degrees: f32) -> [f32; 3] {
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let chroma = most - least;
    if chroma <= 0.0 {
        return [red, green, blue];
    }
    let sextant = if most == red {
        (green - blue) / chroma
    } else if most == green {
        (blue - red) / chroma + 2.0
    } else {
        (red - green) / chroma + 4.0
    };
    let hue = (sextant + degrees / 60.0).rem_euclid(6.0);
    // The distance of each channel from its nearest peak on the circle.
    [5.0, 3.0, 1.0].map(|offset: f32| {
        let at = (offset + hue) % 6.0;
        most - chroma * at.min(4.0 - at).clamp(0.0, 1.0)
    })
}
