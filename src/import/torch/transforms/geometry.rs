//! How images are brought to their size.

use notebook_reader::{Place, Trace, Value};

use crate::import::{
    arguments::Import,
    torch::{calls::Made, described::Network},
};

/// How a list of transforms brings images to their size.
#[derive(Clone, Copy, Default)]
struct Geometry {
    /// `Resize`: height and width, or the shorter side.
    resized: Option<(Target, Place)>,
    /// The last crop.
    cropped: Option<([usize; 2], Place)>,
    /// Whether that is a `RandomResizedCrop`.
    is_zoomed: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Target {
    Sides([usize; 2]),
    Shorter(usize),
}

impl Geometry {
    fn of(trace: &Trace, list: &[Made<'_>]) -> Self {
        let mut found = Self::default();
        for made in list {
            match made.name() {
                "Resize" | "Scale" => {
                    let place = made.place_of(0, "size");
                    let target = match made.value(0, "size") {
                        Some(Value::Int(side)) => usize::try_from(*side).ok().map(Target::Shorter),
                        _ => made.sides_of(trace, 0, "size").map(Target::Sides),
                    };
                    found.resized = target.map(|target| (target, place)).or(found.resized);
                }
                "CenterCrop" | "RandomCrop" | "RandomResizedCrop" => {
                    let place = made.place_of(0, "size");
                    if let Some(sides) = made.sides_of(trace, 0, "size") {
                        found.cropped = Some((sides, place));
                        found.is_zoomed = made.name() == "RandomResizedCrop";
                    }
                }
                // Of an enumeration of weights.
                "transforms" => {
                    found.resized = Some((Target::Shorter(256), made.place));
                    found.cropped = Some(([224, 224], made.place));
                }
                _ => {}
            }
        }
        found
    }

    fn sides(&self) -> Option<([usize; 2], Place)> {
        let resized = self.resized.map(|(target, place)| match target {
            Target::Sides(sides) => (sides, place),
            Target::Shorter(side) => ([side; 2], place),
        });
        self.cropped.or(resized)
    }
}

/// Sets size and crop: the size of training images, the shape of those that aren't augmented.
pub(super) fn geometry(
    import: &mut Import<'_>,
    own: &[Made<'_>],
    still: &[Made<'_>],
    network: &Network<'_>,
) {
    let trace = import.trace;
    let (train, still_size) = (Geometry::of(trace, own), Geometry::of(trace, still));
    let Some((sides, place)) = train.sides().or(still_size.sides()) else {
        return size(import, None, network);
    };
    size(import, Some((sides, place)), network);
    if let Some((other, place)) = still_size.sides().filter(|(other, _)| *other != sides) {
        let [height, width] = other;
        let what = format!("validation images have another size: {height} x {width}");
        import.none(place, what, "that of the training images");
    }
    if let Some((target, place)) = still_size.resized {
        let from = match target {
            Target::Shorter(side) => [side; 2],
            Target::Sides(sides) => sides,
        };
        let words = |[height, width]: [usize; 2]| format!("{height} x {width}");
        match (target, still_size.cropped) {
            (Target::Shorter(_), None) => {
                import.recipe.set("data.resize", "crop", place);
                let what = "`Resize` of the shorter side alone, which keeps the aspect ratio";
                import.differs(place, what, "the largest centered square");
            }
            (Target::Shorter(_), Some((crop, _))) => {
                import.recipe.set("data.resize", "crop", place);
                if crop != from {
                    let what = format!("the center, {} of {}", words(crop), words(from));
                    import.differs(place, what, "the largest centered square, as a whole");
                }
            }
            (Target::Sides(_), Some((crop, _))) if crop != from && !still_size.is_zoomed => {
                let what = format!("the center, {} of {}", words(crop), words(from));
                import.differs(place, what, "the whole image");
            }
            (Target::Sides(_), _) => {}
        }
    }
    for made in own {
        if made.name() == "RandomCrop" {
            random_crop(import, made, &train);
        }
    }
    interpolation(import, still);
}

/// A crop at random: a part of fixed size, or with a margin around the image.
fn random_crop(import: &mut Import<'_>, made: &Made<'_>, geometry: &Geometry) {
    let Some((sides, _)) = geometry.cropped else {
        return;
    };
    if let Some(margin) = made.count_of(1, "padding").filter(|own| *own > 0) {
        let place = made.place_of(1, "padding");
        for (key, side) in [("height", sides[0]), ("width", sides[1])] {
            let fraction = (1e4 * margin as f64 / side.max(1) as f64).round() / 1e4;
            let key = format!("augment.{key}_shift_range");
            import.recipe.set(&key, fraction, place);
        }
        let note = "black, torchvision's default";
        import
            .recipe
            .set_noted("augment.fill_mode", "constant", place, note);
        return;
    }
    let Some((target, _)) = geometry.resized else {
        return;
    };
    let from = match target {
        Target::Shorter(side) => [side; 2],
        Target::Sides(sides) => sides,
    };
    let fraction = (sides[0] * sides[1]) as f64 / (from[0] * from[1]).max(1) as f64;
    if fraction < 1.0 {
        let fraction = (1e4 * fraction).round() / 1e4;
        let ratio = 1.0;
        let place = made.place;
        let key = "augment.random_resized_crop";
        import
            .recipe
            .set(&format!("{key}.scale"), vec![fraction; 2], place);
        import
            .recipe
            .set(&format!("{key}.ratio"), vec![ratio; 2], place);
    }
}

/// Sets the size of images; without any, that of published weights.
pub(super) fn size(
    import: &mut Import<'_>,
    found: Option<([usize; 2], Place)>,
    network: &Network<'_>,
) {
    let listed = |sides: [usize; 2]| -> Vec<i64> {
        let whole = |side: &usize| i64::try_from(*side).unwrap_or(i64::MAX);
        sides.iter().map(whole).collect()
    };
    match (found, &network.base) {
        (Some((sides, place)), _) => import.recipe.set("data.image_size", listed(sides), place),
        (None, Some(base)) => {
            let what = "the size of the images";
            let here = "that of the network's published weights";
            import.unclear(base.made.place, what, here);
            let side = base.architecture.entry().side;
            import
                .recipe
                .set("data.image_size", listed([side; 2]), base.made.place);
        }
        (None, None) => {}
    }
}

fn interpolation(import: &mut Import<'_>, list: &[Made<'_>]) {
    let found = list.iter().find_map(|made| {
        let at = match made.name() {
            "Resize" => 1,
            "RandomResizedCrop" => 3,
            _ => return None,
        };
        match made.value(at, "interpolation")? {
            Value::Name(name) => {
                let name = name.rsplit('.').next()?.to_lowercase();
                Some((name, made.place_of(at, "interpolation")))
            }
            _ => None,
        }
    });
    match found {
        Some((name, place))
            if ["nearest", "bicubic", "lanczos", "box", "hamming"].contains(&&*name) =>
        {
            import.recipe.set("data.interpolation", name, place);
        }
        _ => {}
    }
}
