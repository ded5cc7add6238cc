//! The launcher that started this process, from the variables that it left in the environment.

use std::fmt;

/// What started this process as one of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// Which one.
    pub kind: Kind,
    /// The number that it gave this process, from 0.
    pub rank: Option<usize>,
    /// How many processes it says that it started.
    pub count: Option<usize>,
}

/// The launchers that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `mpiexec` or `mpirun` of Open MPI.
    OpenMpi,
    /// `mpiexec` of MPICH, Intel MPI and others that share their process manager.
    Hydra,
    /// Slurm's `srun` without help for MPI: its processes don't know of each other.
    Srun,
    /// `srun --mpi=pmix`.
    SrunPmix,
    /// `srun --mpi=pmi2`.
    SrunPmi2,
    /// Another launcher that speaks PMIx, `prun` for example.
    Pmix,
    /// Another launcher that speaks PMI, `flux run` for example.
    Pmi,
    /// PyTorch's `torchrun`, which starts processes and has no MPI.
    Torchrun,
}

impl Kind {
    /// Returns what a user types to call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenMpi => "Open MPI's mpiexec",
            Self::Hydra => "the mpiexec of MPICH or Intel MPI",
            Self::Srun => "srun",
            Self::SrunPmix => "srun --mpi=pmix",
            Self::SrunPmi2 => "srun --mpi=pmi2",
            Self::Pmix => "a launcher with PMIx",
            Self::Pmi => "a launcher with PMI",
            Self::Torchrun => "torchrun",
        }
    }
}

impl fmt::Display for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())
    }
}

/// Returns the launcher that started this process, `None` where it was started by itself. Nothing
/// is opened.
pub fn launcher() -> Option<Launcher> {
    detect(|name| std::env::var(name).ok())
}

/// Finds the launcher in an environment. The engine's own variables go first: its launchers start
/// helpers through `srun`, whose variables their processes then have too.
fn detect(variable: impl Fn(&str) -> Option<String>) -> Option<Launcher> {
    let number = |name| variable(name)?.trim().parse::<usize>().ok();
    let found = |kind, rank, count| {
        Some(Launcher {
            kind,
            rank: number(rank),
            count: number(count),
        })
    };
    // A script of `sbatch` has the variables of the allocation, not those of a step.
    let is_step = number("SLURM_STEP_NUM_TASKS").is_some() && number("SLURM_PROCID").is_some();
    if number("OMPI_COMM_WORLD_SIZE").is_some() {
        found(
            Kind::OpenMpi,
            "OMPI_COMM_WORLD_RANK",
            "OMPI_COMM_WORLD_SIZE",
        )
    } else if number("PMI_SIZE").is_some() {
        let kind = if number("MPI_LOCALNRANKS").is_some() {
            Kind::Hydra
        } else if is_step {
            Kind::SrunPmi2
        } else {
            Kind::Pmi
        };
        found(kind, "PMI_RANK", "PMI_SIZE")
    } else if is_step {
        let kind = if number("PMIX_RANK").is_some() {
            Kind::SrunPmix
        } else {
            Kind::Srun
        };
        found(kind, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS")
    } else if let Some(rank) = number("PMIX_RANK") {
        Some(Launcher {
            kind: Kind::Pmix,
            rank: Some(rank),
            count: None,
        })
    } else if number("RANK").is_some() && number("WORLD_SIZE").is_some() {
        found(Kind::Torchrun, "RANK", "WORLD_SIZE")
    } else {
        None
    }
}
