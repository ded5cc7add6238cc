//! The rules between knobs: values that can't work, and options that would have no effect.

mod augment;
mod layers;
mod normalize;
mod transfer;

use toml::Table;

use self::{
    augment::check_augment, layers::check_layers, normalize::check_normalize,
    transfer::check_transfer,
};
use super::{
    ClassWeights, Config, Loss, Model, Optimizer, PHANTOM, Pooling, Problem, Schedule, Source,
    rules::Problems,
};
use crate::base::words::shortened;

/// Returns every value of `config` that can't work or has no effect; `table` tells what the user wrote from what is a default.
pub(super) fn check(config: &Config, table: &Table) -> Vec<Problem> {
    let mut problems = Problems::default();
    check_data(config, &mut problems);
    check_augment(config, table, &mut problems);
    check_transfer(config, table, &mut problems);
    if check_layers(config, &mut problems) {
        check_model(config, &mut problems);
    }
    check_train(config, &mut problems);
    check_schedule(&config.train.schedule, &mut problems);
    problems.0
}

/// The run folder is called by it, on any system.
fn check_name(name: &str, problems: &mut Problems) {
    const LONGEST: usize = 200;
    let wrong = match name
        .chars()
        .find(|letter| ['/', '\\', ':'].contains(letter))
    {
        _ if name.is_empty() => "is empty".to_owned(),
        Some(':') => "has a colon in it".to_owned(),
        Some(_) => "has a slash in it".to_owned(),
        None if name.starts_with('.') => "begins with a dot".to_owned(),
        None if name.len() > LONGEST => format!("has {} bytes, more than {LONGEST}", name.len()),
        None => return,
    };
    let better: String = name
        .trim_start_matches('.')
        .replace(['/', '\\'], "_")
        .replace(':', "-")
        .chars()
        .take(50)
        .collect();
    let example = if better.is_empty() { "run" } else { &better };
    problems.bad(
        "name",
        format!(
            "`{}` {wrong}, expected a name for the run folder, such as \"{example}\"",
            shortened(name)
        ),
    )
}

fn check_data(config: &Config, problems: &mut Problems) {
    let data = &config.data;
    check_name(&config.name, problems);
    let [height, width] = data.image_size;
    let sides_are_possible = [height, width].iter().all(|side| (8..=4096).contains(side));
    problems.require(
        sides_are_possible,
        "data.image_size",
        format!("[{height}, {width}]"),
        "[height, width], each from 8 to 4096 pixels",
    );
    if let Some(megabytes) = data.decode_memory_mb {
        problems.require(
            (16..=1 << 24).contains(&megabytes),
            "data.decode_memory_mb",
            megabytes,
            "16 MiB or more, as many as the machine can spare",
        );
    }
    for (key, source) in [
        ("data.validation", Some(&data.validation)),
        ("data.test", data.test.as_ref()),
    ] {
        if let Some(share) = source.and_then(Source::share) {
            problems.require(
                share > 0.0 && share < 1.0,
                key,
                share,
                "a share above 0 and below 1, or a folder or CSV",
            );
        }
    }
    if let Err(message) = data.group_pattern() {
        return problems.bad("data.group", message);
    }
    if let Err(message) = data.exclude_patterns() {
        return problems.bad("data.exclude", message);
    }
    if data.train == PHANTOM && data.test.is_some() {
        return problems.bad(
            "data.test",
            "the phantom set brings its own test images; leave `data.test` out",
        );
    }
    check_normalize(data, problems)
}

fn check_model(config: &Config, problems: &mut Problems) {
    let (model, [height, width]) = (&config.model, config.data.image_size);
    let channels = model.channels();
    let channels_are_possible = !channels.is_empty() && channels.iter().all(|count| *count > 0);
    problems.require(
        channels_are_possible,
        "model.channels",
        format!("{channels:?}"),
        "one number above 0 for each block",
    );
    problems.require(
        (0.0..1.0).contains(&model.dropout),
        "model.dropout",
        model.dropout,
        "a share from 0 to below 1",
    );
    let hidden = model.hidden.widths();
    problems.require(
        !hidden.contains(&0),
        "model.hidden",
        format!("{hidden:?}"),
        "widths above 0, or 0 alone for none",
    );
    let features = match model.features([height, width]) {
        Ok(features) => features,
        Err(error) if model.architecture.is_list() => {
            let message = format!("{error}, expected fewer pools before it or larger images");
            return problems.bad(&format!("model.layers (entry {})", error.position), message);
        }
        Err(_) if model.architecture.is_of_recipe() => {
            let found = format!(
                "found {} blocks, each of which halves {height}x{width}",
                channels.len()
            );
            let message = format!(
                "{found}, expected fewer blocks or larger images, so that at least one pixel is left"
            );
            return problems.bad("model.channels", message);
        }
        Err(error) => {
            return problems.bad(
                "data.image_size",
                format!("found [{height}, {width}]: {error}; expected larger images"),
            );
        }
    };
    check_dense(model, features, &hidden, problems)
}

/// Dense layers grow with the product of their widths.
fn check_dense(model: &Model, features: [usize; 3], hidden: &[usize], problems: &mut Problems) {
    const MOST: u128 = 1 << 28;
    let pooling = model.pooling;
    let last_block = if model.architecture.is_list() {
        ("model.layers", "make the last convolution narrower")
    } else {
        ("model.channels", "make the last block narrower")
    };
    let mut inputs = pooling.width(features) as u128;
    for (index, width) in hidden
        .iter()
        .chain(hidden.is_empty().then_some(&1))
        .enumerate()
    {
        let weights = inputs.saturating_mul(*width as u128);
        let found = format!("a dense layer of {inputs} x {width} = {weights} weights");
        let average_helps = index == 0
            && pooling == Pooling::Flatten
            && (features[0] as u128).saturating_mul(*width as u128) < MOST;
        let (key, advice) = match index {
            _ if average_helps => (
                "model.pooling",
                "use pooling = \"average\" or smaller images",
            ),
            0 if features[0] > *width => last_block,
            _ => ("model.hidden", "make the hidden layers narrower"),
        };
        problems.require(
            weights < MOST,
            key,
            found,
            &format!("fewer than 268 million; {advice}"),
        );
        inputs = *width as u128;
    }
}

fn check_train(config: &Config, problems: &mut Problems) {
    let train = &config.train;
    problems.require(train.epochs > 0, "train.epochs", train.epochs, "1 or more");
    problems.require(
        train.batch_size > 0,
        "train.batch_size",
        train.batch_size,
        "1 or more",
    );
    problems.require(
        train.accumulate > 0,
        "train.accumulate",
        train.accumulate,
        "1 or more",
    );
    problems.require(
        train.workers <= 64,
        "train.workers",
        train.workers,
        "0 to 64",
    );
    problems.require(
        (0.0..1.0).contains(&train.label_smoothing),
        "train.label_smoothing",
        train.label_smoothing,
        "a share from 0 to below 1",
    );
    match (train.loss, train.focal_gamma) {
        (Loss::Focal, Some(gamma)) => {
            problems.require(gamma >= 0.0, "train.focal_gamma", gamma, "0 or more")
        }
        (_, Some(_)) => problems.bad(
            "train.focal_gamma",
            "has no effect without loss = \"focal\"; set that or leave focal_gamma out",
        ),
        (_, None) => {}
    }
    if let ClassWeights::Named(weights) = &train.class_weights {
        if weights.is_empty() {
            return problems.bad(
                "train.class_weights",
                "has no effect: it names no class; name some, as { cat = 2.0 }, or leave it out",
            );
        }
        for (class, weight) in weights {
            problems.require(
                *weight > 0.0 && weight.is_finite(),
                "train.class_weights",
                format!("{class} = {weight}"),
                "weights above 0",
            );
        }
    }
    if let Some(norm) = train.clip_norm {
        problems.require(norm > 0.0, "train.clip_norm", norm, "a length above 0");
    }
    if let Some(decay) = train.ema_decay {
        problems.require(
            decay > 0.0 && decay < 1.0,
            "train.ema_decay",
            decay,
            "a number above 0 and below 1, such as 0.999",
        );
    }
    if let Some(stopping) = &train.early_stopping {
        problems.require(
            stopping.min_delta >= 0.0,
            "train.early_stopping.min_delta",
            stopping.min_delta,
            "0 or more",
        );
    }
    check_optimizer(&train.optimizer, problems)
}

fn check_optimizer(optimizer: &Optimizer, problems: &mut Problems) {
    let rate = optimizer.learning_rate();
    problems.require(
        rate > 0.0 && rate.is_finite(),
        "train.optimizer.learning_rate",
        rate,
        "a number above 0",
    );
    let share = |value: f64| (0.0..1.0).contains(&value);
    let (decay, epsilon) = match optimizer {
        Optimizer::Adam {
            betas,
            epsilon,
            weight_decay,
            ..
        }
        | Optimizer::Adamw {
            betas,
            epsilon,
            weight_decay,
            ..
        } => {
            problems.require(
                betas.iter().all(|beta| share(*beta)),
                "train.optimizer.betas",
                format!("{betas:?}"),
                "two numbers from 0 to below 1",
            );
            (*weight_decay, *epsilon)
        }
        Optimizer::Sgd {
            momentum,
            nesterov,
            weight_decay,
            ..
        } => {
            problems.require(
                share(*momentum),
                "train.optimizer.momentum",
                momentum,
                "a number from 0 to below 1",
            );
            if *nesterov && *momentum == 0.0 {
                return problems.bad(
                    "train.optimizer.nesterov",
                    "has no effect without momentum; set momentum = 0.9, say",
                );
            }
            (*weight_decay, 1.0)
        }
        Optimizer::Rmsprop {
            alpha,
            epsilon,
            momentum,
            weight_decay,
            ..
        } => {
            problems.require(
                share(*alpha),
                "train.optimizer.alpha",
                alpha,
                "a number from 0 to below 1",
            );
            problems.require(
                share(*momentum),
                "train.optimizer.momentum",
                momentum,
                "a number from 0 to below 1",
            );
            (*weight_decay, *epsilon)
        }
    };
    problems.require(
        epsilon > 0.0,
        "train.optimizer.epsilon",
        epsilon,
        "a number above 0",
    );
    problems.require(
        decay >= 0.0,
        "train.optimizer.weight_decay",
        decay,
        "0 or more",
    )
}

fn check_schedule(schedule: &Schedule, problems: &mut Problems) {
    let falls = |factor: &f64, problems: &mut Problems| {
        problems.require(
            *factor > 0.0 && *factor <= 1.0,
            "train.schedule.factor",
            factor,
            "a factor above 0, at most 1",
        );
    };
    match schedule {
        Schedule::Constant => {}
        Schedule::Cosine {
            warmup_epochs,
            min_lr,
        } => {
            problems.require(
                (0.0..=1e9).contains(warmup_epochs),
                "train.schedule.warmup_epochs",
                warmup_epochs,
                "0 or more",
            );
            problems.require(*min_lr >= 0.0, "train.schedule.min_lr", min_lr, "0 or more")
        }
        Schedule::Step {
            every_epochs,
            factor,
        } => {
            problems.require(
                *every_epochs > 0,
                "train.schedule.every_epochs",
                every_epochs,
                "1 or more",
            );
            falls(factor, problems)
        }
        Schedule::Exponential { factor } => falls(factor, problems),
        Schedule::OneCycle {
            pct_start,
            div_factor,
            final_div_factor,
        } => {
            problems.require(
                *pct_start > 0.0 && *pct_start < 1.0,
                "train.schedule.pct_start",
                pct_start,
                "a share above 0 and below 1",
            );
            let divisors_shrink = *div_factor >= 1.0 && *final_div_factor >= 1.0;
            problems.require(
                divisors_shrink,
                "train.schedule.div_factor",
                format!("{div_factor} and final_div_factor {final_div_factor}"),
                "1 or more",
            )
        }
        Schedule::Plateau {
            factor,
            min_delta,
            min_lr,
            ..
        } => {
            problems.require(
                *factor > 0.0 && *factor < 1.0,
                "train.schedule.factor",
                factor,
                "a factor above 0 and below 1",
            );
            problems.require(
                *min_delta >= 0.0 && *min_lr >= 0.0,
                "train.schedule.min_delta",
                min_delta,
                "0 or more, as min_lr",
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::text::parse;

    #[test]
    fn each_value_that_cannot_work_or_has_no_effect_names_its_key() {
        let cases = [
            ("name=a/b", "`name`"),
            ("data.image_size=[4, 4]", "`data.image_size`"),
            ("data.decode_memory_mb=0", "`data.decode_memory_mb`"),
            ("data.validation=1.5", "`data.validation`"),
            ("data.test=0.0", "`data.test`"),
            ("data.train=phantom", "`data.test`"),
            (
                "data.normalize={ mean = [0.5], std = [0.5] }",
                "`data.normalize`",
            ),
            ("augment.rotation_range=-1", "`augment.rotation_range`"),
            ("augment.shear_range=90", "`augment.shear_range`"),
            ("augment.zoom_range=1.0", "`augment.zoom_range`"),
            (
                "augment.brightness_range=[1.2, 0.8]",
                "`augment.brightness_range`",
            ),
            ("augment.cval=3", "`augment.cval`"),
            ("augment.fill_mode=wrap", "`augment.fill_mode`"),
            ("model.channels=[]", "`model.channels`"),
            ("model.channels=[1,1,1,1,1,1,1,1,1]", "`model.channels`"),
            ("model.dropout=1", "`model.dropout`"),
            (
                "model.hidden=100000000000",
                "`model.hidden`: found a dense layer of 10368 x 100000000000",
            ),
            (
                "model.hidden=[4, 1000000, 1000000]",
                "`model.hidden`: found a dense layer of 1000000 x 1000000",
            ),
            (
                "model.channels=[4611686018427387904]",
                "`model.channels`: found a dense layer of",
            ),
            ("train.epochs=0", "`train.epochs`"),
            ("train.batch_size=0", "`train.batch_size`"),
            ("train.focal_gamma=2", "`train.focal_gamma`"),
            ("train.class_weights={ a = 0 }", "`train.class_weights`"),
            ("train.clip_norm=0", "`train.clip_norm`"),
            ("train.ema_decay=1", "`train.ema_decay`"),
            (
                "train.optimizer={ kind = 'sgd', nesterov = true }",
                "`train.optimizer.nesterov`",
            ),
            (
                "train.optimizer={ kind = 'adam', learning_rate = 0 }",
                "`train.optimizer.learning_rate`",
            ),
            (
                "train.schedule={ kind = 'step', every_epochs = 0 }",
                "`train.schedule.every_epochs`",
            ),
            (
                "train.schedule={ kind = 'plateau', factor = 1 }",
                "`train.schedule.factor`",
            ),
            (
                "train.early_stopping={ monitor = 'val_auc' }",
                "unknown metric `val_auc`",
            ),
            ("train.max_time=soon", "can't read `soon`"),
            ("device=tpu", "unknown device `tpu`"),
        ];
        let text = "name = 'x'\n[data]\ntrain = 'images'\ntest = 'more'\n";
        for (change, expected) in cases {
            let error = parse(text, Path::new("recipe.toml"), &[change.to_owned()])
                .expect_err(change)
                .to_string();
            assert!(error.contains(expected), "{change}: {error}");
        }
        parse(text, Path::new("recipe.toml"), &[]).expect("the text without a change is fine");
    }

    #[test]
    fn everything_that_does_not_fit_is_told_at_once_each_key_once() {
        let text = "name = 'x'\nsed = 1\n[data]\ntrain = 'images'\nimage_size = [150, 150, 3]\n[train]\nepochs = '5'\n";
        let error = parse(text, Path::new("recipe.toml"), &[])
            .expect_err("three typos")
            .to_string();
        let lines: Vec<_> = error.lines().collect();
        assert_eq!(lines.len(), 4, "{error}");
        assert_eq!(lines[0], "3 values of the recipe don't fit:");
        for (line, start, end) in [
            (
                1,
                "- `data.image_size`: found [150, 150, 3], a list of 3, expected",
                ": line 5 of recipe.toml",
            ),
            (
                2,
                "- `sed`: no such key; did you mean `seed`?",
                ": line 2 of recipe.toml",
            ),
            (
                3,
                "- `train.epochs`: found \"5\", expected a whole number",
                ": line 7 of recipe.toml",
            ),
        ] {
            assert!(
                lines[line].starts_with(start) && lines[line].ends_with(end),
                "{error}"
            );
        }
        let text = "name = 'x'\n[data]\ntrain = 'images'\n[model]\nchannels = []\ndropout = 1.0\n[train]\nbatch_size = 0\n";
        let error = parse(
            text,
            Path::new("recipe.toml"),
            &["train.epochs=0".to_owned()],
        )
        .expect_err("four that can't work")
        .to_string();
        let keys: Vec<_> = error
            .lines()
            .skip(1)
            .filter_map(|line| line.split('`').nth(1))
            .collect();
        assert_eq!(
            keys,
            [
                "train.epochs",
                "model.channels",
                "model.dropout",
                "train.batch_size"
            ],
            "{error}"
        );
    }
}
