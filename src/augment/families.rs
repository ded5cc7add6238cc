//! All families, a row each. What is asked of all of them is answered from here: whether anything
//! is on, which values can't work, the changes to an image, the documentation and the tests.

use super::{
    change::Plan,
    color::{brightness, contrast, gamma, gray, hue, saturation},
    family::{Drawing, Effect, Example, Family, Fault, Faults, Section},
    filters::{blur, erasing, jpeg, noise, sharpen},
    geometry::{affine, crop, perspective},
    mixing, policy,
    settings::Settings,
};
use crate::base::rng::Stream;

/// The families, each with its place in the settings, in the order in which their changes apply to
/// an image. A map leads from the result to the source, and the maps are composed in this order, so
/// that the image is cropped, then distorted, then rotated.
pub(super) static FAMILIES: [&dyn Row; 17] = [
    &In(&crop::FAMILY, |all| all.random_resized_crop.as_ref()),
    &In(&perspective::FAMILY, |all| all.perspective.as_ref()),
    &In(&affine::FAMILY, |all| Some(&all.affine)),
    &In(&brightness::FAMILY, |all| Some(&all.brightness)),
    &In(&contrast::FAMILY, |all| all.contrast.as_ref()),
    &In(&gamma::FAMILY, |all| all.gamma.as_ref()),
    &In(&saturation::FAMILY, |all| all.saturation.as_ref()),
    &In(&hue::FAMILY, |all| all.hue.as_ref()),
    &In(&gray::FAMILY, |all| all.random_gray.as_ref()),
    &In(&policy::FAMILY, |all| all.policy.as_ref()),
    &In(&blur::FAMILY, |all| all.gaussian_blur.as_ref()),
    &In(&sharpen::FAMILY, |all| all.sharpen.as_ref()),
    &In(&noise::FAMILY, |all| all.gaussian_noise.as_ref()),
    &In(&jpeg::FAMILY, |all| all.jpeg.as_ref()),
    &In(&erasing::FAMILY, |all| all.random_erasing.as_ref()),
    &In(&mixing::MIXUP, |all| all.mixup.as_ref()),
    &In(&mixing::CUTMIX, |all| all.cutmix.as_ref()),
];

/// A family, and where its settings are; nowhere if they aren't given.
struct In<T: 'static>(&'static Family<T>, fn(&Settings) -> Option<&T>);

/// A family with settings of any type.
pub(super) trait Row: Sync {
    fn keys(&self) -> &'static [&'static str];
    fn stream(&self) -> u64;
    fn section(&self) -> Section;
    fn needs_color(&self) -> bool;
    fn mixes(&self) -> bool;
    fn examples(&self) -> &'static [Example];
    #[cfg(test)]
    fn neutral(&self) -> &'static [&'static str];
    /// Returns what the family does under these settings.
    fn effect(&self, settings: &Settings) -> Effect;
    /// Adds the settings that can't work for images that are in color or not.
    fn check(&self, settings: &Settings, is_color: bool, faults: &mut Faults);
    /// Draws the changes to an image; `open` returns the stream of a number.
    fn draw(&self, settings: &Settings, open: &dyn Fn(u64) -> Stream, drawing: &mut Drawing);
}

impl<T> Row for In<T> {
    fn keys(&self) -> &'static [&'static str] {
        self.0.keys
    }

    fn stream(&self) -> u64 {
        self.0.stream
    }

    fn section(&self) -> Section {
        self.0.section
    }

    fn needs_color(&self) -> bool {
        self.0.needs_color
    }

    fn mixes(&self) -> bool {
        self.0.mixes
    }

    fn examples(&self) -> &'static [Example] {
        self.0.examples
    }

    #[cfg(test)]
    fn neutral(&self) -> &'static [&'static str] {
        self.0.neutral
    }

    fn effect(&self, settings: &Settings) -> Effect {
        self.1(settings).map_or(Effect::Nothing, self.0.effect)
    }

    fn check(&self, settings: &Settings, is_color: bool, faults: &mut Faults) {
        let Some(own) = self.1(settings) else {
            return;
        };
        faults.enter(match self.0.keys {
            [table] => table,
            _ => "",
        });
        if self.needs_color() && !is_color {
            faults.add(
                "",
                "has no effect on grayscale images; leave it out or set data.color = \"rgb\"",
            );
        }
        (self.0.check)(own, faults);
    }

    fn draw(&self, settings: &Settings, open: &dyn Fn(u64) -> Stream, drawing: &mut Drawing) {
        if let Some(own) = self.1(settings)
            && !self.0.mixes
            && (self.0.effect)(own) != Effect::Nothing
        {
            (self.0.draw)(own, open(self.stream()), drawing);
        }
    }
}

/// Draws the changes to an image of `[height, width]`; `open` returns the random stream of a number
/// for this image.
pub(super) fn draw(settings: &Settings, size: [usize; 2], open: &dyn Fn(u64) -> Stream) -> Plan {
    let mut drawing = Drawing {
        size,
        semantics: settings.semantics,
        plan: Plan::NONE,
    };
    for family in FAMILIES {
        family.draw(settings, open, &mut drawing);
    }
    drawing.plan
}

impl Settings {
    /// Returns whether pixels are moved other than by a flip, so that they are interpolated and
    /// `fill_mode` has an effect.
    pub fn resamples(&self) -> bool {
        let moves = |row: &&dyn Row| row.effect(self) == Effect::Moves;
        FAMILIES.iter().any(moves)
    }

    /// Returns whether images are changed one by one.
    pub fn changes_images(&self) -> bool {
        self.uses(|row| !row.mixes())
    }

    /// Returns whether the images of a batch are mixed with one another.
    pub fn mixes(&self) -> bool {
        self.uses(|row| row.mixes())
    }

    /// Returns whether a family of this kind is on.
    fn uses(&self, kind: fn(&dyn Row) -> bool) -> bool {
        FAMILIES
            .iter()
            .any(|row| kind(*row) && row.effect(self) != Effect::Nothing)
    }

    /// Returns the settings that can't work, or have no effect on images that are in color or not.
    pub fn faults(&self, is_color: bool) -> Vec<Fault> {
        let mut faults = Faults::default();
        for family in FAMILIES {
            family.check(self, is_color, &mut faults);
        }
        faults.enter("");
        let level = self.cval.unwrap_or(0.0);
        faults.require(
            (0.0..=255.0).contains(&level),
            "cval",
            level,
            "a pixel value from 0 to 255",
        );
        faults.into_found()
    }

    /// Returns whether a key concerns a whole batch, which has images of every class.
    pub fn is_of_batch(key: &str) -> bool {
        let mixes = |row: &&dyn Row| row.mixes() && row.keys().contains(&key);
        key == "semantics" || FAMILIES.iter().any(mixes)
    }
}
