//! `emberlens inspect`: a folder or a recipe in, what is in its images and what is wrong with them out.

use std::{
    collections::BTreeMap,
    fmt::Write,
    path::{Path, PathBuf},
};

use anyhow::bail;
use clap::Parser;
use image::RgbImage;

use super::{
    common::folders,
    ui::{self, say},
};
use crate::{
    base::{io::files::write_atomic, names, progress::Progress, usage::UsageError},
    commands::{common::exit_status::ExitStatus, ui::Terminal},
    config::{self, Color, Data, Interpolation, Resize, Source},
    data::{
        duplicates::Likeness,
        listing::{Part, Splits, splits},
        pixels::{
            decode::{Pixels, Wanted, decode_in},
            memory,
            resize::resize,
        },
        survey,
        table::to_csv,
    },
    inspect::{CopyGroup, Inspection, Member, Side, features},
    report::{
        Gallery, Page, Shot, Table,
        class_counts::count_table,
        images::{jpeg, magnified, side_by_side},
        text_table,
    },
};

/// Of the images that a clean list holds back: the default of a recipe.
const SEED: u64 = 42;
/// Of each kind, shown on the page.
const SHOWN: usize = 24;
/// Rows and columns that an image on the page has at most.
const SIDE: u32 = 220;
/// Paths named on the terminal.
const NAMED: usize = 5;

/// Arguments of `inspect`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A folder of class folders, one with train, val and test folders of them in it, or a CSV
    #[arg(
        value_name = "DIR",
        required_unless_present = "config",
        conflicts_with = "config"
    )]
    dir: Option<PathBuf>,
    /// The images of a recipe
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Change one value of the recipe, as in --set data.test=DIR
    #[arg(long = "set", value_name = "KEY.PATH=VALUE", requires = "config")]
    overrides: Vec<String>,
    /// Also write a page with the copies side by side
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
    /// Also write a CSV that trains as it is: one image of each group of copies, none whose copies have another label, nothing on both
    /// sides of a split
    #[arg(long, value_name = "FILE.csv")]
    write_clean: Option<PathBuf>,
    /// Of copies across splits, keep those of this one
    #[arg(long, value_enum, default_value = "test", requires = "write_clean")]
    keep: Side,
    /// One JSON document on stdout instead of the tables
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// Images that can't be listed; a page that is there already.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    let (data, weights) = match (&args.dir, &args.config) {
        (Some(dir), _) => {
            let weights = features::weights_at_hand(None);
            (of_folder(dir, weights.is_some())?, weights)
        }
        (None, Some(config)) => {
            let config = config::load(config, &args.overrides)?;
            let weights = features::weights_at_hand(Some(&config.model));
            (config.data, weights)
        }
        (None, None) => return Err(UsageError("expected a folder or --config".to_owned()).into()),
    };
    refuse_files(args, &data)?;
    let surveyed = {
        let task = Terminal.items("Reading images");
        survey(&data, &|count| task.set_total(count), &|count| {
            task.add(count)
        })?
    };
    let features = weights
        .map(|weights| features::features(&surveyed, &data, &weights, &Terminal))
        .transpose()?
        .flatten();
    let found = Inspection::of(surveyed.survey, features);
    if let Some(path) = &args.html {
        write_atomic(path, page(&found, args).to_html().as_bytes())?;
        say(&format!("Page: {}", names::of_path(path)));
    }
    if let Some(path) = &args.write_clean {
        let clean = found.clean(args.keep, SEED);
        if clean.rows.is_empty() {
            bail!(
                "found no image for a clean list, expected one or more of the {} that can be read",
                found.images
            );
        }
        write_atomic(path, &to_csv(&clean.rows))?;
        say(&format!(
            "{} images in {}; left out: {} copies of them, {} whose copies have another label, {} whose group is on another side, {} that \
             can't be read",
            clean.rows.len(),
            names::of_path(path),
            clean.copies,
            clean.conflicting,
            clean.split_groups,
            found.unreadable.len()
        ));
    }
    ui::print(&if args.json {
        serde_json::to_string_pretty(&found)? + "\n"
    } else {
        text(&found)
    })?;
    Ok(ExitStatus::Done)
}

/// Nothing is overwritten, and nothing is written among the images.
fn refuse_files(args: &Args, data: &Data) -> Result<(), UsageError> {
    let mut folders = folders::of_data(data);
    folders.extend(args.dir.iter().flat_map(|dir| folders::of_folder(dir, &[])));
    for (name, file) in [("--html", &args.html), ("--write-clean", &args.write_clean)] {
        let Some(file) = file else { continue };
        if file.exists() {
            return Err(UsageError(format!(
                "the file is there already; choose another {name}: {}",
                names::of_path(file)
            )));
        }
        folders::refuse_inside(file, &folders, name)?;
    }
    Ok(())
}

/// A folder as a recipe's data; `is_kept` says whether somebody will look at its pixels.
fn of_folder(dir: &Path, is_kept: bool) -> anyhow::Result<Data> {
    let text = |path: &PathBuf| names::of_path(path);
    let Splits {
        parts: [train, validation, test],
        others,
    } = match dir.is_dir() {
        true => splits(dir)?,
        false => Splits {
            parts: [Some(dir.to_owned()), None, None],
            others: Vec::new(),
        },
    };
    others.iter().for_each(|words| say(words));
    let side = if is_kept { features::SIDE } else { 1 };
    let source = |path: &PathBuf| Source::Path(text(path));
    let data = Data::of(train.as_ref().map_or_else(String::new, text));
    let validation = validation.as_ref().map_or(data.validation, source);
    Ok(Data {
        validation,
        test: test.as_ref().map(source),
        image_size: [side, side],
        ..data
    })
}

fn text(found: &Inspection) -> String {
    let mut text = text_table::table_text(&class_table(found));
    let _ = writeln!(text, "\n");
    for (name, value) in facts(found) {
        let _ = writeln!(text, "{name}: {value}");
    }
    text.push('\n');
    if found.findings.is_empty() {
        text.push_str("Nothing was found that should keep you from training.\n");
    }
    for (index, finding) in found.findings.iter().enumerate() {
        let first = finding
            .first
            .as_ref()
            .map_or_else(String::new, |first| format!("; the first: {first}"));
        let _ = writeln!(
            text,
            "{}. {}{first}\n   -> {}",
            index + 1,
            finding.what,
            finding.advice
        );
    }
    let lists = lists(found);
    if !lists.is_empty() {
        let _ = write!(text, "\n{lists}");
    }
    text
}

/// "path: reason" of the first files.
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

/// The first of all that a finding is about.
fn lists(found: &Inspection) -> String {
    let mut text = String::new();
    for skipped in found.unreadable.iter().take(NAMED) {
        let _ = writeln!(
            text,
            "{}: {}: {}",
            skipped.failure.words(),
            skipped.path,
            skipped.reason
        );
    }
    more(&mut text, found.unreadable.len());
    for damaged in found.damaged.iter().take(NAMED) {
        let _ = writeln!(
            text,
            "damaged, used as far as it goes: {}: {}",
            damaged.path, damaged.reason
        );
    }
    more(&mut text, found.damaged.len());
    for (kind, suspects) in &found.suspects {
        for suspect in suspects.iter().take(NAMED) {
            let _ = writeln!(text, "{kind}: {}", suspect.path);
        }
        more(&mut text, suspects.len());
    }
    let doubtful = found
        .labels
        .as_ref()
        .map_or(&[][..], |labels| &labels.suspects);
    for suspect in doubtful.iter().take(NAMED) {
        let _ = writeln!(
            text,
            "doubtful label: {}: {}, or {}?",
            suspect.path, suspect.label, suspect.suggestion
        );
    }
    more(&mut text, doubtful.len());
    let worst: Vec<_> = found
        .copies
        .groups
        .iter()
        .filter(|group| group.has_conflicting_labels || group.is_across_splits)
        .collect();
    for group in worst.iter().take(NAMED) {
        let member =
            |member: &Member| format!("{} ({}, {})", member.path, member.split, member.class);
        let members: Vec<_> = group.members.iter().take(NAMED).map(member).collect();
        let others = group.members.len() - members.len();
        let others = if others > 0 {
            format!(" and {others} more")
        } else {
            String::new()
        };
        let _ = writeln!(
            text,
            "{}: {}{others}",
            likeness_words(group.likeness),
            members.join(" = ")
        );
    }
    more(&mut text, worst.len());
    text
}

fn more(text: &mut String, count: usize) {
    if count > NAMED {
        let _ = writeln!(text, "... and {} more; --json lists all", count - NAMED);
    }
}

fn likeness_words(likeness: Likeness) -> &'static str {
    match likeness {
        Likeness::File => "the same file",
        Likeness::Pixels => "the same pixels",
        Likeness::Near => "the same image",
    }
}

fn class_table(found: &Inspection) -> Table {
    let parts: Vec<Part> = [Part::Train, Part::Validation, Part::Test]
        .into_iter()
        .filter(|part| found.count(*part) > 0)
        .collect();
    let head = std::iter::once("Class".to_owned())
        .chain(parts.iter().map(|part| part.name().to_owned()))
        .collect();
    let classes: Vec<String> = found.classes.keys().cloned().collect();
    let row = |counts: &BTreeMap<&'static str, usize>| {
        parts
            .iter()
            .map(|part| counts.get(part.name()).copied().unwrap_or(0))
            .collect()
    };
    count_table(
        head,
        &classes,
        &found.classes.values().map(row).collect::<Vec<_>>(),
    )
}

fn facts(found: &Inspection) -> Vec<(String, String)> {
    let kinds = |kinds: &std::collections::BTreeMap<String, usize>| {
        kinds
            .iter()
            .map(|(kind, count)| format!("{kind} {count}"))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let [low, middle, high] = found.heights;
    let [narrow, usual, wide] = found.widths;
    let [tall, common, flat] = found.aspect_ratios;
    let mut facts = vec![
        ("Images".to_owned(), found.images.to_string()),
        (
            "Sizes".to_owned(),
            format!(
                "{} different; height {low} to {high}, median {middle}; width {narrow} to {wide}, median {usual}; width over height {tall:.2} to \
                 {flat:.2}, median {common:.2}",
                found.sizes
            ),
        ),
        ("Formats".to_owned(), kinds(&found.formats)),
        ("Colours".to_owned(), kinds(&found.modes)),
    ];
    if found.turned_by_exif > 0 {
        facts.push((
            "Turned by EXIF".to_owned(),
            found.turned_by_exif.to_string(),
        ));
    }
    if !found.notes.is_empty() {
        facts.push(("Lists".to_owned(), found.notes.join("; ")));
    }
    if !found.passed_over.is_empty() {
        facts.push(("Not looked at".to_owned(), found.passed_over.join("; ")));
    }
    let copies = &found.copies;
    facts.push((
        "Copies".to_owned(),
        format!(
            "{} groups, {} across splits, {} with conflicting labels; {} images more than different ones",
            copies.groups.len(),
            copies.across_splits,
            copies.conflicting_labels,
            copies.surplus
        ),
    ));
    let labels = match &found.labels {
        Some(labels) => format!(
            "{} of {} doubtful by a linear model of {}, whose balanced accuracy is {:.2}",
            labels.suspects.len(),
            labels.images,
            labels.features,
            labels.balanced_accuracy
        ),
        None => "not judged: too few images, or too hard for a cheap model".to_owned(),
    };
    facts.push(("Labels".to_owned(), labels));
    let rules = found
        .rules
        .iter()
        .take(3)
        .map(|rule| format!("{} {:.2}", rule.property, rule.balanced_accuracy));
    let rules: Vec<_> = rules.collect();
    if !rules.is_empty() {
        facts.push((
            "What tells the class alone".to_owned(),
            format!(
                "{} (balanced accuracy; guessing {:.2})",
                rules.join(", "),
                found.rules[0].chance
            ),
        ));
    }
    facts
}

fn page(found: &Inspection, args: &Args) -> Page {
    let name = args
        .dir
        .as_ref()
        .or(args.config.as_ref())
        .map_or_else(String::new, |path| names::of_path(path));
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
    let suspects = found.suspects.iter().flat_map(|(kind, suspects)| {
        suspects.iter().take(SHOWN / 4).filter_map(|suspect| {
            Some(Shot {
                jpeg: shown(&[image(found, suspect.index())?]),
                lines: vec![(*kind).to_owned(), suspect.path.clone()],
            })
        })
    });
    let doubtful = found
        .labels
        .iter()
        .flat_map(|labels| &labels.suspects)
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
        });
    let gallery = |title, words: &str, shots| Gallery {
        title,
        words: words.to_owned(),
        shots,
    };
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
                    .map(|file| format!("damaged, used as far as it goes: {file}")),
            )
            .collect(),
        galleries: vec![
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
                "What a cheap model says, with its probabilities; the least believed first.",
                doubtful.collect(),
            ),
            gallery(
                "Images that stand out",
                "Measured, not judged: look at them.",
                suspects.collect(),
            ),
        ],
        ..Page::default()
    }
}

/// Two of a group side by side, of different split or label where there are such.
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

/// An image of the inspection, small; `None` where it can't be read any more.
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
