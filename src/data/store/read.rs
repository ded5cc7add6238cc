//! Reads images into a store: to memory, through the cache file, or without keeping them.

use std::{
    ops::Range,
    path::Path,
    sync::{Arc, atomic::AtomicBool},
};

use rayon::prelude::*;

use super::{
    Backing, CachePolicy, Format, Read, Store,
    cache_file::{self, CacheFile},
    format::read_image,
};
use crate::{config::Cache, data::error::DataError};

/// Reads all images of `paths` and keeps them as `policy` says. `done` is called with the number of
/// images that were read since the last call, from any thread. An image that can't be read is a
/// [`Read::Bad`].
///
/// # Errors
/// Returns an error if the cache file can't be written or read.
pub fn read(
    paths: &[&Path],
    format: Format,
    policy: CachePolicy,
    done: &(dyn Fn(usize) + Sync),
) -> Result<(Arc<Store>, Vec<Read>), DataError> {
    let memory = policy.memory_mb.saturating_mul(1 << 20);
    let fits = format.num_bytes().saturating_mul(paths.len()) <= memory;
    match policy.cache {
        Cache::Memory => read_to_memory(paths, format, done),
        Cache::Auto if fits => read_to_memory(paths, format, done),
        Cache::Auto => read_to_disk(paths, format, memory, done),
        Cache::Disk => read_to_disk(paths, format, 0, done),
        Cache::Off => {
            let read = |path: &&Path| {
                Ok(match read_image(path, format, done)? {
                    Ok((facts, pixels)) => (Read::Good(Arc::new(facts)), cache_file::sum(&pixels)),
                    Err(reason) => (Read::Bad(reason), 0),
                })
            };
            let read: Vec<_> = paths
                .par_iter()
                .map(read)
                .collect::<Result<_, DataError>>()?;
            let (reads, sums) = read.into_iter().unzip();
            let sources = paths.iter().map(|path| path.to_path_buf()).collect();
            let backing = Backing::Uncached { sources, sums };
            Ok((Arc::new(Store { format, backing }), reads))
        }
    }
}

/// Reads the images into one block of memory. Each has room for all channels, of which a gray one
/// fills the first third; the system takes no memory for pages that are never written.
fn read_to_memory(
    paths: &[&Path],
    format: Format,
    done: &(dyn Fn(usize) + Sync),
) -> Result<(Arc<Store>, Vec<Read>), DataError> {
    let size = format.num_bytes();
    let mut kept = vec![0; paths.len() * size];
    let read = |(slot, (path, place)): (usize, (&&Path, &mut [u8]))| {
        let start = slot * size;
        Ok(match read_image(path, format, done)? {
            Ok((facts, pixels)) => {
                place[..pixels.len()].copy_from_slice(&pixels);
                (Read::Good(Arc::new(facts)), start..start + pixels.len())
            }
            Err(reason) => (Read::Bad(reason), 0..0),
        })
    };
    let read: Vec<_> = paths
        .par_iter()
        .zip(kept.par_chunks_exact_mut(size))
        .enumerate()
        .map(read)
        .collect::<Result<_, DataError>>()?;
    let (reads, spans) = read.into_iter().unzip();
    Ok((
        Arc::new(Store {
            format,
            backing: Backing::Memory(kept, spans),
        }),
        reads,
    ))
}

/// Reads the images through the cache file and holds its first `memory` bytes in memory.
fn read_to_disk(
    paths: &[&Path],
    format: Format,
    memory: usize,
    done: &(dyn Fn(usize) + Sync),
) -> Result<(Arc<Store>, Vec<Read>), DataError> {
    let read_held = |cache: &CacheFile| -> Result<Vec<u8>, String> {
        let held = cache
            .file
            .read(0..memory.min(cache.file.len()))
            .map_err(|error| error.to_string())?;
        // Images that aren't held are checked when they are read.
        let is_whole = |(span, sum): (&Range<usize>, &u32)| {
            held.get(span.clone())
                .is_none_or(|bytes| cache_file::sum(bytes) == *sum)
        };
        match cache
            .spans
            .par_iter()
            .zip(&cache.sums)
            .position_any(|pair| !is_whole(pair))
        {
            Some(slot) => Err(format!(
                "the pixels of {} have changed",
                paths[slot].display()
            )),
            None => Ok(held),
        }
    };
    let (mut cache, mut reads) = cache_file::read(paths, format, done)?;
    let held = match read_held(&cache) {
        Ok(held) => held,
        Err(reason) => {
            cache_file::discard(&cache.path, &reason);
            (cache, reads) = cache_file::read(paths, format, &|_| ())?;
            let failed = |reason| {
                DataError::io(
                    "read the pixel cache",
                    &cache.path,
                    std::io::Error::other(reason),
                )
            };
            read_held(&cache).map_err(failed)?
        }
    };
    let CacheFile {
        file,
        spans,
        sums,
        path,
    } = cache;
    let sources = paths.iter().map(|path| path.to_path_buf()).collect();
    let backing = Backing::Disk {
        file,
        held,
        spans,
        sums,
        path,
        sources,
        is_damaged: AtomicBool::new(false),
    };
    Ok((Arc::new(Store { format, backing }), reads))
}
