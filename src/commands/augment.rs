//! `emberlens augment`: writes augmented training images to files, and a CSV of original and new
//! images that `train` reads.

use std::{collections::BTreeMap, io::Cursor, path::PathBuf};

use clap::{Parser, ValueEnum};
use image::{ExtendedColorType, ImageEncoder, codecs::jpeg::JpegEncoder, codecs::png::PngEncoder};
use rayon::prelude::*;
use serde::Serialize;

use super::{
    common::folders,
    ui::{self, say},
};
use crate::{
    augment::{Augmenter, Key, to_bytes},
    base::{
        io::files::{with_path, write_atomic},
        names,
        progress::Progress,
        usage::UsageError,
    },
    commands::{
        common::{exit_status::ExitStatus, inputs},
        ui::Terminal,
    },
    config::{self, Config},
    data::{
        TrainingData,
        batches::dataset::{Image, ImageSet},
        listing::Part,
        table::to_csv,
    },
    report::class_counts::count_words,
    train::augmenters,
};

/// Arguments of `augment`.
#[derive(Debug, Parser)]
#[command(group = clap::ArgGroup::new("how_many").required(true))]
pub struct Args {
    /// The recipe
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Change one value of the recipe, as in --set augment.rotation_range=30
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// The folder to write into: new or empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of augmented copies of each training image: those that the first N epochs draw
    #[arg(
        long,
        value_name = "N",
        group = "how_many",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    per_image: Option<u16>,
    /// Add augmented copies until each class has as many images as the largest
    #[arg(long, group = "how_many")]
    balance: bool,
    /// Format of the files
    #[arg(long, value_name = "F", default_value = "png")]
    format: Format,
    /// Quality of JPEG files, from 1 to 100 [default: 95]
    #[arg(long, value_name = "Q", value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Png,
    Jpeg,
}

/// A row of the manifest, which `data.train` reads.
#[derive(Serialize)]
struct Row {
    path: String,
    label: String,
    split: &'static str,
    group: String,
    weight: f32,
}

/// A file to write.
struct Copy {
    image: usize,
    /// Number of earlier copies of the same image.
    number: usize,
    path: PathBuf,
}

/// Runs the command. The manifest lists validation images unchanged, so that training on it has the
/// same split and never an augmented copy of a validation image.
///
/// # Errors
/// Returns an error if the folder isn't empty or belongs to the data, the configuration augments
/// nothing, or a file can't be written.
pub fn run(args: &Args) -> anyhow::Result<ExitStatus> {
    if args.quality.is_some() && args.format == Format::Png {
        return Err(UsageError(
            "--quality has no effect on PNG files; add --format jpeg or leave it out".to_owned(),
        )
        .into());
    }
    let config = config::load(&args.config, &args.overrides)?;
    folders::refuse_used(&args.out)?;
    folders::refuse_inside(&args.out, &folders::of_data(&config.data), "--out")?;
    if config.augment.mixes() {
        say(
            "warning: mixup and cutmix join images of different classes and are left out; training \
             on the result can still do them",
        );
    }
    let data = inputs::load(&config)?;
    let copies = copies(&data.train, args);
    refuse_equal_copies(&copies, &data.train, &config)?;
    std::fs::create_dir_all(&args.out)
        .map_err(|error| with_path(&error, "can't create the folder", &args.out))?;
    for class in data.classes.iter() {
        let folder = args.out.join(names::for_file(class));
        std::fs::create_dir_all(&folder)
            .map_err(|error| with_path(&error, "can't create the folder", &folder))?;
    }
    write_copies(
        &copies,
        &data.train,
        &augmenters(&config, &data.train),
        args,
    )?;
    let rows = rows(&data, &copies);
    let manifest = args.out.join("manifest.csv");
    write_atomic(&manifest, &to_csv(&rows))?;
    let mut counts = vec![0; data.classes.len()];
    copies
        .iter()
        .for_each(|copy| counts[data.train.images[copy.image].label] += 1);
    ui::print(&format!(
        "Wrote {} images: {}\n{}\nTrain on them with --set data.train={}\n",
        copies.len(),
        count_words(&data.classes, &counts),
        names::of_path(&manifest),
        names::of_path(&manifest)
    ))?;
    Ok(ExitStatus::Done)
}

/// Checks that every class with copies is augmented; copies would equal their images otherwise.
fn refuse_equal_copies(copies: &[Copy], set: &ImageSet, config: &Config) -> anyhow::Result<()> {
    let is_written = |label: usize| {
        copies
            .iter()
            .any(|copy| set.images[copy.image].label == label)
    };
    let unchanged = set.classes.iter().enumerate().filter(|(label, class)| {
        is_written(*label) && !config.augment.of_class(class).changes_images()
    });
    let names: Vec<_> = unchanged.map(|(_, class)| class.as_str()).collect();
    if names.is_empty() {
        return Ok(());
    }
    let names = names.join(", ");
    Err(UsageError(format!(
        "the recipe augments nothing in {names}, so copies would equal their originals; set \
         something under [augment]"
    ))
    .into())
}

/// Returns the image, number and file of each copy.
fn copies(set: &ImageSet, args: &Args) -> Vec<Copy> {
    let counts = set.class_counts();
    let largest = counts.iter().copied().max().unwrap_or(0);
    let extension = if args.format == Format::Png {
        "png"
    } else {
        "jpg"
    };
    let mut seen = vec![0; counts.len()];
    let mut copies = Vec::new();
    for (index, image) in set.images.iter().enumerate() {
        // Numbers of copies of the images of a class differ by at most one.
        let count = match args.per_image {
            Some(count) => usize::from(count),
            None => {
                (largest - counts[image.label] + counts[image.label] - 1 - seen[image.label])
                    / counts[image.label]
            }
        };
        seen[image.label] += 1;
        let stem = names::for_file(&names::of_os(image.path.file_stem().unwrap_or_default()));
        let folder = args.out.join(names::for_file(&set.classes[image.label]));
        copies.extend((0..count).map(|number| {
            // The position tells images of the same name in different folders apart.
            Copy {
                image: index,
                number,
                path: folder.join(format!("{stem}-{index:05}-{:02}.{extension}", number + 1)),
            }
        }));
    }
    copies
}

/// Writes the copies in parallel. Copy number n is the augmentation of epoch n, counted from 0.
fn write_copies(
    copies: &[Copy],
    set: &ImageSet,
    augmenters: &[Augmenter],
    args: &Args,
) -> anyhow::Result<()> {
    let task = Terminal.items("Writing images");
    task.set_total(copies.len());
    let shape = set.store.format().shape();
    copies
        .par_iter()
        .try_for_each(|copy| -> anyhow::Result<()> {
            let image = &set.images[copy.image];
            let bytes = set.store.pixels(image.slot)?;
            let mut levels = Vec::new();
            augmenters[image.label].write(
                &bytes,
                Key {
                    epoch: copy.number,
                    image: copy.image,
                    repeat: 0,
                },
                None,
                &mut levels,
            );
            let file = encode(&levels, shape, args)?;
            write_atomic(&copy.path, &file)?;
            task.add(1);
            Ok(())
        })
}

/// Encodes an image as a file.
///
/// # Shapes
/// `levels` is `[channels, height, width]`, flattened, with values 0 to 255.
fn encode(
    levels: &[f32],
    [height, width, channels]: [usize; 3],
    args: &Args,
) -> anyhow::Result<Vec<u8>> {
    let bytes = to_bytes(levels, [height, width, channels]);
    let kind = if channels == 3 {
        ExtendedColorType::Rgb8
    } else {
        ExtendedColorType::L8
    };
    let mut file = Cursor::new(Vec::new());
    let (width, height) = (u32::try_from(width)?, u32::try_from(height)?);
    match args.format {
        Format::Png => PngEncoder::new(&mut file).write_image(&bytes, width, height, kind)?,
        Format::Jpeg => JpegEncoder::new_with_quality(&mut file, args.quality.unwrap_or(95))
            .write_image(&bytes, width, height, kind)?,
    }
    Ok(file.into_inner())
}

/// Returns the rows of the manifest: original images by their absolute paths, new ones relative to
/// the manifest. An image and its copies are one group, so that no split separates them.
fn rows(data: &TrainingData, copies: &[Copy]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut groups = BTreeMap::new();
    for (set, part) in [
        (&data.train, Part::Train),
        (&data.validation, Part::Validation),
    ] {
        for (index, image) in set.images.iter().enumerate() {
            let path = names::of_path(&folders::resolve(&image.path));
            let group = image.group.clone().unwrap_or_else(|| path.clone());
            if part == Part::Train {
                groups.insert(index, group.clone());
            }
            rows.push(row(path, image, &data.classes, (part, group)));
        }
    }
    for copy in copies {
        let image = &data.train.images[copy.image];
        let name = names::of_os(copy.path.file_name().unwrap_or_default());
        let path = format!("{}/{name}", names::for_file(&data.classes[image.label]));
        rows.push(row(
            path,
            image,
            &data.classes,
            (Part::Train, groups[&copy.image].clone()),
        ));
    }
    rows
}

fn row(path: String, image: &Image, classes: &[String], (part, group): (Part, String)) -> Row {
    Row {
        path,
        label: classes[image.label].clone(),
        split: part.name(),
        group,
        weight: image.weight,
    }
}
