//! Synthetic images of heads (phantoms, as they are called in medical imaging), drawn by the
//! program, so that everything can be tried without a download.
//!
//! An ellipse is the skull around a textured brain with ventricles, a bias field and noise. The
//! classes differ in the lesion: none; a diffuse one somewhere in a hemisphere; a sharp one that
//! touches the skull; a small one in the middle below the ventricles. Size, position, tilt,
//! contrast and noise vary, and bright spots without meaning distract.

use std::{
    fs,
    path::{Path, PathBuf},
};

use image::{GrayImage, Luma};
use rayon::prelude::*;

use crate::{
    base::{
        io::files,
        rng::{Purpose, Stream, normal, stream, uniform},
    },
    data::error::DataError,
};

/// Folder of the images, relative to the working directory.
pub const FOLDER: &str = "datasets/phantom";

/// Class names in alphabetical order.
pub const CLASSES: [&str; 4] = [
    "diffuse_lesion",
    "midline_lesion",
    "no_lesion",
    "skull_lesion",
];

/// Number of images per class in the training set (from which validation is held back) and the test
/// set.
const COUNTS: [(&str, usize); 2] = [("train", 300), ("test", 75)];

/// Height and width of an image: not square, so that exchanging them shows.
const SIZE: [usize; 2] = [96, 80];

/// Content of the marker file. With another content, the images are of another version.
const MARKER: &str = "Drawn by emberlens, phantom set 1. The folder may be deleted; it is drawn \
                      again when it is needed.\n";

/// Draws the images unless they are there, and returns the training and the test folder.
///
/// # Errors
/// Returns an error if the folder exists and isn't ours, or if it can't be written.
pub fn draw_set() -> Result<[PathBuf; 2], DataError> {
    draw_set_in(Path::new(FOLDER))
}

fn draw_set_in(folder: &Path) -> Result<[PathBuf; 2], DataError> {
    let marker = folder.join("README.txt");
    let folders = COUNTS.map(|(part, _)| folder.join(part));
    if fs::read_to_string(&marker).is_ok_and(|text| text == MARKER) {
        return Ok(folders);
    }
    // `.drawing` marks a folder of ours in which drawing was interrupted; any other is the user's.
    let is_foreign = fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
        && !folder.join(".drawing").exists();
    if is_foreign {
        return Err(DataError::Missing {
            expected: "phantom set of this version, but another folder,",
            path: folder.to_owned(),
            hint: "rename or delete that folder; the phantom set is drawn there".to_owned(),
        });
    }
    // The marker is written last, so that an interrupted set is drawn again.
    fs::create_dir_all(folder).map_err(|error| DataError::io("create", folder, error))?;
    write(&folder.join(".drawing"), b"")?;
    for (part, (name, count)) in COUNTS.iter().enumerate() {
        for (class, class_name) in CLASSES.iter().enumerate() {
            let class_folder = folder.join(name).join(class_name);
            fs::create_dir_all(&class_folder)
                .map_err(|error| DataError::io("create", &class_folder, error))?;
            (0..*count).into_par_iter().try_for_each(|index| {
                let mut bytes = std::io::Cursor::new(Vec::new());
                let path = class_folder.join(format!("{index:03}.png"));
                draw(class, [part as u64, index as u64])
                    .write_to(&mut bytes, image::ImageFormat::Png)
                    .map_err(|error| DataError::Image {
                        path: path.clone(),
                        reason: error.to_string(),
                    })?;
                write(&path, bytes.get_ref())
            })?;
        }
    }
    write(&marker, MARKER.as_bytes())?;
    fs::remove_file(folder.join(".drawing"))
        .map_err(|error| DataError::io("finish", folder, error))?;
    Ok(folders)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), DataError> {
    files::write_atomic(path, bytes).map_err(|error| DataError::io("write", path, error))
}

/// A head in its own coordinates: the brain is the unit disc, and rows grow downwards.
struct Head {
    /// Row and column of the center, in pixels.
    center: [f64; 2],
    /// Vertical and horizontal radius of the brain, in pixels.
    radii: [f64; 2],
    /// Rotation in radians.
    tilt: f64,
    /// Mean pixel value of the brain.
    brain: f64,
    /// Bias field: slope down, slope to the right, and curvature.
    bias: [f64; 3],
    /// Waves of the texture: vertical and horizontal frequency, phase, amplitude.
    waves: [[f64; 4]; 4],
    /// Size of the ventricles, 1 on average.
    ventricle: f64,
    blobs: Vec<Blob>,
}

/// Row and column of the center, radius, softness of the edge, contrast.
type Blob = [f64; 5];

/// Draws image `index` of a class (an index into [`CLASSES`]) for training (`part` 0) or test (1).
fn draw(class: usize, [part, index]: [u64; 2]) -> GrayImage {
    // Always seed 0, so that results on these images can be compared between machines.
    let mut stream = stream(0, Purpose::Phantom, [class as u64, part, index]);
    let head = head(class, &mut stream);
    let noise = uniform(&mut stream, 4.0, 9.0);
    let [height, width] = SIZE;
    GrayImage::from_fn(width as u32, height as u32, |column, row| {
        let level =
            head.level(f64::from(row) + 0.5, f64::from(column) + 0.5) + noise * normal(&mut stream);
        Luma([level.round().clamp(0.0, 255.0) as u8])
    })
}

/// Draws the parameters of a head. The order of the draws determines the images.
fn head(class: usize, stream: &mut Stream) -> Head {
    let [height, width] = SIZE.map(|side| side as f64);
    let size = uniform(stream, 0.82, 1.0);
    let mut blobs = vec![spot(stream), spot(stream)];
    blobs.extend(lesion(class, stream));
    let mut draw = |low, high| uniform(stream, low, high);
    Head {
        center: [
            height / 2.0 + draw(-4.0, 4.0),
            width / 2.0 + draw(-4.0, 4.0),
        ],
        radii: [
            height * 0.42 * size * draw(0.94, 1.06),
            width * 0.42 * size * draw(0.94, 1.06),
        ],
        tilt: draw(-0.25, 0.25),
        brain: draw(70.0, 110.0),
        bias: [draw(-25.0, 25.0), draw(-25.0, 25.0), draw(-15.0, 15.0)],
        waves: std::array::from_fn(|_| {
            [
                draw(3.0, 14.0),
                draw(-14.0, 14.0),
                draw(0.0, 6.3),
                draw(2.0, 7.0),
            ]
        }),
        ventricle: draw(0.7, 1.3),
        blobs,
    }
}

/// Draws a spot without meaning, smaller and fainter than any lesion, anywhere in the brain.
fn spot(stream: &mut Stream) -> Blob {
    let mut draw = |low, high| uniform(stream, low, high);
    let (angle, distance) = (draw(0.0, std::f64::consts::TAU), draw(0.2, 0.85));
    [
        distance * angle.sin(),
        distance * angle.cos(),
        draw(0.04, 0.07),
        0.03,
        draw(10.0, 30.0),
    ]
}

/// Draws the lesion of a class, if it has one.
fn lesion(class: usize, stream: &mut Stream) -> Option<Blob> {
    let mut draw = |low, high| uniform(stream, low, high);
    let side = if draw(0.0, 1.0) < 0.5 { -1.0 } else { 1.0 };
    let (angle, contrast) = (draw(-1.2, 1.2), draw(55.0, 95.0));
    let aside = |distance: f64| [distance * angle.sin(), side * distance * angle.cos()];
    let ([row, column], radius, softness) = match class {
        0 => (aside(draw(0.35, 0.6)), draw(0.16, 0.26), 0.16),
        1 => (
            [draw(0.28, 0.46), draw(-0.08, 0.08)],
            draw(0.12, 0.17),
            0.05,
        ),
        3 => {
            let radius = draw(0.13, 0.22);
            (aside(0.97 - radius), radius, 0.04)
        }
        _ => return None,
    };
    Some([row, column, radius, softness, contrast])
}

impl Head {
    /// Returns the pixel value at a point of the image, without noise.
    fn level(&self, row: f64, column: f64) -> f64 {
        let (sine, cosine) = self.tilt.sin_cos();
        let (down, right) = (row - self.center[0], column - self.center[1]);
        let y = (cosine * down - sine * right) / self.radii[0];
        let x = (sine * down + cosine * right) / self.radii[1];
        let radius = y.hypot(x);
        if radius > 1.12 {
            return 8.0;
        }
        if radius > 1.0 {
            return 185.0;
        }
        let texture: f64 = self
            .waves
            .iter()
            .map(|[fy, fx, phase, height]| height * (fy * y + fx * x + phase).sin())
            .sum();
        let mut level = self.brain
            + texture
            + self.bias[0] * y
            + self.bias[1] * x
            + self.bias[2] * (y * y + x * x);
        // Two dark ventricles, one on each side of the midline.
        let ventricle = ((y + 0.05) / (0.26 * self.ventricle)).powi(2)
            + ((x.abs() - 0.1) / (0.07 * self.ventricle)).powi(2);
        level -= 45.0 * (1.0 - smooth_step(0.6, 1.4, ventricle));
        for [center_y, center_x, size, softness, contrast] in &self.blobs {
            let distance = (y - center_y).hypot(x - center_x);
            level += contrast * (1.0 - smooth_step(size - softness, size + softness, distance));
        }
        level
    }
}

/// Rises smoothly from 0 at `low` to 1 at `high` (the cubic Hermite polynomial 3t² - 2t³).
fn smooth_step(low: f64, high: f64, value: f64) -> f64 {
    let share = ((value - low) / (high - low)).clamp(0.0, 1.0);
    share * share * (3.0 - 2.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_drawn_the_same_again_and_no_two_alike() {
        assert_eq!(draw(0, [0, 3]), draw(0, [0, 3]));
        assert_ne!(draw(0, [0, 3]), draw(0, [0, 4]));
        assert_ne!(draw(0, [0, 3]), draw(0, [1, 3]));
        assert_eq!(
            (draw(2, [0, 0]).width(), draw(2, [0, 0]).height()),
            (80, 96)
        );
    }

    #[test]
    fn a_folder_that_is_not_ours_is_left_alone() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        fs::write(parent.path().join("mine.txt"), "mine").expect("written");
        let error = draw_set_in(parent.path()).expect_err("foreign").to_string();
        assert!(error.contains("rename or delete"), "{error}");
        assert_eq!(fs::read_dir(parent.path()).expect("listed").count(), 1);
    }

    #[test]
    fn a_set_that_was_cut_off_is_drawn_again_and_a_whole_one_is_not() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let folder = parent.path().join("phantom");
        let [train, test] = draw_set_in(&folder).expect("drawn");
        let image = train.join("no_lesion/007.png");
        fs::remove_file(&image).expect("removed");
        draw_set_in(&folder).expect("there");
        assert!(!image.exists(), "a finished set is the user's to change");
        fs::remove_file(folder.join("README.txt")).expect("removed");
        fs::write(folder.join(".drawing"), "").expect("written");
        draw_set_in(&folder).expect("drawn again");
        assert!(image.exists() && test.join("skull_lesion/074.png").exists());
    }
}
