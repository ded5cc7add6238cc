//! Packs listed images into shards in shuffled order, with their labels as WebDataset has them, and
//! writes the list of images in shards. The bytes of the images stay as they are.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{self, BufWriter, IntoInnerError, Write},
    path::{Component, Path, PathBuf},
};

use serde::Serialize;
use tar::{Builder, Header};

use super::{
    error::DataError,
    listing::{Entry, Part},
    pixels::memory,
    shards::{self, Place},
    table::to_csv,
};
use crate::base::{
    io::{files::FolderWriter, http},
    names,
    rng::{Purpose, permutation, stream},
};

/// Name of the list in a folder of shards.
pub const LIST: &str = "index.csv";

/// A line of the list, which `data.train` reads like any other; other programs find the bytes of an
/// image by its place in the shard.
#[derive(Serialize)]
struct Row<'a> {
    path: String,
    label: &'a str,
    split: &'static str,
    group: &'a str,
    weight: f32,
    start: u64,
    length: u64,
}

/// How to pack.
#[derive(Clone, Copy, Debug)]
pub struct Packing {
    /// Number of images in a shard; the last one may have fewer.
    pub size: usize,
    /// Seed of the order.
    pub seed: u64,
}

/// Writes images into the folder `out` as `shard-000000.tar` and so on, with `classes.txt` and the
/// list of all images. The folder appears as a whole, in the place of an empty one. Names in the
/// shards begin with the class, followed by the path relative to `source`, the folder or list that
/// the images are from. Returns the number of shards. `done` is called with 1 after each image.
///
/// # Errors
/// Returns an error if an image can't be read or the folder can't be written.
pub fn pack(
    entries: &[&Entry],
    classes: &[String],
    (source, out): (&Path, &Path),
    packing: Packing,
    done: &dyn Fn(usize),
) -> Result<usize, DataError> {
    let failed = |error| DataError::io("write shards to", out, error);
    let folder = FolderWriter::new(out).map_err(failed)?;
    let names = names_of(entries, source);
    let order = permutation(
        &mut stream(packing.seed, Purpose::Packing, [0; 3]),
        entries.len(),
    );
    let mut packed = vec![PathBuf::new(); entries.len()];
    let shards = order.chunks(packing.size);
    let num_shards = shards.len();
    for (number, shard) in shards.enumerate() {
        let file = format!("shard-{number:06}.tar");
        let mut tar = Builder::new(BufWriter::new(folder.create(&file).map_err(failed)?));
        for index in shard {
            let entry = entries[*index];
            let image = read(&entry.path)?;
            let label = classes.binary_search(&entry.class).unwrap_or_default();
            append(&mut tar, &names[*index], &image, label).map_err(failed)?;
            packed[*index] = Path::new(&file).join(&names[*index]);
            done(1);
        }
        let writer = tar.into_inner().map_err(failed)?;
        let file = writer.into_inner().map_err(IntoInnerError::into_error);
        file.and_then(|file: File| file.sync_all())
            .map_err(failed)?;
    }
    let lines: String = classes.iter().map(|class| format!("{class}\n")).collect();
    folder
        .write("classes.txt", lines.as_bytes())
        .map_err(failed)?;
    let rows = entries.iter().zip(&packed);
    let list = rows
        .map(|(entry, path)| row(entry, &folder.path().join(path), path))
        .collect::<Result<Vec<_>, _>>()?;
    folder.write(LIST, &to_csv(&list)).map_err(failed)?;
    folder.commit().map_err(failed)?;
    Ok(num_shards)
}

/// Returns the list of images in shards as CSV, with paths relative to `folder` where they lie in
/// it and absolute ones elsewhere.
///
/// # Errors
/// Returns an error if a shard can't be read.
pub fn list(entries: &[Entry], folder: &Path) -> Result<Vec<u8>, DataError> {
    let absolute = |path: &Path| http::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = absolute(folder);
    let mut rows = Vec::with_capacity(entries.len());
    for entry in entries {
        let path = absolute(&entry.path);
        let name = path.strip_prefix(&folder).unwrap_or(&path);
        rows.push(row(entry, &entry.path, name)?);
    }
    Ok(to_csv(&rows))
}

/// Reads an image.
///
/// # Errors
/// Returns an error if it can't be read, or if its file is longer than any that can be decoded.
fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let failed = |error| DataError::io("read", path, error);
    let place = Place::of(path).map_err(failed)?;
    let (length, most) = (place.len(), memory::limit());
    if length > most {
        return Err(DataError::Damaged {
            message: format!(
                "found a file of {} MB, expected an image of {} MB at most",
                length >> 20,
                most >> 20
            ),
            path: path.to_owned(),
        });
    }
    place.read().map_err(failed)
}

/// Returns the line of the image at `path`, which the list names `name`.
fn row<'a>(entry: &'a Entry, path: &Path, name: &Path) -> Result<Row<'a>, DataError> {
    let failed = |error| DataError::io("read", path, error);
    let place = shards::in_shard(path).unwrap_or_else(|| Err(io::ErrorKind::NotFound.into()));
    let range = place.map_err(failed)?.range();
    Ok(Row {
        path: names::of_path(name),
        label: &entry.class,
        split: entry.split.map_or("", Part::name),
        group: entry.group.as_deref().unwrap_or_default(),
        weight: entry.weight,
        start: range.start,
        length: range.end - range.start,
    })
}

/// Appends an image and its label. The same images give the same bytes.
fn append(
    tar: &mut Builder<impl Write>,
    name: &Path,
    image: &[u8],
    label: usize,
) -> io::Result<()> {
    let label = label.to_string();
    for (name, bytes) in [
        (name, image),
        (&name.with_extension("cls"), label.as_bytes()),
    ] {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes)?;
    }
    Ok(())
}

/// Returns the name of each image in its shard, each once.
fn names_of(entries: &[&Entry], source: &Path) -> Vec<PathBuf> {
    let folder = if source.is_dir() {
        source
    } else {
        source.parent().unwrap_or(Path::new(""))
    };
    let (mut taken, mut labels) = (BTreeSet::new(), BTreeMap::new());
    let mut names = Vec::with_capacity(entries.len());
    for entry in entries {
        let path = name_in_shard(&entry.path).unwrap_or_else(|| {
            let inside = entry.path.strip_prefix(folder).unwrap_or(&entry.path);
            let parts = inside.components();
            parts
                .filter(|part| matches!(part, Component::Normal(_)))
                .collect()
        });
        let class = names::for_file(&entry.class);
        let name = if path.starts_with(&class) && path != Path::new(&class) {
            path
        } else {
            Path::new(&class).join(path)
        };
        // Images that differ in their extension share a label, so it must be that of both.
        let mut is_free = |name: &PathBuf| {
            let label = labels
                .entry(name.with_extension(""))
                .or_insert(&entry.class);
            *label == &entry.class && taken.insert(name.clone())
        };
        names.extend(
            (1..)
                .map(|number| numbered(&name, number))
                .find(|name| is_free(name)),
        );
    }
    names
}

/// Returns the name inside a shard of an image that lies in one.
fn name_in_shard(path: &Path) -> Option<PathBuf> {
    let place = shards::in_shard(path)?.ok()?;
    Some(path.strip_prefix(place.file()).ok()?.to_owned())
}

/// Returns a name for the image of this number among those with the same one.
fn numbered(name: &Path, number: usize) -> PathBuf {
    if number == 1 {
        return name.to_owned();
    }
    let mut stem = name.file_stem().unwrap_or_default().to_owned();
    stem.push(format!("-{number}"));
    let mut numbered = name.with_file_name(stem);
    if let Some(extension) = name.extension() {
        numbered.as_mut_os_string().push(".");
        numbered.as_mut_os_string().push(extension);
    }
    numbered
}
