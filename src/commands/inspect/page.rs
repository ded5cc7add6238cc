//! Composes the page of an inspection, with the images that its findings are about.

use image::RgbImage;

use super::text::{class_table, facts, likeness_words};
use crate::{
    config::{Color, Interpolation, Resize},
    data::{
        duplicates::Likeness,
        pixels::{
            decode::{Pixels, Wanted, decode_in},
            memory,
            resize::resize,
        },
    },
    inspect::{CopyGroup, Inspection, Member},
    report::{
        Gallery, Page, Shot,
        images::{jpeg, magnified, side_by_side},
    },
};

/// Maximum number of images of each kind on the page.
const SHOWN: usize = 24;

/// Maximum height and width of an image on the page.
const SIDE: u32 = 220;

/// Composes the page of an inspection of the images called `name`.
pub(super) fn page(found: &Inspection, name: &str) -> Page {
    Page {
        title: format!("{name}: {} images", found.images),
        lead: found
            .findings
            .iter()
            .map(|finding| format!("{}: {}.", finding.what, finding.advice))
            .collect(),
        about: "What is there",
        facts: facts(found),
        data: class_table(found),
        notes: files(&found.unreadable, |file| [&file.path, &file.reason])
            .chain(
                files(&found.damaged, |file| [&file.path, &file.reason])
                    .map(|file| format!("damaged, used as far as it can be read: {file}")),
            )
            .collect(),
        galleries: galleries(found),
        ..Page::default()
    }
}

/// Returns the images that the page shows.
fn galleries(found: &Inspection) -> Vec<Gallery> {
    let groups = |is: &dyn Fn(&CopyGroup) -> bool| {
        found
            .copies
            .groups
            .iter()
            .filter(|group| is(group))
            .take(SHOWN)
            .map(|group| pair(found, group))
            .collect()
    };
    let gallery = |title, words: &str, shots| Gallery {
        title,
        words: words.to_owned(),
        shots,
    };
    vec![
        gallery(
            "Copies across splits",
            "The first two of each group, side by side.",
            groups(&|group| group.is_across_splits),
        ),
        gallery(
            "The same pixels with different labels",
            "At least one label of each is wrong.",
            groups(&|group| group.contradiction().is_some()),
        ),
        gallery(
            "Copies with different labels",
            "Their pixels differ, perhaps on purpose; else a label is wrong.",
            groups(&|group| group.has_conflicting_labels && group.contradiction().is_none()),
        ),
        gallery(
            "Copies within a split that aren't the same pixels",
            "Saved again, resized, brighter or darker, cropped, mirrored or turned.",
            groups(&|group| !group.is_across_splits && group.likeness == Likeness::Near),
        ),
        gallery(
            "Doubtful labels",
            &found.labels.as_ref().map_or_else(String::new, |labels| {
                format!(
                    "The label, and the class preferred by {}, with their probabilities; the most \
                     doubtful first.",
                    labels.judge
                )
            }),
            doubtful(found),
        ),
        gallery(
            "Images that stand out",
            "Measured, not judged: look at them.",
            suspects(found),
        ),
    ]
}

/// Returns the images whose labels are doubtful.
fn doubtful(found: &Inspection) -> Vec<Shot> {
    let labels = found.labels.iter().flat_map(|labels| &labels.suspects);
    labels
        .take(SHOWN)
        .filter_map(|suspect| {
            let line = format!(
                "{} ({:.2}), or {} ({:.2})?",
                suspect.label,
                suspect.label_probability,
                suspect.suggestion,
                suspect.suggestion_probability
            );
            Some(Shot {
                jpeg: shown(&[image(found, suspect.index())?]),
                lines: vec![line, suspect.path.clone()],
            })
        })
        .collect()
}

/// Returns the images that stand out.
fn suspects(found: &Inspection) -> Vec<Shot> {
    let shots = found.suspects.iter().flat_map(|(kind, suspects)| {
        suspects.iter().take(SHOWN / 4).filter_map(|suspect| {
            Some(Shot {
                jpeg: shown(&[image(found, suspect.index())?]),
                lines: vec![(*kind).to_owned(), suspect.path.clone()],
            })
        })
    });
    shots.collect()
}

/// Formats the first files as "path: reason".
fn files<'a, T>(
    files: &'a [T],
    named: impl Fn(&'a T) -> [&'a String; 2] + 'a,
) -> impl Iterator<Item = String> + 'a {
    files
        .iter()
        .take(SHOWN)
        .map(named)
        .map(|[path, reason]| format!("{path}: {reason}"))
}

/// Returns two images of a group side by side, from different splits or classes if possible.
fn pair(found: &Inspection, group: &CopyGroup) -> Shot {
    let [first, second] = group.contradiction().unwrap_or_else(|| group.pair());
    let images: Vec<RgbImage> = [first, second]
        .iter()
        .filter_map(|member| image(found, member.index()))
        .collect();
    let line = |member: &Member| format!("{}, {}: {}", member.split, member.class, member.path);
    let title = format!(
        "{}{}",
        likeness_words(group.likeness),
        if group.members.len() > 2 {
            format!(", {} of them", group.members.len())
        } else {
            String::new()
        }
    );
    Shot {
        jpeg: shown(&images),
        lines: vec![title, line(first), line(second)],
    }
}

/// Returns a small version of an image, or `None` if it can't be read any more.
fn image(found: &Inspection, index: usize) -> Option<RgbImage> {
    // Damaged ones were seen with leave to repair them.
    let wanted = Wanted {
        color: Color::Rgb,
        repair: true,
    };
    let small = memory::with_file(&found.seen[index].entry.path, |bytes, room| {
        let pixels = decode_in(bytes, wanted, room)?.pixels;
        let longest = pixels.height.max(pixels.width);
        if longest <= SIDE as usize {
            return Ok((pixels, true));
        }
        let [height, width] =
            [pixels.height, pixels.width].map(|side| (side * SIDE as usize / longest).max(1));
        let bytes = resize(
            &pixels,
            [height, width],
            Resize::Stretch,
            Interpolation::Box,
        );
        Ok((
            Pixels {
                height,
                width,
                channels: pixels.channels,
                bytes,
            },
            false,
        ))
    });
    let (small, is_whole) = small.ok()?;
    let image = RgbImage::from_raw(
        small.width as u32,
        small.height as u32,
        small.into_color(Color::Rgb),
    )?;
    Some(if is_whole { magnified(&image) } else { image })
}

fn shown(images: &[RgbImage]) -> Vec<u8> {
    let both = match images {
        [one] => one.clone(),
        [one, other, ..] => side_by_side(one, other),
        [] => RgbImage::new(1, 1),
    };
    jpeg(&both, 2 * SIDE + 100).unwrap_or_default()
}
