//! Describes the images and the network before training.

use crate::{
    base::words::counted,
    commands::ui::say,
    config::{ClassWeights, Config, OnLeak},
    data::{TrainingData, listing::Part},
    inspect::{Finding, Inspection, Judge, Kind},
    nn::networks::summary::summary,
    report::text_table,
    train::Session,
};

/// Reports each finding about the images that the recipe doesn't settle, in one line.
pub(super) fn warn(data: &TrainingData, config: &Config) {
    let found = Inspection::of(data.survey.clone(), &Judge::Looks);
    let is_settled = |finding: &Finding| match finding.kind {
        Kind::Imbalance => {
            config.train.class_weights != ClassWeights::None || config.data.takes_unlabeled
        }
        // These have lines of their own.
        Kind::Unreadable => !data.skipped.is_empty(),
        Kind::Damaged => !data.damaged.is_empty(),
        Kind::Leak | Kind::ValidationLeak => config.data.on_leak == OnLeak::Exclude,
        _ => false,
    };
    for finding in found.findings.iter().filter(|finding| !is_settled(finding)) {
        let first = finding
            .first
            .as_ref()
            .map_or_else(String::new, |first| format!("; the first: {first}"));
        say(&format!("warning: {}{first}", finding.what));
    }
    if !data.excluded.is_empty() {
        let count = |part| {
            data.excluded
                .iter()
                .filter(|index| data.survey.seen[**index].part == part)
                .count()
        };
        say(&format!(
            "{} and {} are copies of validation or test images and were left out (data.on_leak = \
             \"exclude\")",
            counted(count(Part::Train), "training image"),
            counted(count(Part::Validation), "validation image"),
        ));
    }
    if !found.findings.is_empty() {
        say("`emberlens inspect` with this recipe lists all findings with what to do");
    }
}

/// Returns the layers of the network as a table, like Keras's `model.summary()`.
pub(super) fn summary_table(session: &Session) -> String {
    let learner = &session.learner;
    let layers = summary(
        &learner.model,
        learner.stepper.network_input.shape,
        learner.stepper.frozen,
    );
    let mut table = text_table::table(&["Layer", "Output shape", "Parameters", "Trainable"]);
    for layer in &layers {
        let shape: Vec<_> = layer.output_shape.iter().map(ToString::to_string).collect();
        let count = layer.trainable + layer.others;
        let trainable = match (layer.trainable, layer.others) {
            (0, 0) => String::new(),
            (0, _) => "no".to_owned(),
            (_, 0) => "yes".to_owned(),
            (trainable, _) => format!("{trainable} of {count}"),
        };
        table.add_row([
            layer.name.clone(),
            shape.join(" x "),
            count.to_string(),
            trainable,
        ]);
    }
    text_table::align_right(&mut table, [1, 2]);
    let (trainable, others) = layers.iter().fold((0, 0), |sum, layer| {
        (sum.0 + layer.trainable, sum.1 + layer.others)
    });
    let average = session
        .average_words()
        .map_or_else(String::new, |words| format!("\n{words}"));
    format!(
        "{table}\nParameters: {}, trainable {trainable}\n{}{average}",
        trainable + others,
        session.memory_words()
    )
}
