//! Ranks of a job under a real launcher: `mpiexec` on the path, or the one that EMBERLENS_MPIEXEC
//! names. Any number of them gives the same bytes.

#![cfg(unix)]

use std::{
    process::{Child, Command, ExitStatus, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{Place, Ran};

/// Steps of eight batches; the last of an epoch has one, so that most ranks have none.
const ALL: &str = "epochs = 4\naccumulate = 8\nclip_norm = 1.0\nema_decay = 0.9\n\
                   checkpoint = { every_steps = 1 }\n\
                   schedule = { kind = 'plateau', monitor = 'val_loss', patience = 1 }\n\
                   early_stopping = { monitor = 'val_loss', patience = 20 }";

fn place(train: &str) -> Place {
    let place = Place::new();
    place.classes("train", &[57, 45]);
    place.recipe("", train);
    let norms = "hidden = 16\nbatch_norm = true\nhead_norm = true";
    place.replace("small.toml", "hidden = 16", norms);
    place
}

/// The launcher's command line for so many ranks of the program.
fn job(place: &Place, ranks: usize, line: &str) -> Command {
    let mpiexec = std::env::var("EMBERLENS_MPIEXEC").unwrap_or_else(|_| "mpiexec".to_owned());
    let version = Command::new(&mpiexec).arg("--version").output();
    let version = version.expect("an mpiexec, from `pip install mpich` or the system's packages");
    let program = place.command(line);
    let mut command = Command::new(mpiexec);
    command.args(["-n", &ranks.to_string()]);
    if !String::from_utf8_lossy(&version.stdout).contains("HYDRA") {
        command.args(["--oversubscribe", "--bind-to", "none"]);
    }
    command.arg(program.get_program()).args(program.get_args());
    command.current_dir(place.path(""));
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // Open MPI refuses root otherwise.
    command.envs([
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
        ("RAYON_NUM_THREADS", "1"),
    ]);
    command
}

fn ran(place: &Place, ranks: usize, line: &str) -> Ran {
    Ran::from(job(place, ranks, line).output().expect("started"))
}

fn done(place: &Place, ranks: usize, line: &str) -> Ran {
    let ran = ran(place, ranks, line);
    assert_eq!(
        ran.code,
        Some(0),
        "{ranks} ranks, {line}\n{}\n{}",
        ran.out,
        ran.err
    );
    ran
}

/// A job that runs. What is left of it at the end of a test is killed.
struct Job<'place> {
    place: &'place Place,
    launcher: Child,
}

/// What a job says, of all ranks.
const SAID: &str = "said.txt";

impl<'place> Job<'place> {
    fn start(place: &'place Place, ranks: usize, line: &str) -> Self {
        let said = std::fs::File::create(place.path(SAID)).expect("created");
        let mut command = job(place, ranks, line);
        command.stdout(Stdio::null()).stderr(said);
        let launcher = command.spawn().expect("started");
        Self { place, launcher }
    }

    /// Waits until the job has written a file, or is over.
    fn wait_for(&mut self, file: &str) {
        let path = self.place.path(file);
        self.wait_until(Duration::from_mins(3), file, || path.exists());
    }

    /// Waits until the job is over, for no longer than this.
    fn ended_within(mut self, limit: Duration) -> Ran {
        let status = self.wait_until(limit, "its end", || false);
        Ran {
            code: status.expect("it is over").code(),
            out: String::new(),
            err: self.place.read(SAID),
        }
    }

    fn wait_until(
        &mut self,
        limit: Duration,
        what: &str,
        is_there: impl Fn() -> bool,
    ) -> Option<ExitStatus> {
        let begin = Instant::now();
        while !is_there() {
            if let Some(status) = self.launcher.try_wait().expect("asked") {
                return Some(status);
            }
            assert!(
                begin.elapsed() < limit,
                "waited {limit:?} for {what}; left are {:?}, said was:\n{}",
                members(self.place),
                self.place.read(SAID)
            );
            sleep(Duration::from_millis(2));
        }
        None
    }
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        // A launcher may not get rid of a stopped process.
        for member in members(self.place) {
            let _ = kill(member, Signal::SIGKILL);
        }
        if let Ok(None) = self.launcher.try_wait() {
            let _ = self.launcher.kill();
            let _ = self.launcher.wait();
        }
    }
}

/// The processes of the job that runs in the folder of the test, by rank.
fn members(place: &Place) -> Vec<Pid> {
    let folder = place.path("").canonicalize().expect("it is there");
    let of_process = |entry: std::fs::DirEntry| {
        let number: i32 = entry.file_name().to_str()?.parse().ok()?;
        let is_program = std::fs::read_link(entry.path().join("exe"))
            .ok()?
            .ends_with("emberlens");
        let is_here = std::fs::read_link(entry.path().join("cwd")).ok()? == folder;
        let environment = std::fs::read(entry.path().join("environ")).ok()?;
        let rank = environment.split(|byte| *byte == 0).find_map(|line| {
            let line = std::str::from_utf8(line).ok()?;
            let rank = line.strip_prefix("OMPI_COMM_WORLD_RANK=");
            rank.or(line.strip_prefix("PMI_RANK="))?
                .parse::<usize>()
                .ok()
        });
        (is_program && is_here).then(|| (rank, Pid::from_raw(number)))
    };
    let processes = std::fs::read_dir("/proc").expect("listed").flatten();
    let mut found: Vec<_> = processes.filter_map(of_process).collect();
    found.sort_unstable();
    found.into_iter().map(|(_, process)| process).collect()
}

#[test]
#[ignore = "needs mpiexec"]
fn any_number_of_ranks_gives_the_same_bytes() {
    for (settings, counts) in [
        ("", &[2, 3, 4, 8][..]),
        (" --set augment.mixup.alpha=0.4", &[3]),
        (
            " --set model.weights=first/best/model.safetensors --set model.freeze=backbone \
             --set train.feature_cache=2",
            &[2, 3],
        ),
    ] {
        let place = place(ALL);
        place.done("train --config small.toml --out first --set train.epochs=1");
        place.done(&*format!("train --config small.toml --out alone{settings}"));
        for count in counts {
            // Features are computed anew, each rank its share.
            let _ = std::fs::remove_dir_all(place.path("cache"));
            let out = format!("train --config small.toml --out run{count}{settings}");
            let said = done(&place, *count, &out);
            said.tells(&format!(
                "{count} ranks on 1 host; a step has 8 batches of 5 images"
            ));
            said.tells("Ranks waited for each other");
            assert_eq!(said.err.matches("Run folder").count(), 1, "{}", said.err);
            let found = place.result(&format!("run{count}"));
            assert!(found == place.result("alone"), "{count} ranks,{settings}");
            // What all have measured, and of which rank 0 has written all.
            let report = format!("run{count}/evaluation/val/predictions.csv");
            assert_eq!(
                place.read(&report),
                place.read("alone/evaluation/val/predictions.csv")
            );
            let line = "evaluate --checkpoint alone --split val --json --device cpu";
            let alone = place.done(line).json();
            assert_eq!(
                done(&place, *count, line).json()["accuracy"],
                alone["accuracy"]
            );
        }
    }
}

#[test]
#[ignore = "needs mpiexec"]
fn ten_jobs_with_a_killed_rank_end_with_the_same_bytes() {
    let place = place(ALL);
    let begin = Instant::now();
    done(&place, 1, "train --config small.toml --out whole");
    let whole = begin.elapsed();
    let mut line = "train --config small.toml --out killed";
    let mut state = 4711u64;
    for _ in 0..10 {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (ranks, moment) = (
            1 + (state >> 33) % 4,
            (state >> 40) as f64 / f64::from(1 << 24),
        );
        let mut job = Job::start(&place, ranks as usize, line);
        job.wait_for("killed/last/meta.json");
        sleep(whole.mul_f64(moment));
        let members = members(&place);
        if let Some(victim) = members.get((state >> 20) as usize % members.len().max(1)) {
            // It may have ended by itself.
            let _ = kill(*victim, Signal::SIGKILL);
        }
        job.ended_within(Duration::from_secs(20));
        line = "train --resume killed";
    }
    done(&place, 3, "train --resume killed");
    assert!(place.result("whole") == place.result("killed"));
}

#[test]
#[ignore = "needs mpiexec"]
fn a_signal_to_one_rank_stops_all_and_saves() {
    let place = place(ALL);
    done(
        &place,
        2,
        "train --config small.toml --out whole --set train.epochs=60",
    );
    let line = "train --config small.toml --out stopped --set train.epochs=60";
    let mut job = Job::start(&place, 3, line);
    job.wait_for("stopped/history.csv");
    kill(members(&place)[1], Signal::SIGUSR1).expect("sent");
    let said = job.ended_within(Duration::from_mins(1));
    let code = 128 + Signal::SIGUSR1 as i32;
    assert_eq!(said.code, Some(code), "{}", said.err);
    done(&place, 4, "train --resume stopped");
    assert!(place.result("whole") == place.result("stopped"));
}

#[test]
#[ignore = "needs mpiexec"]
fn a_rank_that_hangs_or_fails_ends_the_job_and_is_named() {
    let place = place(ALL);
    let line = "train --config small.toml --out hung --patience 10 --set train.epochs=100000";
    let mut job = Job::start(&place, 3, line);
    job.wait_for("hung/history.csv");
    kill(members(&place)[1], Signal::SIGSTOP).expect("sent");
    let said = job.ended_within(Duration::from_secs(30));
    assert_ne!(said.code, Some(0));
    said.tells("rank 1 ");
    place.done("train --resume hung --dry-run");
    // An image that only some ranks still find.
    let line =
        "train --config small.toml --out other --set data.cache=off --set train.epochs=100000";
    let mut job = Job::start(&place, 2, line);
    job.wait_for("other/history.csv");
    std::fs::remove_file(place.path("train/a/000.png")).expect("removed");
    let said = job.ended_within(Duration::from_secs(30));
    assert_ne!(said.code, Some(0));
    said.tells("000.png");
}

#[test]
#[ignore = "needs mpiexec"]
fn what_a_job_cannot_be_is_refused_before_the_first_step() {
    let place = place("epochs = 1\naccumulate = 4");
    ran(&place, 6, "train --config small.toml --out run").exits(
        2,
        "found 6 ranks, but a step has 4 batches (train.accumulate)",
    );
    ran(&place, 2, "train --config small.toml --out run --folds 3")
        .exits(2, "found 2 ranks for a run of several networks");
    assert!(!place.path("run").exists());
    let said = done(&place, 3, "train --config small.toml --out run");
    said.tells("at most 2 batches each: 4 of 6 places used");
}

#[test]
#[ignore = "needs mpiexec"]
fn the_program_starts_mpiexec_itself() {
    let place = place("epochs = 1\naccumulate = 2");
    place.done("train --config small.toml --out alone");
    let mut command = place.command("train --ranks 2 --config small.toml --out two");
    command.envs([
        ("OMPI_ALLOW_RUN_AS_ROOT", "1"),
        ("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1"),
    ]);
    let said = Ran::from(command.output().expect("started"));
    assert_eq!(said.code, Some(0), "{}", said.err);
    said.tells("2 ranks on 1 host");
    assert!(place.result("alone") == place.result("two"));
}

#[test]
fn a_launcher_that_has_no_engine_is_refused() {
    let place = place("epochs = 1\naccumulate = 4");
    let mut command = place.command("train --config small.toml --out run");
    command.envs([
        ("SLURM_STEP_NUM_TASKS", "4"),
        ("SLURM_PROCID", "0"),
        ("SLURM_LOCALID", "0"),
    ]);
    let said = Ran::from(command.output().expect("started"));
    assert_ne!(said.code, Some(0), "{}", said.err);
    said.tells("--mpi=");
    let mut command = place.command("train --ranks 2 --config small.toml --out run");
    command.env("EMBERLENS_MPIEXEC", "no-such-mpiexec");
    Ran::from(command.output().expect("started")).exits(2, "pip install mpich");
    assert!(!place.path("run").exists());
}
