//! The processes of a job: joining and leaving it, and who they are.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::calls::{IS_SUPPORTED, Mpi};
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

    /// Returns how long a call may take.
    pub fn patience(&self) -> Duration {
        self.patience.get()
    }

    /// Returns how long this process has waited in calls, which includes sending and receiving.
    pub fn waited(&self) -> Duration {
        self.waited.get()
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
}
