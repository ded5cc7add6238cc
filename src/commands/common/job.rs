//! The processes that train or measure together: started by `--ranks` or another launcher of MPI,
//! joined, and ended.

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use mpi_engine::launcher;
use tempfile::TempDir;

use crate::{
    base::{io::files::write_atomic, usage::UsageError},
    commands::{
        common::exit_status::ExitStatus,
        ui::{self, say},
    },
    config::{Cache, Config, DeviceName},
    data::duplicates::known,
    nn::device::count_gpus,
    ranks::Ranks,
    train::Session,
};

/// Joins the job that this process was started for; starts one of `wanted` processes where it was
/// started by itself.
///
/// # Errors
/// Returns an error if there is no launcher, or the processes can't find each other.
pub(in crate::commands) fn join(wanted: Option<usize>) -> anyhow::Result<Ranks> {
    if let Some(count) = wanted.filter(|count| *count > 1)
        && launcher().is_none()
    {
        launch(count)?;
    }
    let ranks = Ranks::join()?;
    if ranks.are_several() {
        ui::speak_for(ranks.rank(), ranks.host(ranks.rank()));
    }
    if let Some(wanted) = wanted.filter(|wanted| *wanted != ranks.count()) {
        let found = ranks.count();
        let message = format!(
            "found {found} ranks that a launcher started, expected {wanted} by --ranks; leave \
             --ranks out, or start the program without the launcher"
        );
        return Err(UsageError(message).into());
    }
    if ranks.are_several() {
        share_cores(&ranks)?;
    }
    Ok(ranks)
}

/// Replaces this process by a launcher that starts it `count` times.
fn launch(count: usize) -> anyhow::Result<()> {
    let mpiexec = env::var_os("EMBERLENS_MPIEXEC").unwrap_or_else(|| "mpiexec".into());
    let about = Command::new(&mpiexec).arg("--version").output();
    let about = about.map_err(|error| {
        UsageError(format!(
            "--ranks {count} needs MPI's mpiexec, and {} can't be started: {error}; install it \
             with `pip install mpich` or from your system's packages, or name it in \
             EMBERLENS_MPIEXEC",
            mpiexec.display()
        ))
    })?;
    let mut command = Command::new(&mpiexec);
    command.args(["-n", &count.to_string()]);
    let about = String::from_utf8_lossy(&about.stdout).to_lowercase();
    if about.contains("open mpi") || about.contains("openrte") || about.contains("prte") {
        // By default it gives each process a single core, and none more than there are cores.
        command.args(["--bind-to", "none", "--oversubscribe"]);
    }
    command.arg(env::current_exe().context("can't find this program")?);
    let mut args = env::args_os().skip(1);
    while let Some(arg) = args.next() {
        match arg.to_str() {
            Some("--ranks") => drop(args.next()),
            Some(arg) if arg.starts_with("--ranks=") => {}
            _ => drop(command.arg(arg)),
        }
    }
    start(command)
}

#[cfg(unix)]
fn start(mut command: Command) -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    // In place of this process, so that signals reach the launcher.
    Err(command.exec()).context("can't start mpiexec")
}

#[cfg(not(unix))]
fn start(_: Command) -> anyhow::Result<()> {
    let message = "--ranks needs MPI, which this program can use on Linux and macOS only";
    Err(UsageError(message.to_owned()).into())
}

/// Gives this process its part of the cores that it shares with others, for which a launcher that
/// binds processes to cores has cared already.
fn share_cores(ranks: &Ranks) -> anyhow::Result<()> {
    let own = format!("{}\0{}", ranks.host(ranks.rank()), allowed_cores());
    let all = ranks.gather(own.as_bytes())?;
    let sharing = all.iter().filter(|other| **other == own.as_bytes()).count();
    if env::var_os("RAYON_NUM_THREADS").is_none() && sharing > 1 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        rayon::ThreadPoolBuilder::new()
            .num_threads((cores / sharing).max(1))
            .build_global()?;
    }
    Ok(())
}

/// Returns the list of cores that this process may run on; empty where the system has none.
fn allowed_cores() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.unwrap_or_default().trim().to_owned()
}

/// Reads the images of a recipe. Where they are kept in a file, one rank of each machine writes it,
/// and the others find it; where each rank keeps its own, all read at once.
///
/// # Errors
/// Returns the error of `read`, or an error if a rank doesn't answer.
pub(in crate::commands) fn read_images<T>(
    config: &Config,
    ranks: &Ranks,
    read: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    match config.data.cache {
        Cache::Disk => ranks.first_here(read),
        _ => read(),
    }
}

/// Checks that all ranks have the same program and recipe, that it fits their number, and says how
/// they share a step. To be called before anything that follows from the recipe.
///
/// # Errors
/// Returns an error if ranks differ, some would have nothing to do, or the recipe trains several
/// networks.
pub(in crate::commands) fn check(config: &Config, ranks: &Ranks) -> anyhow::Result<()> {
    let (count, batches) = (ranks.count(), config.train.accumulate);
    if count == 1 {
        return Ok(());
    }
    ranks.check_same(&[("version of emberlens", env!("CARGO_PKG_VERSION").to_owned())])?;
    ranks.check_same_lines("recipe", &config.to_toml())?;
    if config.all_folds().is_some() || !config.train.learning_curve.is_empty() {
        refuse_several(ranks, "a run of several networks")?;
    }
    if count > batches {
        let message = format!(
            "found {count} ranks, but a step has {} (train.accumulate), of which each rank \
             computes whole ones; start {batches}, or set train.accumulate = {count} and divide \
             train.batch_size",
            of_batches(batches)
        );
        return Err(UsageError(message).into());
    }
    let hosts: BTreeSet<&str> = (0..count).map(|rank| ranks.host(rank)).collect();
    let places = count * batches.div_ceil(count);
    let share = if places == batches {
        format!("{} each", of_batches(batches / count))
    } else {
        format!(
            "at most {} each: {batches} of {places} places used",
            of_batches(batches.div_ceil(count))
        )
    };
    say(&format!(
        "{count} ranks on {} host{}; a step has {} of {} images, {share}; {}",
        hosts.len(),
        if hosts.len() == 1 { "" } else { "s" },
        of_batches(batches),
        config.train.batch_size,
        ranks.engine().unwrap_or_default()
    ));
    Ok(())
}

/// Refuses to do by several ranks what one does.
///
/// # Errors
/// Returns an error if there are several.
pub(in crate::commands) fn refuse_several(ranks: &Ranks, what: &str) -> anyhow::Result<()> {
    if !ranks.are_several() {
        return Ok(());
    }
    let message = format!(
        "found {} ranks for {what}, which is the work of one process; start it without mpiexec and \
         --ranks",
        ranks.count()
    );
    Err(UsageError(message).into())
}

fn of_batches(count: usize) -> String {
    match count {
        1 => "1 batch".to_owned(),
        _ => format!("{count} batches"),
    }
}

/// Returns the device of this rank: of several GPUs that are meant by `gpu` and `auto`, each rank
/// of a machine takes its own. Where each rank is shown one GPU, as Slurm can, that is the one.
///
/// # Errors
/// Returns an error if there are fewer GPUs, more than one, than ranks of this machine.
pub(in crate::commands) fn device(wanted: DeviceName, ranks: &Ranks) -> anyhow::Result<DeviceName> {
    let (rank, count) = ranks.local();
    if count == 1 || !matches!(wanted, DeviceName::Auto | DeviceName::Gpu(None)) {
        return Ok(wanted);
    }
    match count_gpus() {
        0 if wanted == DeviceName::Auto => Ok(DeviceName::Cpu),
        0 => Ok(wanted),
        1 => Ok(DeviceName::Gpu(Some(0))),
        gpus if gpus < count => {
            let message = format!(
                "found {gpus} GPUs for {count} ranks of this machine; start {gpus} on each, or \
                 choose --device cpu"
            );
            Err(UsageError(message).into())
        }
        _ => Ok(DeviceName::Gpu(Some(rank))),
    }
}

/// A run and a checkpoint in it, as this rank can read them.
pub(in crate::commands) struct Shared {
    /// Folder of the run.
    pub(in crate::commands) run: PathBuf,
    /// The checkpoint.
    pub(in crate::commands) path: PathBuf,
    /// Where the others than rank 0 have their copies, until the value is dropped.
    _copies: Option<TempDir>,
}

/// Sends the files of a run that are read with one of its checkpoints to the other ranks, which may
/// not have rank 0's disk. `run` is rank 0's folder.
///
/// # Errors
/// Returns an error if a file can't be read or written, or a rank doesn't answer.
pub(in crate::commands) fn share_run(
    ranks: &Ranks,
    run: &Path,
    checkpoint: &str,
) -> anyhow::Result<Shared> {
    if ranks.is_first() {
        send_run(ranks, run, checkpoint)?;
        return Ok(Shared {
            run: run.to_owned(),
            path: run.join(checkpoint),
            _copies: None,
        });
    }
    receive_run(ranks)
}

/// Sends the files of a run to the other ranks.
///
/// # Errors
/// As [`share_run`].
fn send_run(ranks: &Ranks, run: &Path, checkpoint: &str) -> anyhow::Result<()> {
    if !ranks.are_several() {
        return Ok(());
    }
    let mut files: Vec<_> = ["config.toml", "split.csv", known::LOOKS]
        .map(str::to_owned)
        .into();
    for entry in fs::read_dir(run.join(checkpoint))? {
        files.push(format!(
            "{checkpoint}/{}",
            entry?.file_name().to_string_lossy()
        ));
    }
    files.retain(|name| run.join(name).is_file());
    ranks.tell(checkpoint.as_bytes().to_vec())?;
    ranks.tell(files.join("\n").into_bytes())?;
    for name in &files {
        let path = run.join(name);
        let content =
            fs::read(&path).with_context(|| format!("can't read the run: {}", path.display()))?;
        ranks.tell(content)?;
    }
    Ok(())
}

/// Receives the files of a run from rank 0.
///
/// # Errors
/// As [`share_run`].
pub(in crate::commands) fn receive_run(ranks: &Ranks) -> anyhow::Result<Shared> {
    let folder = TempDir::new().context("can't create a folder for a copy of the run")?;
    let run = folder.path().to_owned();
    let checkpoint = ranks.tell(Vec::new())?;
    let path = run.join(String::from_utf8_lossy(&checkpoint).as_ref());
    fs::create_dir(&path)?;
    let names = ranks.tell(Vec::new())?;
    for name in String::from_utf8_lossy(&names).lines() {
        write_atomic(&run.join(name), &ranks.tell(Vec::new())?)?;
    }
    Ok(Shared {
        run,
        path,
        _copies: Some(folder),
    })
}

/// Lets a session of another rank than 0 follow the run in rank 0's folder.
///
/// # Errors
/// Returns an error if a rank doesn't answer.
pub(in crate::commands) fn follow(session: &mut Session, ranks: &Ranks) -> anyhow::Result<()> {
    if ranks.is_first() {
        let path = session.folder().to_string_lossy().into_owned();
        ranks.tell(path.into_bytes())?;
    } else {
        let path = ranks.tell(Vec::new())?;
        session.follow(PathBuf::from(String::from_utf8_lossy(&path).into_owned()));
    }
    Ok(())
}

/// Says how long the ranks waited for each other in a training that took `time`.
///
/// # Errors
/// Returns an error if a rank doesn't answer.
pub(in crate::commands) fn say_waits(ranks: &Ranks, time: Duration) -> anyhow::Result<()> {
    if !ranks.are_several() {
        return Ok(());
    }
    let own = ranks.waited().as_secs_f64() / time.as_secs_f64().max(1e-9);
    let all = ranks.gather(&own.to_le_bytes())?;
    let all: Vec<f64> = all
        .iter()
        .filter_map(|bytes| bytes.first_chunk().copied().map(f64::from_le_bytes))
        .collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let slowest = (0..all.len())
        .min_by(|a, b| all[*a].total_cmp(&all[*b]))
        .unwrap_or(0);
    say(&format!(
        "Ranks waited for each other and exchanged values {:.1} % of the time; rank {slowest} on \
         host {} waited least, {:.1} %",
        mean * 100.0,
        ranks.host(slowest),
        all[slowest] * 100.0
    ));
    Ok(())
}

/// Ends the job in order, with rank 0's status for all.
///
/// # Errors
/// Returns an error if a rank doesn't answer.
pub(in crate::commands) fn end(ranks: Ranks, status: ExitStatus) -> anyhow::Result<ExitStatus> {
    if !ranks.are_several() {
        return Ok(status);
    }
    let own = match status {
        ExitStatus::Done => [0, 0],
        ExitStatus::Partly => [1, 0],
        ExitStatus::Interrupted(code) => [2, code],
    };
    // The others wait for what rank 0 measures and reports.
    let told = ranks.told_by_first(|| anyhow::Ok(own.to_vec()))?;
    ranks.end()?;
    Ok(match told[..] {
        [1, _] => ExitStatus::Partly,
        [2, code] => ExitStatus::Interrupted(code),
        _ => ExitStatus::Done,
    })
}
