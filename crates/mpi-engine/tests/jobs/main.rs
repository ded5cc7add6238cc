//! Jobs under real launchers: the `mpiexec` on the path, or those in `EMBERLENS_MPIEXEC`, separated
//! like a path. A job runs this very program, with `as_a_rank` as its only test.

mod rank;

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use mpi_engine::library_found;

/// Nothing where it isn't started by one of the others.
#[test]
fn as_a_rank() {
    if let Ok(job) = env::var(rank::JOB) {
        rank::run(&job);
    }
}

/// Returns the launchers to test with.
fn launchers() -> Vec<PathBuf> {
    let chosen = env::var_os("EMBERLENS_MPIEXEC").unwrap_or_else(|| "mpiexec".into());
    env::split_paths(&chosen).collect()
}

/// Returns the command that starts a job. More ranks than cores are wanted here, and containers
/// have no other user than root.
fn job(launcher: &Path, count: usize, name: &str) -> Command {
    let mut command = Command::new(launcher);
    command
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("OMPI_MCA_rmaps_base_oversubscribe", "1")
        .env("OMPI_MCA_hwloc_base_binding_policy", "none")
        .env("PRTE_ALLOW_RUN_AS_ROOT", "1")
        .env("PRTE_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
        .env("PRTE_MCA_hwloc_default_binding_policy", "none")
        .env(rank::JOB, name)
        .args(["-n", &count.to_string()])
        .arg(env::current_exe().expect("a path"))
        .args(["--exact", "as_a_rank", "--nocapture"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Returns what a job printed, and how it ended.
fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    format!("{}\n{}", String::from_utf8_lossy(&all), output.status)
}

#[test]
#[ignore = "needs mpiexec"]
fn every_call_gives_every_rank_its_values() {
    for launcher in launchers() {
        for count in 2..=4 {
            let output = job(&launcher, count, "check").output().expect("started");
            let text = text(&output);
            assert!(
                output.status.success(),
                "{launcher:?}, {count} ranks:\n{text}"
            );
            for rank in 0..count {
                let line = format!("rank {rank} of {count}, {rank} of {count} on ");
                assert!(text.contains(&line), "{launcher:?}, {count} ranks:\n{text}");
            }
        }
    }
}

/// Parts of lengths that differ found that Open MPI 4.1.4 leaves a call out on a rank without any
/// part, and that Intel MPI 2021.19 doesn't end a gathering: see `exchange` and `all_gather`.
#[test]
#[ignore = "needs mpiexec"]
fn parts_may_have_any_lengths() {
    for launcher in launchers() {
        for count in 2..=4 {
            let mut command = job(&launcher, count, "vary");
            let output = command.env(rank::PATIENCE, "60").output().expect("started");
            let text = text(&output);
            assert_eq!(
                text.matches(": done").count(),
                count,
                "{launcher:?}:\n{text}"
            );
        }
    }
}

#[test]
#[ignore = "needs mpiexec"]
fn ranks_that_come_late_are_not_missing() {
    for launcher in launchers() {
        // Rank 0 waits longer than its patience for rank 3, which is there within the grace.
        let mut command = job(&launcher, 4, "late");
        let output = command
            .env(rank::PATIENCE, "1.2")
            .output()
            .expect("started");
        let text = text(&output);
        assert!(output.status.success(), "{launcher:?}:\n{text}");
        assert_eq!(text.matches(": done").count(), 4, "{launcher:?}:\n{text}");
    }
}

/// Runs a job that must fail, and returns what it printed, its exit code and how long it took.
fn failed(mut command: Command) -> (String, Option<i32>, Duration) {
    let start = Instant::now();
    let output = command.output().expect("started");
    assert!(!output.status.success(), "{}", text(&output));
    (text(&output), output.status.code(), start.elapsed())
}

/// What a job may take to end after one of its ranks did, on a busy machine.
const SOON: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs mpiexec"]
fn a_rank_that_aborts_leaves_or_panics_ends_the_job() {
    for launcher in launchers() {
        // Of a rank that just leaves, launchers tell its code or that of those they kill then.
        for (name, code, words) in [
            ("abort", Some(4), "rank 1 has no disk left"),
            ("leave", None, ""),
            ("panic", Some(3), ""),
        ] {
            let (text, found, time) = failed(job(&launcher, 3, name));
            let is_expected = code.is_none() || found == code;
            assert!(is_expected, "{launcher:?}, {name}, {found:?}:\n{text}");
            assert!(text.contains(words), "{launcher:?}, {name}:\n{text}");
            assert!(time < SOON, "{launcher:?}, {name}: {time:?}");
        }
    }
}

/// A job whose ranks work for ever.
struct Held {
    launcher: Child,
    /// The process of each rank.
    ranks: Vec<String>,
    output: BufReader<ChildStdout>,
}

impl Held {
    fn start(launcher: &Path, count: usize, patience: &str) -> Self {
        let mut command = job(launcher, count, "hold");
        let mut launcher = command
            .env(rank::PATIENCE, patience)
            .spawn()
            .expect("started");
        let mut output = BufReader::new(launcher.stdout.take().expect("piped"));
        let mut ranks = vec![String::new(); count];
        while ranks.iter().any(String::is_empty) {
            let mut line = String::new();
            assert_ne!(
                output.read_line(&mut line).expect("text"),
                0,
                "the job has ended"
            );
            // The test harness writes to the same lines.
            let words = line.trim().rsplit_once("rank ").map(|(_, words)| words);
            if let Some((rank, process)) = words.and_then(|it| it.split_once(" is process ")) {
                ranks[rank.parse::<usize>().expect("a number")] = process.to_owned();
            }
        }
        Self {
            launcher,
            ranks,
            output,
        }
    }

    fn signal(&self, rank: usize, signal: &str) {
        let kill = Command::new("kill")
            .args([signal, &self.ranks[rank]])
            .status();
        assert!(kill.expect("started").success());
    }

    /// Waits for the end, and returns what was printed until then.
    fn end(mut self) -> (String, ExitStatus) {
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("text");
        let mut errors = self.launcher.stderr.take().expect("piped");
        errors.read_to_string(&mut text).expect("text");
        (text, self.launcher.wait().expect("ended"))
    }
}

#[test]
#[ignore = "needs mpiexec"]
fn a_rank_that_is_killed_ends_the_job() {
    for launcher in launchers() {
        for rank in [0, 2] {
            let held = Held::start(&launcher, 3, "60");
            let start = Instant::now();
            held.signal(rank, "-KILL");
            let (text, status) = held.end();
            assert!(!status.success(), "{launcher:?}, rank {rank}:\n{text}");
            assert!(start.elapsed() < SOON, "{launcher:?}, rank {rank}:\n{text}");
        }
    }
}

#[test]
#[ignore = "needs mpiexec"]
fn a_rank_that_is_stopped_is_named_when_patience_is_over() {
    for launcher in launchers() {
        for (rank, words) in [(2, "error: rank 2 (host "), (0, ", and rank 0 (host ")] {
            let held = Held::start(&launcher, 4, "2");
            let start = Instant::now();
            held.signal(rank, "-STOP");
            let (text, status) = held.end();
            assert!(!status.success(), "{launcher:?}, rank {rank}:\n{text}");
            assert!(text.contains(words), "{launcher:?}, rank {rank}:\n{text}");
            assert!(start.elapsed() < SOON, "{launcher:?}, rank {rank}:\n{text}");
        }
    }
}

#[test]
#[ignore = "needs mpiexec"]
fn a_rank_that_never_comes_is_named_though_others_wait_in_another_call() {
    for launcher in launchers() {
        let mut command = job(&launcher, 4, "relay");
        command.env(rank::PATIENCE, "2");
        let (text, _, time) = failed(command);
        assert!(
            text.contains("error: rank 3 (host "),
            "{launcher:?}:\n{text}"
        );
        assert!(time < SOON, "{launcher:?}: {time:?}");
    }
}

/// Returns what this program says as a single process with the variables of a launcher.
fn alone_with(variables: &[(&str, &str)]) -> String {
    let own = env::current_exe().expect("a path");
    let output = Command::new(own)
        .args(["--exact", "as_a_rank", "--nocapture"])
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .env(rank::JOB, "check")
        .envs(variables.iter().copied())
        .output();
    text(&output.expect("started"))
}

#[test]
fn processes_that_do_not_know_of_each_other_are_refused() {
    let srun = [("SLURM_STEP_NUM_TASKS", "4"), ("SLURM_PROCID", "0")];
    let text = alone_with(&srun);
    assert!(
        text.contains("error: srun started 4 processes that don't know"),
        "{text}"
    );
    let text = alone_with(&[("RANK", "0"), ("WORLD_SIZE", "4")]);
    assert!(
        text.contains("error: torchrun started 4 processes"),
        "{text}"
    );
    let text = alone_with(&[
        ("PMI_SIZE", "4"),
        ("PMI_RANK", "0"),
        ("EMBERLENS_MPI", "no/libmpi.so"),
    ]);
    assert!(
        text.contains("error: no/libmpi.so can't be used as the MPI library"),
        "{text}"
    );
}

#[test]
fn one_process_of_a_launcher_needs_no_library() {
    let text = alone_with(&[
        ("PMI_SIZE", "1"),
        ("PMI_RANK", "0"),
        ("EMBERLENS_MPI", "no/libmpi.so"),
    ]);
    assert!(text.contains("alone"), "{text}");
}

#[test]
#[ignore = "needs mpiexec"]
fn a_library_under_the_launcher_of_another_is_refused() {
    let found = library_found().expect("usable").expect("a library");
    let library = found.path.to_str().expect("text");
    // What the launchers set without which the library comes up alone.
    let text = alone_with(&[
        ("PMI_SIZE", "3"),
        ("PMI_RANK", "0"),
        ("MPI_LOCALNRANKS", "3"),
        ("EMBERLENS_MPI", library),
    ]);
    let words = format!(
        " started 3 processes, but for {} ({library}) this",
        found.version
    );
    assert!(text.contains(&words), "{text}");
}
