//! Jobs under real launchers: the `mpiexec` on the path, or those in `EMBERLENS_MPIEXEC`, separated
//! like a path. A job runs this very program, with `as_a_rank` as its only test.

mod rank;

use std::env;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

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
fn job(launcher: &PathBuf, count: usize, name: &str) -> Command {
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

fn text(output: &Output) -> String {
    let all = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&all).into_owned()
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
