//! The processes of a job, and what they do together.

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_void};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::calls::{Element, IS_SUPPORTED, Mpi, Word, count};
use crate::error::Error;
use crate::launcher::{Kind, launcher};
use crate::library;

/// The processes of a job, called ranks and numbered from 0. All of them must make the same calls
/// in the same order. There is one value in a process, which stays on the thread that made it.
///
/// Calls work on vectors and not on slices, because a call that fails leaves its memory to MPI,
/// which may go on writing to it: the vectors are empty then. After that the job can only be ended.
///
/// Dropping it doesn't finalize MPI, so that a process that ends early ends the job.
pub struct World {
    pub(crate) mpi: Mpi,
    pub(crate) rank: usize,
    pub(crate) count: usize,
    local: Local,
    pub(crate) hosts: Vec<String>,
    library: String,
    pub(crate) patience: Cell<Duration>,
    pub(crate) waited: Cell<Duration>,
    /// The calls so far, by which ranks tell each other where they are.
    pub(crate) calls: Cell<u64>,
    pub(crate) is_over: Cell<bool>,
    /// Whether this rank sends no messages any more.
    pub(crate) is_leaving: Cell<bool>,
    /// The messages of roll calls that this rank has sent to each rank, and received from all.
    pub(crate) sent: RefCell<Vec<f32>>,
    pub(crate) received: Cell<usize>,
    thread: PhantomData<*const ()>,
}

/// A process's place among those of the job on the same machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its number, from 0.
    pub rank: usize,
    /// How many there are.
    pub count: usize,
}

/// How long calls wait before [`World::set_patience`].
const PATIENCE: Duration = Duration::from_secs(600);

/// Bytes of one call of a broadcast.
const BROADCAST_PART: usize = 1 << 30;

static IS_JOINED: AtomicBool = AtomicBool::new(false);

impl World {
    /// Joins the job whose launcher started this process. Returns `None` where none did, or where
    /// it started one process only, which has nobody to work with. MPI starts threads of its own
    /// and reads the environment, so it should be the first thing that a program does.
    ///
    /// # Errors
    ///
    /// Fails where a launcher started several processes that can't work together: without an MPI
    /// library, or with one that doesn't go with the launcher, so that each is in a job of its own.
    pub fn from_launcher() -> Result<Option<Self>, Error> {
        let Some(launcher) = launcher() else {
            return Ok(None);
        };
        if launcher.count == Some(1) {
            return Ok(None);
        }
        if let (Kind::Torchrun, Some(count)) = (launcher.kind, launcher.count) {
            return Err(Error::Torchrun { count });
        }
        if launcher.kind == Kind::Srun && !library::is_chosen() {
            return Err(Error::Apart {
                launcher,
                size: 1,
                library: None,
            });
        }
        if !IS_SUPPORTED {
            return Err(Error::Unsupported(launcher));
        }
        if IS_JOINED.swap(true, Ordering::SeqCst) {
            return Err(Error::Joined);
        }
        let mpi = library::open(&launcher)?;
        let version = mpi.version()?;
        mpi.init()?;
        let (rank, size) = mpi.place(mpi.handles.world)?;
        if launcher.count.is_some_and(|count| count != size) {
            return Err(Error::Apart {
                launcher,
                size,
                library: Some(format!("{version} ({})", mpi.path())),
            });
        }
        Self::new(mpi, version, rank, size).map(Some)
    }

    fn new(mpi: Mpi, library: String, rank: usize, count: usize) -> Result<Self, Error> {
        let (local_rank, local_count) = mpi.place(mpi.local_group(rank)?)?;
        let mut world = Self {
            mpi,
            rank,
            count,
            local: Local {
                rank: local_rank,
                count: local_count,
            },
            hosts: vec!["unknown".into(); count],
            library,
            patience: Cell::new(PATIENCE),
            waited: Cell::new(Duration::ZERO),
            calls: Cell::new(0),
            is_over: Cell::new(false),
            is_leaving: Cell::new(false),
            sent: RefCell::new(vec![0.0; count]),
            received: Cell::new(0),
            thread: PhantomData,
        };
        world.hosts = world.gather_hosts()?;
        world.waited.set(Duration::ZERO);
        Ok(world)
    }

    fn gather_hosts(&self) -> Result<Vec<String>, Error> {
        /// Longer than a host name may be.
        const LENGTH: usize = 256;
        let mut name = self.mpi.host()?.into_bytes();
        name.resize(LENGTH, 0);
        let mut names = vec![0; LENGTH * self.count];
        self.all_gather(&mut name, &mut names, &vec![LENGTH; self.count])?;
        let names = names.chunks(LENGTH);
        Ok(names
            .map(|name| {
                String::from_utf8_lossy(name)
                    .trim_end_matches('\0')
                    .to_owned()
            })
            .collect())
    }

    /// Returns this process's number, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Returns how many processes there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Returns this process's place among those on the same machine.
    pub fn local(&self) -> Local {
        self.local
    }

    /// Returns the name of each rank's host.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    /// Returns whose library it is and its version: "Open MPI 5.0.11".
    pub fn library(&self) -> &str {
        &self.library
    }

    /// Sets how long a call waits for other ranks before it fails; 10 minutes at first. All ranks
    /// should set the same.
    pub fn set_patience(&self, patience: Duration) {
        self.patience.set(patience);
    }

    /// Returns how long this process has waited in calls, which includes sending and receiving.
    pub fn waited(&self) -> Duration {
        self.waited.get()
    }

    /// Sends each rank a part of `send`, and fills `receive` with the part of each rank, in the
    /// order of ranks. Parts lie one behind the other; their lengths are in the counts.
    ///
    /// # Errors
    ///
    /// Fails as all calls do: see [`Error`].
    ///
    /// # Panics
    ///
    /// Panics if there isn't a count for each rank, or they don't add up to the vector's length.
    pub fn all_to_all(
        &self,
        send: &mut Vec<f32>,
        send_counts: &[usize],
        receive: &mut Vec<f32>,
        receive_counts: &[usize],
    ) -> Result<(), Error> {
        self.check(send.len(), send_counts);
        self.check(receive.len(), receive_counts);
        let parts = (Parts::new(send_counts)?, Parts::new(receive_counts)?);
        self.exchange(send, receive, parts)
    }

    /// Sends parts of `send` and receives parts of `receive`.
    fn exchange<T: Element>(
        &self,
        send: &mut Vec<T>,
        receive: &mut Vec<T>,
        mut parts: (Parts, Parts),
    ) -> Result<(), Error> {
        // Open MPI 4 skips the call on a rank without any part, which then is a call behind the
        // others for good. A value to itself keeps it in step.
        let (mut from, mut to) = (std::mem::take(send), std::mem::take(receive));
        let is_idle = parts.0.is_empty() && parts.1.is_empty();
        if is_idle {
            (parts.0.counts[self.rank], parts.1.counts[self.rank]) = (1, 1);
            (from, to) = (vec![T::default()], vec![T::default()]);
        }
        let start = |(send, receive, parts): &mut Exchange<T>, request| {
            let datatype = T::datatype(&self.mpi.handles);
            // SAFETY: counts and offsets lie in the vectors, and `wait` keeps all of it in place
            // until the request is over.
            unsafe {
                (self.mpi.functions.all_to_all)(
                    address(send),
                    parts.0.counts.as_ptr(),
                    parts.0.offsets.as_ptr(),
                    datatype,
                    address_mut(receive),
                    parts.1.counts.as_ptr(),
                    parts.1.offsets.as_ptr(),
                    datatype,
                    self.mpi.handles.world,
                    request,
                )
            }
        };
        (from, to, _) = self.wait("MPI_Ialltoallv", (from, to, parts), start)?;
        if !is_idle {
            (*send, *receive) = (from, to);
        }
        Ok(())
    }

    /// Fills `receive` with what each rank sends, in the order of ranks, one behind the other.
    ///
    /// # Errors
    ///
    /// Fails as all calls do: see [`Error`].
    ///
    /// # Panics
    ///
    /// Panics if there isn't a count for each rank, if they don't add up to the length of
    /// `receive`, or if this rank's isn't that of `send`.
    pub fn all_gather<T: Element>(
        &self,
        send: &mut Vec<T>,
        receive: &mut Vec<T>,
        counts: &[usize],
    ) -> Result<(), Error> {
        self.check(receive.len(), counts);
        assert_eq!(send.len(), counts[self.rank], "this rank's own count");
        let parts = Parts::new(counts)?;
        let (least, most) = (counts.iter().min(), counts.iter().max());
        // Intel MPI 2021.19 never ends a gathering of parts that differ much, if it is polled.
        if least.is_some_and(|least| most > Some(&(least + 1))) {
            let own = Parts::same(parts.counts[self.rank], self.count);
            return self.exchange(send, receive, (own, parts));
        }
        let own = parts.counts[self.rank];
        let memory = (std::mem::take(send), std::mem::take(receive), parts);
        let start = |(send, receive, parts): &mut (Vec<T>, Vec<T>, Parts), request| {
            let datatype = T::datatype(&self.mpi.handles);
            // SAFETY: as in `exchange`.
            unsafe {
                (self.mpi.functions.all_gather)(
                    address(send),
                    own,
                    datatype,
                    address_mut(receive),
                    parts.counts.as_ptr(),
                    parts.offsets.as_ptr(),
                    datatype,
                    self.mpi.handles.world,
                    request,
                )
            }
        };
        (*send, *receive, _) = self.wait("MPI_Iallgatherv", memory, start)?;
        Ok(())
    }

    /// Gives all ranks the bytes of rank 0. The vectors must have the same length on all ranks.
    ///
    /// # Errors
    ///
    /// Fails as all calls do: see [`Error`].
    pub fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), Error> {
        for first in (0..bytes.len()).step_by(BROADCAST_PART) {
            let length = BROADCAST_PART.min(bytes.len() - first);
            let start = |bytes: &mut Vec<u8>, request| {
                let handles = &self.mpi.handles;
                let part = address_mut(&mut bytes[first..first + length]);
                // SAFETY: the part is in the vector, which `wait` keeps in place until the request
                // is over. Its length is below 2^31.
                unsafe {
                    (self.mpi.functions.broadcast)(
                        part,
                        length as c_int,
                        handles.uint8,
                        0,
                        handles.world,
                        request,
                    )
                }
            };
            *bytes = self.wait("MPI_Ibcast", std::mem::take(bytes), start)?;
        }
        Ok(())
    }

    /// Replaces each flag by the largest that any rank has in its place.
    ///
    /// # Errors
    ///
    /// Fails as all calls do: see [`Error`].
    pub fn max(&self, flags: &mut [u8]) -> Result<(), Error> {
        let length = count(flags.len())?;
        if flags.is_empty() {
            return Ok(());
        }
        let memory = (flags.to_vec(), vec![0; flags.len()]);
        let start = |(send, receive): &mut (Vec<u8>, Vec<u8>), request| {
            let handles = &self.mpi.handles;
            // SAFETY: both vectors have the length, and `wait` keeps them in place until the
            // request is over.
            unsafe {
                (self.mpi.functions.all_reduce)(
                    address(send),
                    address_mut(receive),
                    length,
                    handles.uint8,
                    handles.max,
                    handles.world,
                    request,
                )
            }
        };
        let (_, largest) = self.wait("MPI_Iallreduce", memory, start)?;
        flags.copy_from_slice(&largest);
        Ok(())
    }

    /// Waits until all ranks are here.
    ///
    /// # Errors
    ///
    /// Fails as all calls do: see [`Error`].
    pub fn barrier(&self) -> Result<(), Error> {
        self.wait("MPI_Ibarrier", (), |(), request| {
            // SAFETY: the communicator is the library's own, and there is no memory.
            unsafe { (self.mpi.functions.barrier)(self.mpi.handles.world, request) }
        })
    }

    /// Waits until all ranks are here and leaves MPI. The exit codes of the processes should be
    /// the same: some launchers take a rank that ends with another code for a failure.
    ///
    /// # Errors
    ///
    /// Fails as all calls do: see [`Error`].
    pub fn finalize(self) -> Result<(), Error> {
        self.barrier()?;
        self.receive_rest()?;
        self.mpi.finalize()
    }

    fn check(&self, length: usize, counts: &[usize]) {
        assert_eq!(counts.len(), self.count, "a count for each rank");
        assert_eq!(
            counts.iter().sum::<usize>(),
            length,
            "the sum of the counts"
        );
    }
}

/// What an exchange among all ranks keeps in place.
type Exchange<T> = (Vec<T>, Vec<T>, (Parts, Parts));

/// Parts of a vector.
struct Parts {
    counts: Vec<c_int>,
    offsets: Vec<c_int>,
}

impl Parts {
    /// The same part for each rank, which is the whole vector.
    fn same(length: c_int, count: usize) -> Self {
        Self {
            counts: vec![length; count],
            offsets: vec![0; count],
        }
    }

    fn is_empty(&self) -> bool {
        self.counts.iter().all(|&count| count == 0)
    }

    /// Parts that lie one behind the other.
    fn new(counts: &[usize]) -> Result<Self, Error> {
        count(counts.iter().sum())?;
        let counts: Vec<_> = counts.iter().map(|&part| part as c_int).collect();
        let offsets = counts.iter().scan(0, |end, part| {
            let first = *end;
            *end += part;
            Some(first)
        });
        Ok(Self {
            offsets: offsets.collect(),
            counts,
        })
    }
}

/// An empty vector's own pointer is a small number, which can be one of MPI's constants ("in
/// place" is 1 for Open MPI and in the standard); nothing is read or written here.
static NOTHING: Word = 0;

fn address<T>(values: &[T]) -> *const c_void {
    match values {
        [] => (&raw const NOTHING).cast(),
        values => values.as_ptr().cast(),
    }
}

fn address_mut<T>(values: &mut [T]) -> *mut c_void {
    match values {
        [] => (&raw const NOTHING).cast_mut().cast(),
        values => values.as_mut_ptr().cast(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_lie_one_behind_the_other() {
        let parts = Parts::new(&[3, 0, 2]).unwrap();
        assert_eq!(
            (parts.counts, parts.offsets),
            (vec![3, 0, 2], vec![0, 3, 3])
        );
        assert!(Parts::new(&[1 << 30, 1 << 30]).is_err());
    }

    #[test]
    fn an_empty_vector_is_no_constant_of_mpi() {
        let mut empty: Vec<u8> = Vec::new();
        assert!(empty.as_ptr().addr() < 16, "else there is nothing to do");
        assert!(address(&empty).addr() > 4096);
        assert!(address_mut(&mut empty).addr() > 4096);
        assert_eq!(address(&[1.0f32]).addr() % 4, 0);
    }
}
