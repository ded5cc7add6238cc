//! What all requests share: the model in words, the way to the network, and what is left of the
//! limits.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{SyncSender, TrySendError},
    },
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{
    metrics::Metrics,
    network::{Answer, Job, Task},
    page::Page,
    reply::Fault,
    upload::{Bodies, Upload},
};
use crate::{
    data::store::{Format, read_bytes},
    evaluation::{
        classified::{Classified, Rules},
        predictor::Predictor,
    },
};

/// What the server takes before it refuses.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body: usize,
    /// Images that are decoded, wait, or are in the network.
    pub images: usize,
    /// Connections; more wait until one ends.
    pub connections: usize,
    /// Time for the header of a request, from the moment that the connection is free for it.
    pub header: Duration,
    /// Time for the body of a request, and for each part of an answer to be taken.
    pub body_time: Duration,
}

/// What requests share.
#[derive(Debug)]
pub(super) struct App {
    /// The run's name.
    pub(super) name: String,
    /// Classes and what was fitted.
    pub(super) rules: Rules,
    /// How images are read.
    pub(super) format: Format,
    /// The page.
    pub(super) page: Page,
    /// Names by which the server may be addressed.
    pub(super) hosts: Vec<String>,
    pub(super) limits: Limits,
    pub(super) metrics: Arc<Metrics>,
    pub(super) bodies: Bodies,
    /// What is left for images.
    images: Arc<Semaphore>,
    jobs: SyncSender<Job>,
    /// Whether nothing more is accepted.
    is_stopping: AtomicBool,
}

/// An image for the network.
#[derive(Debug)]
pub(super) struct Ready {
    /// Name that the client gave it.
    pub(super) name: Option<String>,
    /// The resized bytes.
    pub(super) pixels: Vec<u8>,
    /// What is wrong with the file although it can be read.
    pub(super) damage: Option<String>,
    /// Its share of the images under way.
    permit: OwnedSemaphorePermit,
}

impl App {
    pub(super) fn new(
        predictor: &Predictor<'_>,
        hosts: Vec<String>,
        limits: Limits,
        jobs: SyncSender<Job>,
    ) -> Self {
        let meta = predictor.meta();
        Self {
            name: meta.name.clone(),
            rules: Rules::of(meta),
            format: Format::of(&predictor.data),
            page: Page::new(meta, limits.body),
            hosts,
            limits,
            metrics: Arc::default(),
            bodies: Bodies::new(limits.body, limits.body_time),
            images: Arc::new(Semaphore::new(limits.images)),
            jobs,
            is_stopping: AtomicBool::new(false),
        }
    }

    /// Refuses requests from here on.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// Returns the number of images under way.
    pub(super) fn under_way(&self) -> usize {
        self.limits.images - self.images.available_permits()
    }

    /// Takes the share of `count` images.
    ///
    /// # Errors
    /// Returns a fault if there is no room for them.
    pub(super) fn room(&self, count: usize) -> Result<OwnedSemaphorePermit, Fault> {
        if count > self.limits.images {
            return Err(Fault::too_large(format!(
                "found {count} images, expected at most {} in a request",
                self.limits.images
            )));
        }
        let count = u32::try_from(count).expect("no more than the limit");
        Arc::clone(&self.images)
            .try_acquire_many_owned(count)
            .map_err(|_| Fault::busy())
    }

    /// Decodes and resizes images.
    ///
    /// # Errors
    /// Returns the fault of the first image that can't be read.
    pub(super) async fn read(&self, uploads: Vec<Upload>) -> Result<Vec<Ready>, Fault> {
        let (count, format) = (uploads.len(), self.format);
        let mut room = self.room(count)?;
        let decode = |upload: Upload| {
            let permit = room.split(1).expect("a permit for each image");
            // The upload goes with the work, which a client that hangs up doesn't end.
            tokio::task::spawn_blocking(move || {
                let read = read_bytes(&upload.bytes, format);
                let fault = |reason| Fault::of_image(reason, &upload.bytes);
                read.map_err(fault).map(|(pixels, damage)| Ready {
                    name: upload.name,
                    pixels,
                    damage,
                    permit,
                })
            })
        };
        let decoding: Vec<_> = uploads.into_iter().map(decode).collect();
        let mut images = Vec::new();
        for (index, task) in decoding.into_iter().enumerate() {
            let read = task.await.map_err(|_| Fault::broken("decoding failed"))?;
            images.push(read.map_err(|fault| fault.in_image(index, count))?);
        }
        Ok(images)
    }

    /// Returns images whose pixels came decoded and are resized, in the room that they have taken.
    ///
    /// # Panics
    /// Panics if the room is for fewer images.
    pub(super) fn ready(mut room: OwnedSemaphorePermit, images: Vec<Vec<u8>>) -> Vec<Ready> {
        let ready = |pixels| Ready {
            name: None,
            pixels,
            damage: None,
            permit: room.split(1).expect("a permit for each image"),
        };
        images.into_iter().map(ready).collect()
    }

    /// Returns the classes of images.
    ///
    /// # Errors
    /// Returns a fault if the network fails.
    pub(super) async fn classify(&self, images: Vec<Ready>) -> Result<Vec<Classified>, Fault> {
        let sent: Result<Vec<_>, _> = images
            .into_iter()
            .map(|image| self.send(image, Task::Classify))
            .collect();
        let mut classes = Vec::new();
        for answer in sent? {
            match answer.await {
                Ok(Ok(Answer::Class(class))) => classes.push(*class),
                other => return Err(Fault::of_network(other)),
            }
        }
        Ok(classes)
    }

    /// Hands an image to the network.
    pub(super) fn send(
        &self,
        image: Ready,
        task: Task,
    ) -> Result<oneshot::Receiver<Result<Answer, String>>, Fault> {
        let (reply, answer) = oneshot::channel();
        let job = Job {
            pixels: image.pixels,
            task,
            reply,
            permit: image.permit,
        };
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Fault::busy(),
            TrySendError::Disconnected(_) => Fault::stopping(),
        })?;
        Ok(answer)
    }
}
