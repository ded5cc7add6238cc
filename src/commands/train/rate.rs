//! Searches for a learning rate instead of training: a figure and two numbers.

use std::path::Path;

use super::{fetch_weights, words::warn};
use crate::{
    base::{
        io::files::write_atomic,
        names,
        progress::{Progress, Task},
        usage::UsageError,
    },
    commands::{
        common::{exit_status::ExitStatus, folders, inputs},
        ui::{self, Terminal, say},
    },
    config::Config,
    record::EpochRecord,
    report::rate_curve,
    train::{
        Observer, Session, find_rate,
        rules::rate_finder::{DIVERGED, RateCurve, STEPS, Suggested},
    },
};

/// Searches for a rate for a recipe, draws the loss by rate into `file`, and prints the suggested
/// rates. Of several folds, the first is trained on.
///
/// # Errors
/// Returns an error if the file exists or isn't a kind of figure, the recipe can't be trained, or
/// no rate can be suggested.
pub(super) fn find(config: &Config, file: &Path) -> anyhow::Result<ExitStatus> {
    let is_png = file.extension().is_some_and(|kind| kind == "png");
    if !is_png && file.extension().is_none_or(|kind| kind != "svg") {
        let message = format!(
            "--find-rate: found {}, expected a file that ends with .svg or .png",
            names::of_path(file)
        );
        return Err(UsageError(message).into());
    }
    if file.exists() {
        let message = format!(
            "the file already exists; choose another with --find-rate=FILE: {}",
            names::of_path(file)
        );
        return Err(UsageError(message).into());
    }
    folders::refuse_inside(file, &folders::of_data(&config.data), "--find-rate")?;
    let config = match config.all_folds() {
        Some(_) => config.of_repeat(1).of_fold(1),
        None => config.clone(),
    };
    let data = inputs::load(&config)?;
    warn(&data, &config);
    fetch_weights(&config)?;
    let compute = ui::open_device(config.device)?;
    let session = Session::start(config.clone(), &data, &compute.device)?;
    session.remarks.iter().for_each(|remark| say(remark));
    let curve = find_rate(session, &View::new(&config))?;
    let Some(suggested) = curve.suggested() else {
        anyhow::bail!(
            "the loss ended the search after {} of {STEPS} steps, at a learning rate of {}: too \
             few to suggest one; look at the images and at the network's initial weights",
            curve.rates.len(),
            shown(curve.rates.last().copied().unwrap_or(f64::NAN))
        );
    };
    let figure = rate_curve(
        [&curve.rates, &curve.losses],
        [suggested.valley, suggested.steepest],
    );
    let bytes = if is_png {
        figure.png().map_err(anyhow::Error::msg)?
    } else {
        figure.svg().into_bytes()
    };
    write_atomic(file, &bytes)?;
    ui::print(&words(&config, &curve, suggested))?;
    say(&format!("Figure: {}", names::of_path(file)));
    Ok(ExitStatus::Done)
}

/// Describes the result of a search.
fn words(config: &Config, curve: &RateCurve, suggested: Suggested) -> String {
    let Suggested {
        valley,
        steepest,
        steepest_is_noise,
    } = suggested;
    let noise = if steepest_is_noise {
        ": beyond the lowest loss, where that means nothing"
    } else {
        ""
    };
    let last = shown(curve.rates.last().copied().unwrap_or(f64::NAN));
    let end = if curve.has_diverged() {
        format!("ended at {last}, where the loss was over {DIVERGED} times its lowest")
    } else {
        format!("reached {last}, and the loss stayed below {DIVERGED} times its lowest")
    };
    let first = &config.phases()[0];
    let now = first
        .learning_rate
        .unwrap_or(config.train.optimizer.learning_rate());
    let (phase, advice) = if config.train.phases.is_empty() {
        (
            "",
            format!(
                "To train with the valley: --set train.optimizer.learning_rate={}",
                shown(valley)
            ),
        )
    } else {
        (
            " of the first phase",
            "To train with one, set `learning_rate` of the first [[train.phases]]".to_owned(),
        )
    };
    format!(
        "Valley    {}   in the middle of the longest descent of the loss\n\
         Steepest  {}   where the loss falls fastest{noise}\n\
         The search took {} steps{phase} and {end}.\n\
         The recipe has {}. {advice}.\n",
        shown(valley),
        shown(steepest),
        curve.rates.len(),
        shown(now)
    )
}

/// Formats a learning rate with two digits.
fn shown(rate: f64) -> String {
    format!("{rate:.1e}")
}

/// Shows a search as a progress bar of its steps.
struct View {
    steps: Box<dyn Task>,
}

impl View {
    fn new(config: &Config) -> Self {
        let steps = Terminal.items("Searching");
        steps.set_total(STEPS * config.train.batch_size * config.train.accumulate);
        Self { steps }
    }
}

impl Observer for View {
    fn epoch_started(&self, _epoch: usize, _done: usize, _total: usize) {}

    fn trained(&self, images: usize, _loss: f64, _accuracy: f64) {
        self.steps.add(images);
    }

    fn computed_features(&self, _done: usize, _total: usize) {}

    fn validated(&self, _images: usize) {}

    fn epoch_ended(&self, _record: &EpochRecord) {}

    fn say(&self, line: &str) {
        say(line);
    }
}
