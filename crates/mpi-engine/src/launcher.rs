//! The launcher that started this process, from the variables that it left in the environment, and
//! the variable that a user sets.

use std::fmt;

/// The variable with the path or name of the library to open, in place of those that are looked
/// for.
pub const LIBRARY_VARIABLE: &str = "EMBERLENS_MPI";

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

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns what is found in an environment of `NAME=VALUE` words.
    fn found(variables: &str) -> Option<(Kind, Option<usize>, Option<usize>)> {
        let variables: Vec<_> = variables
            .split_whitespace()
            .map(|word| word.split_once('=').unwrap())
            .collect();
        let launcher = detect(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        })?;
        Some((launcher.kind, launcher.rank, launcher.count))
    }

    #[test]
    fn each_launcher_is_known_by_its_variables() {
        let check = |variables: &str, kind, rank, count| {
            let expected = Some((kind, Some(rank), count));
            assert_eq!(found(variables), expected, "{variables}");
        };
        // As seen under Open MPI 4.1.4 and 5.0.11, MPICH 5.0.2, Intel MPI 2021.19, Slurm 22.05.
        let open_mpi = "OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_RANK=1 PMIX_RANK=1";
        check(open_mpi, Kind::OpenMpi, 1, Some(4));
        let hydra = "PMI_SIZE=3 PMI_RANK=2 MPI_LOCALNRANKS=3 MPI_LOCALRANKID=2 PMI_FD=9";
        check(hydra, Kind::Hydra, 2, Some(3));
        let srun = "SLURM_STEP_NUM_TASKS=2 SLURM_PROCID=1 SLURM_LOCALID=1 SLURM_NTASKS=2";
        check(srun, Kind::Srun, 1, Some(2));
        let pmix = format!("{srun} PMIX_RANK=1");
        check(&pmix, Kind::SrunPmix, 1, Some(2));
        let pmi2 = format!("{srun} PMI_SIZE=2 PMI_RANK=1 PMI_FD=9");
        check(&pmi2, Kind::SrunPmi2, 1, Some(2));
        check("PMIX_RANK=5 PMIX_NAMESPACE=a", Kind::Pmix, 5, None);
        check("PMI_SIZE=2 PMI_RANK=0 PMI_FD=9", Kind::Pmi, 0, Some(2));
        let torchrun = "RANK=3 WORLD_SIZE=4 LOCAL_RANK=3 MASTER_ADDR=a";
        check(torchrun, Kind::Torchrun, 3, Some(4));
        // Launchers that start their helpers through srun, one for each of two hosts.
        check(&format!("{srun} {open_mpi}"), Kind::OpenMpi, 1, Some(4));
        check(&format!("{srun} {hydra}"), Kind::Hydra, 2, Some(3));
        check(&format!("{torchrun} {open_mpi}"), Kind::OpenMpi, 1, Some(4));
    }

    #[test]
    fn a_process_without_a_launcher_is_alone() {
        for variables in [
            "",
            "HOME=/root PATH=/bin",
            // A script of sbatch.
            "SLURM_NTASKS=4 SLURM_PROCID=0 SLURM_JOB_ID=7",
            // Half of what torchrun sets, and what isn't a number.
            "WORLD_SIZE=4",
            "OMPI_COMM_WORLD_SIZE=many",
        ] {
            assert_eq!(found(variables), None, "{variables}");
        }
    }
}
