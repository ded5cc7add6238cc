//! An iterator over batches in order that threads prepare ahead, bounded in bytes. Gives the same
//! batches for any number of threads, and errors as values.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use super::{batch::HostBatch, view::View};
use crate::data::error::DataError;

/// Maximum number of bytes in batches ahead of the consumer. Nevertheless, each worker may prepare
/// one batch, and one may be ready.
const MAX_AHEAD_BYTES: usize = 32 << 20;

/// Number of bytes up to which images on disk are read ahead, but at least two batches.
const MAX_ASKED_BYTES: usize = 8 << 20;

/// An iterator over the batches of a [`View`]. It ends after the first error.
pub struct Loader {
    job: Arc<Job>,
    workers: Vec<JoinHandle<()>>,
    /// Reads images ahead. A thread of its own, because where memory is short, the system takes as
    /// long to find memory for an image as augmenting it takes.
    reader: Option<JoinHandle<()>>,
    /// Place of the next batch to deliver in the list.
    next: usize,
    /// Time that the consumer has waited for batches.
    pub waited: Duration,
}

/// What the threads share.
struct Job {
    /// The draws.
    view: View,
    /// Number of images per batch, except for the last one.
    batch_size: usize,
    /// The batches to deliver, by their positions in the view.
    batches: Vec<usize>,
    /// Number of batches that may be claimed ahead of the consumer.
    window: usize,
    queue: Mutex<Queue>,
    changed: Condvar,
}

/// The state of the batches.
struct Queue {
    /// Prepared batches by their place in the list, as the numbers below.
    ready: BTreeMap<usize, Result<HostBatch, DataError>>,
    /// The next batch that a worker takes.
    next_claim: usize,
    /// The first batch that the consumer hasn't taken.
    delivered: usize,
    /// Whether the loader is being dropped.
    is_closed: bool,
    /// Whether a thread has panicked.
    has_lost_worker: bool,
}

impl Loader {
    /// Starts a loader at batch `first`, so that an epoch can be resumed. Without `workers`,
    /// batches are prepared in the calling thread.
    pub fn new(view: View, batch_size: usize, first: usize, workers: usize) -> Self {
        let batches = (first..view.num_batches(batch_size)).collect();
        Self::of(view, batch_size, batches, workers)
    }

    /// Like [`Self::new`], for the batches at these positions in the view.
    pub fn of(view: View, batch_size: usize, batches: Vec<usize>, workers: usize) -> Self {
        let batch_bytes = view.set.store.num_values() * size_of::<f32>() * batch_size;
        let queue = Queue {
            ready: BTreeMap::new(),
            next_claim: 0,
            delivered: 0,
            is_closed: false,
            has_lost_worker: false,
        };
        let window = (MAX_AHEAD_BYTES / batch_bytes.max(1)).max(workers + 1);
        let job = Arc::new(Job {
            view,
            batch_size,
            batches,
            window,
            queue: Mutex::new(queue),
            changed: Condvar::new(),
        });
        // If the system gives no thread, batches are prepared in the calling thread.
        let work = |job: &Job| {
            while let Some(index) = job.claim() {
                let batch = job.prepare(index);
                job.lock().ready.insert(index, batch);
                job.changed.notify_all();
            }
        };
        let workers = (0..workers)
            .map_while(|index| spawn(&job, format!("loader-{index}"), work))
            .collect();
        let reader = job
            .view
            .set
            .store
            .is_on_disk()
            .then(|| spawn(&job, "read-ahead".to_owned(), Job::read_ahead))
            .flatten();
        Self {
            job,
            workers,
            reader,
            next: 0,
            waited: Duration::ZERO,
        }
    }

    /// Waits for the next batch, or prepares it if there are no workers.
    fn take(&mut self) -> Result<HostBatch, DataError> {
        if self.workers.is_empty() {
            // The read-ahead thread follows the claims, without workers too.
            self.job.lock().next_claim = self.next + 1;
            self.job.changed.notify_all();
            return self.job.prepare(self.next);
        }
        let mut queue = self.job.lock();
        loop {
            if let Some(batch) = queue.ready.remove(&self.next) {
                queue.delivered = self.next + 1;
                self.job.changed.notify_all();
                return batch;
            }
            if queue.has_lost_worker {
                return Err(DataError::Loader(self.job.batches[self.next]));
            }
            queue = self
                .job
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Iterator for Loader {
    type Item = Result<HostBatch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next >= self.job.batches.len() {
            return None;
        }
        let start = Instant::now();
        let batch = self.take();
        self.waited += start.elapsed();
        self.next = if batch.is_ok() {
            self.next + 1
        } else {
            self.job.batches.len()
        };
        Some(batch)
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.job.lock().is_closed = true;
        self.job.changed.notify_all();
        for worker in self.workers.drain(..).chain(self.reader.take()) {
            // A panic was reported through `has_lost_worker`.
            let _ = worker.join();
        }
    }
}

/// Starts a thread. Logs a warning and returns `None` if the system refuses.
fn spawn(
    job: &Arc<Job>,
    name: String,
    work: impl FnOnce(&Job) + Send + 'static,
) -> Option<JoinHandle<()>> {
    let job = Arc::clone(job);
    let guarded = move || {
        let _guard = LostWorker(&job);
        work(&job);
    };
    Builder::new()
        .name(name)
        .spawn(guarded)
        .inspect_err(|error| log::warn!("can't start a loader thread: {error}"))
        .ok()
}

/// Reports a panic of its thread, so that the consumer doesn't wait forever.
struct LostWorker<'a>(&'a Job);

impl Drop for LostWorker<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lock().has_lost_worker = true;
            self.0.changed.notify_all();
        }
    }
}

impl Job {
    /// Waits until another batch may be prepared and returns its place. Returns `None` at the end.
    fn claim(&self) -> Option<usize> {
        let mut queue = self.lock();
        loop {
            if queue.is_closed || queue.next_claim >= self.batches.len() {
                return None;
            }
            if queue.next_claim < queue.delivered + self.window {
                queue.next_claim += 1;
                self.changed.notify_all();
                return Some(queue.next_claim - 1);
            }
            queue = self
                .changed
                .wait(queue)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Reads the images of each batch ahead, some batches before a worker claims it.
    fn read_ahead(&self) {
        let batch_bytes = self.view.set.store.num_bytes() * self.batch_size;
        let far = (MAX_ASKED_BYTES / batch_bytes.max(1)).max(2);
        for index in 0..self.batches.len() {
            let is_due = |queue: &mut Queue| queue.is_closed || index < queue.next_claim + far;
            let queue = self
                .changed
                .wait_while(self.lock(), |queue| !is_due(queue))
                .unwrap_or_else(PoisonError::into_inner);
            if queue.is_closed {
                return;
            }
            // Reading may wait for memory; the workers must not wait with it.
            drop(queue);
            self.view.will_need(self.draws(index));
        }
    }

    fn prepare(&self, index: usize) -> Result<HostBatch, DataError> {
        self.view.batch(self.draws(index))
    }

    /// Returns the draws of the batch at a place in the list.
    fn draws(&self, index: usize) -> Range<usize> {
        let start = self.batches[index] * self.batch_size;
        start..(start + self.batch_size).min(self.view.draws.len())
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Cache, Color, Interpolation, Resize},
        data::{
            batches::{
                batch::ImageBatcher,
                dataset::{Image, ImageSet},
                order,
            },
            store::{CachePolicy, Format, Read, read},
        },
    };
    use std::path::PathBuf;

    /// Writes seven images of 3x2 pixels with distinct values.
    fn images(folder: &std::path::Path) -> Vec<PathBuf> {
        let image = |index: u8| {
            let path = folder.join(format!("{index}.png"));
            let level = |x, y| image::Luma([index * 30 + (x + 3 * y) as u8]);
            image::GrayImage::from_fn(3, 2, level)
                .save(&path)
                .expect("written");
            path
        };
        (0..7).map(image).collect()
    }

    /// Seven images with distinct values, each drawn twice.
    fn view(folder: &std::path::Path) -> View {
        let paths = images(folder);
        let format = Format {
            image_size: [2, 3],
            color: Color::Grayscale,
            resize: Resize::Stretch,
            interpolation: Interpolation::Bilinear,
            repair: false,
        };
        let borrowed: Vec<_> = paths.iter().map(PathBuf::as_path).collect();
        let (store, reads) = read(
            &borrowed,
            format,
            CachePolicy {
                cache: Cache::Off,
                memory_mb: 1,
            },
            &|_| {},
        )
        .expect("read");
        let images = paths
            .iter()
            .zip(reads)
            .enumerate()
            .map(|(slot, (path, read))| match read {
                Read::Good(facts) => Image {
                    path: path.clone(),
                    label: slot % 2,
                    group: None,
                    weight: 1.0,
                    digest: facts.pixels,
                    slot,
                },
                Read::Bad(reason) => panic!("{reason}"),
            })
            .collect();
        let classes = Arc::new(vec!["a".to_owned(), "b".to_owned()]);
        View {
            set: Arc::new(ImageSet {
                classes,
                images,
                store,
            }),
            draws: [order::shuffled(7, 1, 0), order::shuffled(7, 1, 1)].concat(),
            batcher: ImageBatcher {
                prepare: Arc::new(|subject, out| {
                    let values = subject
                        .bytes
                        .iter()
                        .map(|byte| f32::from(*byte) + subject.draw.repeat as f32);
                    out.extend(values);
                }),
                mix: None,
                num_classes: 2,
            },
        }
    }

    fn batches(view: &View, first: usize, workers: usize) -> Vec<HostBatch> {
        Loader::new(view.clone(), 4, first, workers)
            .map(|batch| batch.expect("prepared"))
            .collect()
    }

    #[test]
    fn any_number_of_workers_gives_the_same_batches_the_last_one_short() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let view = view(folder.path());
        let expected = batches(&view, 0, 0);
        assert_eq!(
            expected.iter().map(HostBatch::len).collect::<Vec<_>>(),
            [4, 4, 4, 2]
        );
        for workers in [1, 2, 8] {
            assert_eq!(batches(&view, 0, workers), expected, "{workers} workers");
            assert_eq!(
                batches(&view, 2, workers),
                expected[2..],
                "{workers} workers, from the third batch"
            );
            let some: Vec<_> = Loader::of(view.clone(), 4, vec![1, 3], workers)
                .map(|batch| batch.expect("prepared"))
                .collect();
            assert_eq!(some, [expected[1].clone(), expected[3].clone()]);
        }
    }

    #[test]
    fn a_bad_image_is_one_error_with_its_path_and_then_the_end() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let view = view(folder.path());
        std::fs::write(folder.path().join("3.png"), b"no longer").expect("written");
        for workers in [0, 3] {
            let results: Vec<_> = Loader::new(view.clone(), 4, 0, workers).collect();
            let error = results
                .last()
                .expect("something")
                .as_ref()
                .expect_err("the bad image")
                .to_string();
            assert!(error.contains("3.png"), "{error}");
            assert!(results.len() <= 4 && results[..results.len() - 1].iter().all(Result::is_ok));
        }
    }

    #[test]
    fn a_panic_in_preparation_is_an_error_and_not_a_hang() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut view = view(folder.path());
        view.batcher.prepare =
            Arc::new(|subject, _| assert_ne!(subject.draw.image, 3, "a bug, on purpose"));
        let last = Loader::new(view, 4, 0, 1).last().expect("something");
        assert!(matches!(last, Err(DataError::Loader(_))));
    }

    #[test]
    fn a_loader_can_be_left_in_the_middle() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let view = view(folder.path());
        drop(Loader::new(view.clone(), 1, 0, 2));
        let mut loader = Loader::new(view, 1, 0, 2);
        assert!(loader.next().is_some());
    }
}
