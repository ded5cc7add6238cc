//! `emberlens train`: a recipe becomes a run folder; a run goes on where it was left.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::Context;
use clap::Parser;

use super::{
    data_folders,
    evaluate::{Pictures, RUNS_TEST, RUNS_VALIDATION, Setup},
    evaluation::Evaluation,
    init::Draft,
    place, preview,
    report::{self, Subject},
    ui::{self, Reading, TrainingView, UsageError, say},
    weights,
};
use crate::{
    base::{files::write_atomic, names},
    checkpoint,
    cli::Ending,
    config::{self, ClassWeights, Config, DeviceName, OnLeak, Weights},
    data::{
        Listed, TrainingData,
        leaks::known_to,
        listing::{Listing, Part},
        load_for_training,
        survey::Survey,
        table::Skipped,
    },
    inspect::{Finding, Inspection, Kind, counted},
    nn::{device::Compute, estimate::Estimate, summary::summary},
    train::{Outcome, Session, TrainError, check_augmented_classes, check_memory, fit},
};

/// Arguments of `train`.
#[derive(Debug, Parser)]
pub struct Args {
    /// A folder of pictures, for which a recipe is made as `init` does; or a recipe
    #[arg(value_name = "DIR|FILE", conflicts_with_all = ["config", "resume"])]
    source: Option<PathBuf>,
    /// The recipe
    #[arg(long, value_name = "FILE", required_unless_present_any = ["resume", "source"])]
    config: Option<PathBuf>,
    /// Go on with a run: its folder, or one checkpoint in it; without a value, the newest run of the recipe's name
    #[arg(long, value_name = "RUN", num_args = 0..=1)]
    resume: Option<Option<PathBuf>>,
    /// auto, gpu, gpu:N, cpu or ndarray, instead of the recipe's
    #[arg(long, value_name = "D")]
    device: Option<DeviceName>,
    /// The run folder, instead of checkpoints/NAME
    #[arg(long, value_name = "RUN", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Change one value of the recipe, as in --set train.epochs=5
    #[arg(long = "set", value_name = "KEY.PATH=VALUE")]
    overrides: Vec<String>,
    /// Read and check everything, show what would be trained, train and write nothing
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// Anything that ends a run.
pub fn run(mut args: Args) -> anyhow::Result<Ending> {
    if let Some(device) = args.device {
        args.overrides.push(format!("device={device}"));
    }
    match &args.resume {
        None => start(&args),
        Some(run) => resume(&args, run.as_deref()),
    }
}

fn start(args: &Args) -> anyhow::Result<Ending> {
    let path = args.config.as_deref().or(args.source.as_deref()).expect("clap asks for one of them where there is no --resume");
    let config = match &args.source {
        Some(folder) if folder.is_dir() => recipe_for(folder, &args.overrides)?,
        Some(list) if list.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) => {
            let list = names::of_path(list);
            let message = format!("{list} is a list of pictures; a recipe that trains on it has data.train = \"{list}\" in it");
            return Err(UsageError(message).into());
        }
        _ => config::load(path, &args.overrides)?,
    };
    if let Some(out) = &args.out {
        data_folders::refuse_inside(out, &data_folders::of_data(&config.data), "--out")?;
    }
    // What can't fit with one picture and two classes need not wait for all pictures to be read.
    check_memory(&Estimate::of(&config, 2, 1), matches!(config.device, DeviceName::Cpu | DeviceName::Ndarray))?;
    let mut data = load(&config)?;
    warn(&data, &config);
    if config.model.weights() == Weights::Imagenet {
        weights::ensure(config.model.architecture)?;
    }
    let compute = ui::open_device(config.device)?;
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => free_folder(&config.name),
    };
    if args.dry_run {
        let scratch = tempfile::tempdir().context("can't make a temporary folder")?;
        let session = Session::start(config, &data, scratch.path(), &compute.device)?;
        say(&summary_table(&session));
        say("A dry run: nothing was trained or written.");
        return Ok(Ending::Done);
    }
    let started = Session::start(config, &data, &folder, &compute.device);
    let session = started.map_err(|error| what_to_do(error, ", or choose another folder with --out"))?;
    // What was seen of the pictures lies in the run folder now, and takes 4 KiB each.
    data.survey = Survey::default();
    if !data.skipped.is_empty() {
        say(&format!("What was skipped is listed in {}", names::of_path(&folder.join("skipped.csv"))));
    }
    if session.config.augment.is_active() {
        write_atomic(&folder.join("augmentation.png"), &preview::sample(&session.config, &data.train)?)?;
    }
    train(session, data, &compute)
}

/// The recipe that `init` would write for a folder of pictures; the run folder will have it.
fn recipe_for(folder: &Path, overrides: &[String]) -> anyhow::Result<Config> {
    if ["last", "best"].iter().any(|name| folder.join(name).join("meta.json").is_file()) {
        let message = format!("{0} is a run, not a folder of pictures; to go on with it: emberlens train --resume {0}", folder.display());
        return Err(UsageError(message).into());
    }
    let draft = Draft::of(folder)?;
    say(&draft.about);
    let origin = PathBuf::from(format!("the recipe for {}", folder.display()));
    Ok(config::parse(&draft.text, &origin, overrides)?)
}

fn resume(args: &Args, run: Option<&Path>) -> anyhow::Result<Ending> {
    let run = match (run, &args.config) {
        (Some(run), _) => run.to_owned(),
        (None, Some(config)) => newest_run(&config::load(config, &args.overrides)?.name)?,
        (None, None) => {
            return Err(UsageError("--resume without a run needs --config, whose name says which runs are meant".to_owned()).into());
        }
    };
    let path = checkpoint::resolve(&run, "last")?;
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let checkpoint = checkpoint::load(&path)?;
    let recipe = args.config.clone().unwrap_or_else(|| folder.join("config.toml"));
    let config = config::load(&recipe, &args.overrides)?;
    let mut data = read(&config)?;
    warn(&data, &config);
    weights::ensure_for(&checkpoint)?;
    let compute = ui::open_device(config.device)?;
    let session = Session::resume(config, &data, &folder, &compute.device, checkpoint)?;
    data.survey = Survey::default();
    if args.dry_run {
        say("A dry run: the run can be resumed.");
        return Ok(Ending::Done);
    }
    match session.finished() {
        Some(end) => say(&format!("Nothing to train: {end}. To go on, raise --set train.epochs=N or train.early_stopping.patience=N.")),
        None => say(&format!("Resuming {} after epoch {}, batch {}", names::of_path(&folder), session.state.epoch, session.state.batch)),
    }
    train(session, data, &compute)
}

/// Trains, then measures the best epoch on the test pictures.
fn train(mut session: Session, data: TrainingData, compute: &Compute) -> anyhow::Result<Ending> {
    let folder = session.folder.clone();
    let stop = on_interrupt()?;
    if session.state.step == 0 {
        say(&summary_table(&session));
    }
    say(&format!("Run folder: {}", names::of_path(&folder)));
    let outcome = {
        let view = TrainingView::new(session.state.epoch, session.config.train.epochs);
        let then = format!(", then go on with: emberlens train --resume {}", folder.display());
        fit(&mut session, &view, &stop).map_err(|error| what_to_do(error, &then))?
    };
    if outcome.is_interrupted {
        say(&format!("Stopped by Ctrl-C; saved. Go on with: emberlens train --resume {}", names::of_path(&folder)));
        return Ok(Ending::Interrupted);
    }
    finish(&session, data, compute, outcome)
}

fn finish(session: &Session, data: TrainingData, compute: &Compute, outcome: Outcome) -> anyhow::Result<Ending> {
    let folder = &session.folder;
    if outcome.data_wait_share > 0.0 {
        say(&format!("Steps waited for pictures {:.1} % of the time", outcome.data_wait_share * 100.0));
    }
    let Some((value, epoch)) = session.state.best.found else {
        say("warning: no epoch had a usable metric, so there is no best one");
        return Ok(Ending::Partly);
    };
    say(&format!("Restoring model weights from the end of the best epoch: {epoch}."));
    let monitor = &session.config.train.checkpoint.monitor;
    let mut text = format!("Best epoch {epoch}: {monitor} {value:.4}\n");
    let best = checkpoint::load(&folder.join("best"))?;
    let batch_size = session.config.train.batch_size;
    let setup = Setup { run: Some(folder), data: &session.config.data, compute, batch_size, tta: None };
    let name = if data.test.is_empty() { "val" } else { "test" };
    let evaluation = if data.test.is_empty() {
        // `split.csv` says which of them are copies.
        let listed = Listed { set: Arc::clone(&session.validation), facts: Vec::new(), skipped: Vec::new() };
        Evaluation::of(&best, listed, RUNS_VALIDATION.to_owned(), known_to(Part::Validation), &setup)?
    } else {
        let pictures = Pictures {
            entries: data.test,
            skipped: data.skipped.into_iter().filter(|file| file.split == Part::Test.name()).collect(),
            name: name.to_owned(),
            source: RUNS_TEST.to_owned(),
            known: known_to(Part::Test),
        };
        let found = Evaluation::run(&best, pictures, &setup)?;
        text.push_str(&found.to_text());
        found
    };
    evaluation.write(&place::free(&folder.join("evaluation"), name, &evaluation.data.blake3)?)?;
    text.push_str(&format!("Run folder: {}\n", names::of_path(folder)));
    ui::print(&text)?;
    report::write(&Subject { evaluation: &evaluation, name, checkpoint: &best, run: Some(folder), compute }, folder)?;
    Ok(Ending::Done)
}

/// An error of the system with what to do about it.
fn what_to_do(error: TrainError, then: &str) -> anyhow::Error {
    use std::io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    let advice = match error.kind() {
        Some(StorageFull | QuotaExceeded) => "free some space",
        Some(PermissionDenied | ReadOnlyFilesystem) => "make the folder writable",
        _ => return error.into(),
    };
    anyhow::anyhow!("{error}; {advice}{then}")
}

/// Reads the pictures and tells what was found, what was passed over and what was skipped.
///
/// # Errors
/// Data that can't be trained on; a pattern of `data.exclude` without effect.
pub fn load(config: &Config) -> anyhow::Result<TrainingData> {
    let data = read(config)?;
    match &data.without_effect {
        Some(words) => Err(UsageError(words.clone()).into()),
        None => Ok(data),
    }
}

/// As [`load`], of a run that was started: what a pattern left out may be gone since.
fn read(config: &Config) -> anyhow::Result<TrainingData> {
    let data = {
        let bar = Reading::new("Reading pictures");
        load_for_training(&config.data, config.seed, &|count| bar.start(count), &|count| bar.done(count))?
    };
    check_augmented_classes(config, &data.classes)?;
    let found = |what: &str, count| say(&format!("{} ({what})", Listing::found(count, data.classes.len())));
    found("training", data.train.pictures.len());
    found("validation", data.validation.pictures.len());
    if !data.test.is_empty() {
        found("test, measured on at the end", data.test.len());
    }
    data.survey.notes.iter().chain(&data.survey.passed_over).for_each(|line| say(line));
    Skipped::words(&data.skipped).iter().for_each(|line| say(&format!("warning: {line}")));
    if let Some(test) = config.data.test.as_ref().filter(|_| data.test.is_empty()) {
        say(&format!("warning: there is no picture in {test} that can be read, so that there is no test"));
    }
    let counts = data.train.class_counts();
    let lines: Vec<_> = data.classes.iter().zip(&counts).map(|(class, count)| format!("{class} {count}")).collect();
    say(&format!("Training pictures a class: {}; {}", lines.join(", "), data.train.store.place()));
    if let Some(class) = data.validation.class_counts().iter().position(|count| *count == 0) {
        say(&format!("warning: no validation picture of the class {}", names::quoted(&data.classes[class])));
    }
    Ok(data)
}

/// A line for each finding.
fn warn(data: &TrainingData, config: &Config) {
    let found = Inspection::of(data.survey.clone(), None);
    let is_settled = |finding: &Finding| match finding.kind {
        Kind::Imbalance => config.train.class_weights != ClassWeights::None,
        // These have lines of their own.
        Kind::Unreadable => !data.skipped.is_empty(),
        Kind::Leak | Kind::ValidationLeak => config.data.on_leak == OnLeak::Exclude,
        _ => false,
    };
    for finding in found.findings.iter().filter(|finding| !is_settled(finding)) {
        let first = finding.first.as_ref().map_or_else(String::new, |first| format!("; the first: {first}"));
        say(&format!("warning: {}{first}", finding.what));
    }
    if !data.excluded.is_empty() {
        let count = |part| data.excluded.iter().filter(|index| data.survey.seen[**index].part == part).count();
        say(&format!(
            "{} and {} are copies of pictures that are measured on and were left out for that (data.on_leak = \"exclude\")",
            counted(count(Part::Train), "training picture"),
            counted(count(Part::Validation), "validation picture"),
        ));
    }
    if !found.findings.is_empty() {
        say("`emberlens inspect` with this recipe lists all of that and says what to do");
    }
}

/// Keras's `model.summary()`.
fn summary_table(session: &Session) -> String {
    let layers = summary(&session.model, session.stepper.entrance.shape, session.stepper.frozen);
    let mut table = ui::table(&["Layer", "Output shape", "Parameters", "Trainable"]);
    for layer in &layers {
        let shape: Vec<_> = layer.output_shape.iter().map(ToString::to_string).collect();
        let count = layer.trainable + layer.others;
        let trainable = match (layer.trainable, layer.others) {
            (0, 0) => String::new(),
            (0, _) => "no".to_owned(),
            (_, 0) => "yes".to_owned(),
            (trainable, _) => format!("{trainable} of {count}"),
        };
        table.add_row([layer.name.clone(), shape.join(" x "), count.to_string(), trainable]);
    }
    ui::align_right(&mut table, [1, 2]);
    let (trainable, others) = layers.iter().fold((0, 0), |sum, layer| (sum.0 + layer.trainable, sum.1 + layer.others));
    let average = session.average_words().map_or_else(String::new, |words| format!("\n{words}"));
    format!("{table}\nParameters: {}, trainable {trainable}\n{}{average}", trainable + others, session.memory_words())
}

/// `checkpoints/NAME`, or the first of `NAME-2`, `NAME-3`, ... that isn't there.
fn free_folder(name: &str) -> PathBuf {
    let folder = |count: usize| Path::new("checkpoints").join(if count == 1 { name.to_owned() } else { format!("{name}-{count}") });
    (1..).map(folder).find(|folder| !folder.exists()).expect("there are more numbers than folders")
}

/// Of `NAME`, `NAME-2`, ... the one whose `last/` was saved last.
fn newest_run(name: &str) -> anyhow::Result<PathBuf> {
    let runs = std::fs::read_dir("checkpoints")
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_else(|_| Vec::new());
    let is_of_name = |path: &PathBuf| {
        let folder = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        folder == name || folder.strip_prefix(&format!("{name}-")).is_some_and(|count| count.parse::<usize>().is_ok())
    };
    let saved = |path: &PathBuf| std::fs::metadata(path.join("last").join("meta.json")).and_then(|meta| meta.modified()).ok();
    let newest = runs.into_iter().filter(is_of_name).filter_map(|path| saved(&path).map(|time| (time, path))).max();
    newest
        .map(|(_, path)| path)
        .ok_or_else(|| UsageError(format!("found no run to resume, expected checkpoints/{name} with a last/ in it")).into())
}

/// Ctrl-C sets the flag; a second one ends the program at once.
fn on_interrupt() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        say("Ctrl-C: finishing the step and saving; press it again to stop at once");
    })
    .context("can't watch for Ctrl-C")?;
    Ok(stop)
}
