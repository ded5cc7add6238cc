//! Finds images that are copies of one another: the same file, the same pixels, or the same image
//! saved again, resized, brighter or darker, slightly cropped or moved, mirrored, or rotated by
//! quarters or by a few degrees. Neighboring slices of one brain are not copies.

mod affine;
mod affine_map;
pub(in crate::data) mod align;
mod coarse;
mod focus;
mod hashes;
pub mod known;
pub mod leaks;
mod near;
mod scales;
pub mod scan;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use self::near::Joined;
use super::pixels::{image_stats::ImageStats, thumbnail::Thumbnail};
use crate::base::{
    io::kept::{Key, kept_or},
    union_find::UnionFind,
};

/// How images are copies of one another, from equal to similar.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Likeness {
    /// Equal files.
    File,
    /// Equal decoded pixels.
    Pixels,
    /// The same image with other pixels, by the search for near-duplicates.
    Near,
}

/// An image that may have copies.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// BLAKE3 digest of the file, if known.
    pub file: Option<[u8; 32]>,
    /// BLAKE3 digest of the decoded pixels.
    pub pixels: [u8; 32],
    /// The thumbnail.
    pub look: &'a Thumbnail,
}

impl<'a> From<&'a ImageStats> for Candidate<'a> {
    fn from(facts: &'a ImageStats) -> Self {
        Self {
            file: Some(facts.file),
            pixels: facts.pixels,
            look: &facts.look,
        }
    }
}

impl Candidate<'_> {
    /// Returns how two members of a group are copies of one another.
    pub fn likeness(&self, other: &Self) -> Likeness {
        if self.file.is_some() && self.file == other.file {
            Likeness::File
        } else if self.pixels == other.pixels {
            Likeness::Pixels
        } else {
            Likeness::Near
        }
    }
}

/// Two or more images that are copies of one another.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Group {
    /// Positions of the images, rising.
    pub members: Vec<usize>,
    /// The weakest relation by which they were joined.
    pub likeness: Likeness,
}

/// Part of the key of the kept result. Raise it when thumbnails or the search change.
const VERSION: &str = "emberlens copies 2";

/// Number of images from which on the result is kept on disk.
const MANY: usize = 500;

/// Finds the groups of copies, ordered by their first member. The result for many images is kept on
/// disk and returned for the same images later.
pub fn find(images: &[Candidate<'_>]) -> Vec<Group> {
    if images.len() < MANY {
        return search(images);
    }
    let mut key = Key::new(VERSION);
    for image in images {
        key.add(&image.file.unwrap_or_default());
        key.add(&image.pixels);
        // Equal pixels may have another thumbnail, in another color mode for instance.
        key.add(image.look.bytes());
    }
    kept_or(&key, || search(images))
}

/// Finds the groups of copies.
fn search(images: &[Candidate<'_>]) -> Vec<Group> {
    let mut groups = Groups::new(images.len());
    let mut by_file = BTreeMap::new();
    let mut by_pixels = BTreeMap::new();
    for (index, image) in images.iter().enumerate() {
        if let Some(file) = image.file {
            groups.join(*by_file.entry(file).or_insert(index), index, Likeness::File);
        }
        groups.join(
            *by_pixels.entry(image.pixels).or_insert(index),
            index,
            Likeness::Pixels,
        );
    }
    // One image of each digest; the others are joined to it already.
    let different: Vec<usize> = by_pixels.into_values().collect();
    join_near(images, different, groups).into_groups()
}

/// Returns for each new image the position of the known image that it is a copy of, and how. Takes
/// the most similar one, and of several the first.
pub fn sources(known: &[Candidate<'_>], new: &[Candidate<'_>]) -> Vec<Option<(usize, Likeness)>> {
    let all = [known, new].concat();
    let mut sources = vec![None; new.len()];
    for Group { members, .. } in find(&all) {
        let (of_known, of_new) =
            members.split_at(members.partition_point(|index| *index < known.len()));
        for index in of_new {
            let source = |known: &usize| (*known, all[*known].likeness(&all[*index]));
            sources[index - known.len()] = of_known
                .iter()
                .map(source)
                .min_by_key(|(_, likeness)| *likeness);
        }
    }
    sources
}

/// Joins the near-duplicates among the images at the positions `different`.
fn join_near(images: &[Candidate<'_>], mut different: Vec<usize>, groups: Groups) -> Groups {
    different.retain(|index| !images[*index].look.is_flat());
    let looks: Vec<&Thumbnail> = different.iter().map(|index| images[*index].look).collect();
    let growing = Growing {
        different,
        groups: Mutex::new(groups),
    };
    near::join(&looks, &growing);
    growing
        .groups
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
}

/// The groups during the search, with the positions that `near` counts in.
struct Growing {
    different: Vec<usize>,
    groups: Mutex<Groups>,
}

impl Growing {
    fn groups(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Joined for Growing {
    fn are_joined(&self, first: usize, second: usize) -> bool {
        self.groups()
            .are_joined(self.different[first], self.different[second])
    }

    fn join(&self, first: usize, second: usize) {
        self.groups().join(
            self.different[first],
            self.different[second],
            Likeness::Near,
        );
    }
}

/// Groups of copies. The likeness of a group is kept at its root.
struct Groups {
    sets: UnionFind,
    likeness: Vec<Likeness>,
}

impl Groups {
    fn new(count: usize) -> Self {
        Self {
            sets: UnionFind::new(count),
            likeness: vec![Likeness::File; count],
        }
    }

    fn are_joined(&mut self, a: usize, b: usize) -> bool {
        self.sets.root(a) == self.sets.root(b)
    }

    fn join(&mut self, a: usize, b: usize, likeness: Likeness) {
        if let Some([first, other]) = self.sets.join(a, b) {
            self.likeness[first] = likeness.max(self.likeness[first]).max(self.likeness[other]);
        }
    }

    fn into_groups(self) -> Vec<Group> {
        let grown = self
            .sets
            .into_sets()
            .into_iter()
            .filter(|(_, members)| members.len() > 1);
        grown
            .map(|(first, members)| Group {
                members,
                likeness: self.likeness[first],
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, RgbImage, imageops};
    use rayon::prelude::*;

    use super::*;
    use crate::{
        base::rng::{Purpose, RngExt, Stream, stream},
        config::Color,
        data::pixels::decode::decode,
    };

    /// Draws a scene of blobs and bars with random positions, sizes and colors, neither square nor
    /// symmetric.
    fn scene(index: u64) -> DynamicImage {
        let mut draw = stream(7, Purpose::Synthetic, [index, 1, 0]);
        let (width, height) = (
            draw.random_range(150..260u32),
            draw.random_range(120..230u32),
        );
        let ground: [u8; 3] = draw.random();
        let mut image =
            RgbImage::from_pixel(width, height, image::Rgb(ground.map(|level| level / 2)));
        for _ in 0..draw.random_range(8..16) {
            let color = image::Rgb(draw.random::<[u8; 3]>().map(|level| level / 5 * 4));
            let [x, y] = [
                draw.random_range(0.0..width as f32),
                draw.random_range(0.0..height as f32),
            ];
            let [a, b] = [
                draw.random_range(6.0..60.0f32),
                draw.random_range(6.0..60.0f32),
            ];
            let is_bar: bool = draw.random();
            for (column, row, pixel) in image.enumerate_pixels_mut() {
                let [u, v] = [(column as f32 - x) / a, (row as f32 - y) / b];
                if if is_bar {
                    u.abs().max(v.abs()) < 0.6
                } else {
                    u * u + v * v < 1.0
                } {
                    *pixel = color;
                }
            }
        }
        DynamicImage::from(image)
    }

    fn cropped(image: &DynamicImage, draw: &mut Stream) -> DynamicImage {
        let (width, height) = (image.width(), image.height());
        let mut share = |side: u32| (f64::from(side) * draw.random_range(0.0..0.03)) as u32;
        let [left, right, top, bottom] = [share(width), share(width), share(height), share(height)];
        image.crop_imm(left, top, width - left - right, height - top - bottom)
    }

    /// Returns files with the changes that must be found, and their names.
    fn changes(image: &DynamicImage, draw: &mut Stream) -> Vec<(&'static str, Vec<u8>)> {
        let resized = |share: f64| {
            let side = |side: u32| (f64::from(side) * share).round() as u32;
            image.resize_exact(
                side(image.width()),
                side(image.height()),
                imageops::FilterType::CatmullRom,
            )
        };
        let brighter = |factor: f32| {
            let mut out = image.to_rgb8();
            out.pixels_mut().for_each(|pixel| {
                pixel.0 = pixel
                    .0
                    .map(|level| (f32::from(level) * factor).round().min(255.0) as u8)
            });
            DynamicImage::from(out)
        };
        let crop = cropped(image, draw);
        let middle = image.crop_imm(
            image.width() * 3 / 200,
            image.height() * 3 / 200,
            image.width() * 97 / 100,
            image.height() * 97 / 100,
        );
        [
            ("saved at quality 60", jpeg(image, 60)),
            ("half the size", png(&resized(0.5))),
            ("half as large again", png(&resized(1.5))),
            ("mirrored", png(&image.fliph())),
            ("upside down", png(&image.flipv())),
            ("turned right", png(&image.rotate90())),
            ("turned left", png(&image.rotate270())),
            ("turned about", png(&image.rotate180())),
            ("darker", png(&brighter(0.8))),
            ("brighter", png(&brighter(1.2))),
            ("cropped", png(&crop)),
            ("cropped about the middle", png(&middle)),
            ("cropped and saved at quality 60", jpeg(&crop, 60)),
        ]
        .to_vec()
    }

    fn png(image: &DynamicImage) -> Vec<u8> {
        let mut out = std::io::Cursor::new(Vec::new());
        image
            .write_to(&mut out, image::ImageFormat::Png)
            .expect("memory");
        out.into_inner()
    }

    fn jpeg(image: &DynamicImage, quality: u8) -> Vec<u8> {
        let mut out = Vec::new();
        image
            .write_with_encoder(image::codecs::jpeg::JpegEncoder::new_with_quality(
                &mut out, quality,
            ))
            .expect("memory");
        out
    }

    fn seen(file: &[u8]) -> ([u8; 32], Thumbnail) {
        let pixels = decode(file, Color::Rgb).expect("an image");
        (pixels.digest(), Thumbnail::of(&pixels))
    }

    fn groups(seen: &[([u8; 32], Thumbnail)]) -> Vec<Group> {
        search(
            &seen
                .iter()
                .map(|(pixels, look)| Candidate {
                    file: None,
                    pixels: *pixels,
                    look,
                })
                .collect::<Vec<_>>(),
        )
    }

    /// Among 1,000 unrelated images and 13 changes of 60 of them, measures how many copies are
    /// found (recall) and how many of the found pairs are right (precision).
    #[test]
    fn changed_images_are_found_and_unrelated_ones_are_not() {
        const SCENES: usize = 1000;
        let mut images: Vec<_> = (0..SCENES as u64)
            .into_par_iter()
            .map(|index| seen(&png(&scene(index))))
            .collect();
        assert_eq!(groups(&images), [], "unrelated images are no copies");
        let mut draw = stream(7, Purpose::Synthetic, [0, 2, 0]);
        let mut sources: Vec<(usize, &str)> = (0..SCENES).map(|index| (index, "")).collect();
        let mut found_alone = 0;
        for index in 0..60 {
            for (name, file) in changes(&scene(index as u64), &mut draw) {
                let changed = seen(&file);
                found_alone += groups(&[images[index].clone(), changed.clone()]).len();
                images.push(changed);
                sources.push((index, name));
            }
        }
        let (mut found, mut is_true, mut all_pairs) = (vec![false; sources.len()], 0, 0);
        for Group { members, .. } in groups(&images) {
            for (a, b) in members
                .iter()
                .flat_map(|a| members.iter().map(move |b| (*a, *b)))
                .filter(|(a, b)| a < b)
            {
                all_pairs += 1;
                is_true += usize::from(sources[a].0 == sources[b].0);
                // The image itself comes before its changes.
                found[b] |= sources[a] == (sources[b].0, "");
            }
        }
        let changed = sources.len() - SCENES;
        assert!(
            found_alone as f64 >= 0.98 * changed as f64,
            "{found_alone} of {changed} without the help of others"
        );
        let recall = found.iter().filter(|found| **found).count() as f64 / changed as f64;
        let precision = f64::from(is_true as u32) / f64::from(all_pairs as u32);
        let missed: Vec<&str> = (SCENES..sources.len())
            .filter(|index| !found[*index])
            .map(|index| sources[index].1)
            .collect();
        assert!(
            recall >= 0.98 && precision >= 0.98,
            "recall {recall}, precision {precision}, missed {missed:?}"
        );
    }

    /// Changes an image as Keras's `ImageDataGenerator` does: rotated, moved (fractions of a side),
    /// zoomed and mirrored. Beyond the borders is the nearest pixel, or black.
    fn generated(
        image: &RgbImage,
        degrees: f64,
        [across, down]: [f64; 2],
        [wide, high]: [f64; 2],
        is_mirrored: bool,
        is_black: bool,
    ) -> RgbImage {
        let (width, height) = (f64::from(image.width()), f64::from(image.height()));
        let (sine, cosine) = degrees.to_radians().sin_cos();
        RgbImage::from_fn(image.width(), image.height(), |column, row| {
            let column = if is_mirrored {
                image.width() - 1 - column
            } else {
                column
            };
            let (u, v) = (
                (f64::from(column) + 0.5 - width / 2.0) * wide,
                (f64::from(row) + 0.5 - height / 2.0) * high,
            );
            let x = u * cosine - v * sine + (0.5 + across) * width - 0.5;
            let y = u * sine + v * cosine + (0.5 + down) * height - 0.5;
            if is_black && !((0.0..width - 1.0).contains(&x) && (0.0..height - 1.0).contains(&y)) {
                return image::Rgb([0; 3]);
            }
            let (x, y) = (x.clamp(0.0, width - 1.001), y.clamp(0.0, height - 1.001));
            let (right, below) = (x.fract(), y.fract());
            let level = |dx: u32, dy: u32, channel: usize| {
                f64::from(image.get_pixel(x as u32 + dx, y as u32 + dy).0[channel])
            };
            let mixed = |dy: u32, channel: usize| {
                level(0, dy, channel) * (1.0 - right) + level(1, dy, channel) * right
            };
            image::Rgb([0, 1, 2].map(|channel| {
                (mixed(0, channel) * (1.0 - below) + mixed(1, channel) * below).round() as u8
            }))
        })
    }

    /// Rotates 100 of 300 unrelated images by up to 10 degrees, zooms them by 5 %, mirrors half of
    /// them, and moves them by up to 3 % or 10 %, three times each.
    #[test]
    fn images_turned_by_a_few_degrees_are_found_and_nothing_else() {
        const SCENES: usize = 300;
        let mut images: Vec<_> = (0..SCENES as u64)
            .into_par_iter()
            .map(|index| seen(&png(&scene(5000 + index))))
            .collect();
        for (moved, least) in [(0.03, 0.75), (0.1, 0.35)] {
            let changed: Vec<_> = (0..300u64)
                .into_par_iter()
                .map(|index| {
                    let mut draw =
                        stream(7, Purpose::Synthetic, [index, 3, (moved * 100.0) as u64]);
                    let mut within = |share: f64| draw.random_range(-share..share);
                    let (degrees, shift, zoom) = (
                        within(10.0),
                        [within(moved), within(moved)],
                        [1.0 + within(0.05), 1.0 + within(0.05)],
                    );
                    let image = scene(5000 + index / 3).to_rgb8();
                    seen(&png(&generated(
                        &image,
                        degrees,
                        shift,
                        zoom,
                        index % 2 == 1,
                        index % 4 > 1,
                    )
                    .into()))
                })
                .collect();
            images.truncate(SCENES);
            images.extend(changed);
            let source = |at: usize| if at < SCENES { at } else { (at - SCENES) / 3 };
            let mut found = 0;
            for Group { members, .. } in groups(&images) {
                assert!(
                    members.iter().all(|at| source(*at) == source(members[0])),
                    "no others: {members:?}"
                );
                found += members
                    .iter()
                    .filter(|at| **at >= SCENES && members.contains(&source(**at)))
                    .count();
            }
            assert!(
                f64::from(found as u32) >= least * 300.0,
                "{found} of 300 moved by up to {moved}"
            );
        }
    }

    #[test]
    fn equal_files_and_equal_pixels_are_told_apart_and_groups_grow_together() {
        let (a, b, c) = (
            seen(&png(&scene(1))),
            seen(&png(&scene(2))),
            seen(&jpeg(&scene(1), 80)),
        );
        let candidate = |seen: &'static ([u8; 32], Thumbnail), file: u8| Candidate {
            file: Some([file; 32]),
            pixels: seen.0,
            look: &seen.1,
        };
        let [a, b, c] = [a, b, c].map(|seen| &*Box::leak(Box::new(seen)));
        let found = find(&[
            candidate(a, 1),
            candidate(b, 2),
            candidate(b, 3),
            candidate(a, 1),
            candidate(c, 4),
            candidate(b, 2),
        ]);
        let group = |members: &[usize], likeness| Group {
            members: members.to_vec(),
            likeness,
        };
        assert_eq!(
            found,
            [
                group(&[0, 3, 4], Likeness::Near),
                group(&[1, 2, 5], Likeness::Pixels)
            ]
        );
        assert_eq!(
            find(&[candidate(a, 1), candidate(a, 1)]),
            [group(&[0, 1], Likeness::File)]
        );
        assert_eq!(find(&[]), []);
    }

    #[test]
    fn a_new_image_is_a_copy_of_the_known_one_that_it_is_most_like() {
        let files = [
            png(&scene(1)),
            jpeg(&scene(1), 80),
            png(&scene(2)),
            png(&scene(3)),
        ];
        let looks = files.each_ref().map(|file| seen(file));
        let candidate = |at: usize, file: u8| Candidate {
            file: Some([file; 32]),
            pixels: looks[at].0,
            look: &looks[at].1,
        };
        // The same image saved twice, and another one.
        let known = [candidate(1, 1), candidate(0, 2), candidate(2, 3)];
        let new = [
            candidate(0, 4),
            candidate(0, 2),
            candidate(1, 5),
            candidate(3, 6),
            candidate(2, 7),
        ];
        let expected = [
            Some((1, Likeness::Pixels)),
            Some((1, Likeness::File)),
            Some((0, Likeness::Pixels)),
            None,
            Some((2, Likeness::Pixels)),
        ];
        assert_eq!(sources(&known, &new), expected);
        // Without the known image of equal pixels, the near-duplicate is left.
        assert_eq!(
            sources(&known[..1], &new[..2]),
            [Some((0, Likeness::Near)); 2]
        );
        // Copies among the new images are no copies of known ones.
        assert_eq!(sources(&known[2..], &new[..3]), [None; 3]);
    }
}
