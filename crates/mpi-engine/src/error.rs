//! What is said when a job can't start or can't go on.

use std::time::Duration;

use crate::launcher::{Kind, LIBRARY_VARIABLE, Launcher};

/// Why processes can't work together.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A launcher started several processes, and no MPI library is there.
    #[error(
        "{launcher} started {}, but there is no MPI library for it: looked for {looked_for}. \
         `pip install mpich` has one and the mpiexec that goes with it; one that lies elsewhere \
         can be given as {LIBRARY_VARIABLE}=PATH",
        copies(launcher.count)
    )]
    NoLibrary {
        /// What started the processes.
        launcher: Launcher,
        /// Names and folders, in words.
        looked_for: String,
    },
    /// A library can't be opened, or isn't one of MPI.
    #[error("{path} can't be used as the MPI library: {problem}")]
    NotUsable {
        /// The library's path or name.
        path: String,
        /// What the loader says, or what is missing in it.
        problem: String,
    },
    /// The processes of the launcher didn't come together in one job.
    #[error("{}", apart(launcher, *size, library.as_deref()))]
    Apart {
        /// What started the processes.
        launcher: Launcher,
        /// How many of them are in this process's job, itself included.
        size: usize,
        /// The library that says so, `None` where none had to be opened to know.
        library: Option<String>,
    },
    /// `torchrun` started several processes.
    #[error(
        "torchrun started {count} processes, which need MPI to work together: use `mpiexec -n \
         {count}` in its place (`pip install mpich` has one)"
    )]
    Torchrun {
        /// How many it says.
        count: usize,
    },
    /// A system for which no MPI library can be opened.
    #[error("{0} started several processes, and MPI is supported on 64-bit Linux and macOS only")]
    Unsupported(Launcher),
    /// [`World::from_launcher`](crate::World::from_launcher) was called again.
    #[error("this process has joined its MPI job already")]
    Joined,
    /// An MPI function failed without ending the job, as it usually does.
    #[error("{function} failed with code {code}")]
    Call {
        /// Its name.
        function: &'static str,
        /// What it returned.
        code: i32,
    },
    /// More values than MPI can count in one call.
    #[error("{0} values are more than one MPI call can take (2147483647)")]
    TooMany(usize),
    /// Ranks that didn't come to the call in which the others waited.
    #[error("{}", missing(ranks, hosts, *waited))]
    Missing {
        /// The ranks, ascending.
        ranks: Vec<usize>,
        /// The host of each.
        hosts: Vec<String>,
        /// How long one of the others waited.
        waited: Duration,
    },
    /// All ranks wait in a call that doesn't end.
    #[error(
        "all ranks are there, but what they send has not arrived for {}: a connection between \
         their hosts may be down",
        seconds(*waited)
    )]
    Stuck {
        /// How long rank 0 waited.
        waited: Duration,
    },
    /// Rank 0, which would say who is missing, is missing itself or can't be reached.
    #[error(
        "waited {} for another rank, and rank 0 (host {host}), which would say for which, didn't \
         end the job: it is stopped or busy, or can't be reached",
        seconds(*waited)
    )]
    Patience {
        /// The host of rank 0.
        host: String,
        /// How long this rank waited.
        waited: Duration,
    },
    /// An earlier call failed: the ranks are no longer at the same call.
    #[error("an earlier call failed, after which ranks can only end the job")]
    Over,
}

/// Names how many processes a launcher started.
fn copies(count: Option<usize>) -> String {
    count.map_or_else(
        || "several processes".into(),
        |count| format!("{count} processes"),
    )
}

fn apart(launcher: &Launcher, size: usize, library: Option<&str>) -> String {
    let started = format!("{launcher} started {}", copies(launcher.count));
    let Some(library) = library else {
        return format!(
            "{started} that don't know of each other: use `srun --mpi=pmix` for Open MPI, `srun \
             --mpi=pmi2` for MPICH and Intel MPI (`srun --mpi=list` shows what there is)"
        );
    };
    let advice = match launcher.kind {
        Kind::Srun | Kind::SrunPmix | Kind::SrunPmi2 => {
            "another `--mpi=` of srun (pmix for Open MPI, pmi2 for MPICH and Intel MPI)"
        }
        _ => "the mpiexec of the same MPI",
    };
    format!(
        "{started}, but for {library} this one is in a job of {size}: use {advice}, or another \
         library ({LIBRARY_VARIABLE}=PATH)"
    )
}

/// The ranks that are named one by one; of more, only the number.
const MOST_NAMED: usize = 8;

fn missing(ranks: &[usize], hosts: &[String], waited: Duration) -> String {
    let named: Vec<_> = ranks
        .iter()
        .zip(hosts)
        .take(MOST_NAMED)
        .map(|(rank, host)| format!("rank {rank} (host {host})"))
        .collect();
    let more = match ranks.len().saturating_sub(MOST_NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let (have, it) = match ranks {
        [_] => ("has", "it is stopped or busy, or its host is cut off"),
        _ => (
            "have",
            "they are stopped or busy, or their hosts are cut off",
        ),
    };
    format!(
        "{}{more} {have} not come for {}, while the others wait: {it}",
        named.join(", "),
        seconds(waited)
    )
}

fn seconds(time: Duration) -> String {
    format!("{:.0} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_ranks_are_named_with_their_hosts() {
        let check = |ranks: &[usize], expected: &str| {
            let error = Error::Missing {
                ranks: ranks.to_vec(),
                hosts: ranks.iter().map(|rank| format!("node{rank}")).collect(),
                waited: Duration::from_secs(600),
            };
            assert_eq!(error.to_string(), expected);
        };
        check(
            &[2],
            "rank 2 (host node2) has not come for 600 s, while the others wait: it is stopped or \
             busy, or its host is cut off",
        );
        check(
            &[1, 3],
            "rank 1 (host node1), rank 3 (host node3) have not come for 600 s, while the others \
             wait: they are stopped or busy, or their hosts are cut off",
        );
        let many: Vec<_> = (0..20).collect();
        assert!(missing(&many, &vec![String::new(); 20], Duration::ZERO).contains(" and 12 more"));
    }

    #[test]
    fn processes_apart_are_told_what_to_use() {
        let launcher = |kind| Launcher {
            kind,
            rank: Some(0),
            count: Some(4),
        };
        let text = apart(&launcher(Kind::Srun), 1, None);
        assert!(text.starts_with("srun started 4 processes that don't know of each other"));
        let text = apart(
            &launcher(Kind::Hydra),
            1,
            Some("Open MPI 4.1.4 (libmpi.so.40)"),
        );
        let words = "for Open MPI 4.1.4 (libmpi.so.40) this one is in a job of 1: use the mpiexec";
        assert!(text.contains(words), "{text}");
        let text = apart(&launcher(Kind::SrunPmi2), 1, Some("Open MPI 4.1.4"));
        assert!(text.contains("another `--mpi=` of srun"), "{text}");
    }
}
