//! Checks the rules of `[train]`: settings, optimizers and schedules that can't work or have no
//! effect.

use crate::config::{
    ClassWeights, Loss, Optimizer, Schedule, Train,
    rules::{Problems, Under},
};

const ABOVE_0: &str = "a number above 0";
const SHARE: &str = "a number from 0 to below 1";

fn is_share(value: &f64) -> bool {
    (0.0..1.0).contains(value)
}

/// Checks `[train]`, except for its schedule, its phases, and how a backbone is cached and saved.
pub(super) fn check_train(train: &Train, problems: &mut Problems) {
    let mut rules = problems.under("train");
    let counts = [
        ("epochs", train.epochs),
        ("batch_size", train.batch_size),
        ("accumulate", train.accumulate),
    ];
    for (key, count) in counts {
        rules.require(count > 0, key, count, "1 or more");
    }
    check_folds(train, &mut rules);
    check_fractions(train, &mut rules);
    rules.require(train.workers <= 64, "workers", train.workers, "0 to 64");
    let (key, smoothing) = ("label_smoothing", train.label_smoothing);
    rules.require(
        is_share(&smoothing),
        key,
        smoothing,
        "a fraction from 0 to below 1",
    );
    match (train.loss, train.focal_gamma) {
        (Loss::Focal, Some(gamma)) => {
            rules.require(gamma >= 0.0, "focal_gamma", gamma, "0 or more")
        }
        (_, Some(_)) => rules.bad(
            "focal_gamma",
            "has no effect without loss = \"focal\"; set that or leave focal_gamma out",
        ),
        (_, None) => {}
    }
    if let ClassWeights::Named(weights) = &train.class_weights {
        if weights.is_empty() {
            rules.bad(
                "class_weights",
                "has no effect: it names no class; name some, as { cat = 2.0 }, or leave it out",
            );
        }
        for (class, weight) in weights {
            let (fits, found) = (
                *weight > 0.0 && weight.is_finite(),
                format!("{class} = {weight}"),
            );
            rules.require(fits, "class_weights", found, "weights above 0");
        }
    }
    if let Some(norm) = train.clip_norm {
        rules.require(norm > 0.0, "clip_norm", norm, "a length above 0");
    }
    if let Some(decay) = train.ema_decay {
        let expected = "a number above 0 and below 1, such as 0.999";
        rules.require(decay > 0.0 && decay < 1.0, "ema_decay", decay, expected);
    }
    if let Some(stopping) = &train.early_stopping {
        let (key, delta) = ("early_stopping.min_delta", stopping.min_delta);
        rules.require(delta >= 0.0, key, delta, "0 or more");
    }
    check_optimizer(&train.optimizer, problems)
}

/// Checks the folds of a cross-validation.
fn check_folds(train: &Train, rules: &mut Under<'_>) {
    match (train.folds, train.fold) {
        (Some(folds), fold) => {
            rules.require(folds >= 2, "folds", folds, "2 or more");
            if let Some(fold) = fold.filter(|fold| !(1..=folds).contains(fold)) {
                rules.require(
                    false,
                    "fold",
                    fold,
                    &format!("1 to {folds}, the number of folds"),
                );
            }
            if fold.is_none() && train.max_time.is_some() {
                rules.bad(
                    "max_time",
                    "ends one run, and train.folds trains several, which would be stopped \
                     differently after a resume; leave max_time out and set train.epochs",
                );
            }
        }
        (None, Some(_)) => rules.bad("fold", "has no effect without train.folds; set that too"),
        (None, None) => {}
    }
    match (train.repeats, train.folds, train.fold) {
        (Some(_), None, _) => {
            rules.bad("repeats", "has no effect without train.folds; set that too");
        }
        (Some(_), _, Some(_)) => rules.bad(
            "repeats",
            "has no effect with train.fold, which trains one network; leave one of them out",
        ),
        (Some(repeats), ..) => rules.require(repeats >= 2, "repeats", repeats, "2 or more"),
        (None, ..) => {}
    }
}

/// Checks the fractions of the training images.
fn check_fractions(train: &Train, rules: &mut Under<'_>) {
    let is_fraction = |fraction: &f64| *fraction > 0.0 && *fraction <= 1.0;
    if let Some(fraction) = train.fraction {
        let expected = "a number above 0 and at most 1";
        rules.require(is_fraction(&fraction), "fraction", fraction, expected);
    }
    let curve = &train.learning_curve;
    if curve.is_empty() {
        return;
    }
    let rises = curve.windows(2).all(|pair| pair[0] < pair[1]);
    rules.require(
        curve.len() > 1 && rises && curve.iter().all(is_fraction),
        "learning_curve",
        curve
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        "two or more rising numbers above 0 and at most 1, such as 0.25, 0.5, 1",
    );
    let others = [
        ("folds", train.folds.is_some()),
        ("fraction", train.fraction.is_some()),
        ("max_time", train.max_time.is_some()),
    ];
    for (key, _) in others.into_iter().filter(|(_, is_set)| *is_set) {
        rules.bad(
            key,
            "doesn't go with train.learning_curve, which trains a network on each of several \
             fractions of the same training images; leave one of them out",
        );
    }
}

fn check_optimizer(optimizer: &Optimizer, problems: &mut Problems) {
    let mut rules = problems.under("train.optimizer");
    let rate = optimizer.learning_rate();
    let is_rate = rate > 0.0 && rate.is_finite();
    rules.require(is_rate, "learning_rate", rate, ABOVE_0);
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
            let (fits, found) = (betas.iter().all(is_share), format!("{betas:?}"));
            rules.require(fits, "betas", found, "two numbers from 0 to below 1");
            (*weight_decay, *epsilon)
        }
        Optimizer::Sgd {
            momentum,
            nesterov,
            weight_decay,
            ..
        } => {
            rules.require(is_share(momentum), "momentum", momentum, SHARE);
            if *nesterov && *momentum == 0.0 {
                rules.bad(
                    "nesterov",
                    "has no effect without momentum; set a momentum, such as 0.9",
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
            rules.require(is_share(alpha), "alpha", alpha, SHARE);
            rules.require(is_share(momentum), "momentum", momentum, SHARE);
            (*weight_decay, *epsilon)
        }
    };
    rules.require(epsilon > 0.0, "epsilon", epsilon, ABOVE_0);
    rules.require(decay >= 0.0, "weight_decay", decay, "0 or more")
}

/// Checks the values of `train.schedule`.
pub(super) fn check_schedule(schedule: &Schedule, problems: &mut Problems) {
    let mut rules = problems.under("train.schedule");
    match schedule {
        Schedule::Constant => {}
        Schedule::Cosine {
            warmup_epochs: warmup,
            min_lr,
        } => {
            let fits = (0.0..=1e9).contains(warmup);
            rules.require(fits, "warmup_epochs", warmup, "0 or more");
            rules.require(*min_lr >= 0.0, "min_lr", min_lr, "0 or more")
        }
        Schedule::Step {
            every_epochs: every,
            factor,
        } => {
            rules.require(*every > 0, "every_epochs", every, "1 or more");
            check_factor(*factor, rules)
        }
        Schedule::Exponential { factor } => check_factor(*factor, rules),
        Schedule::OneCycle {
            pct_start,
            div_factor,
            final_div_factor,
        } => {
            let fits = *pct_start > 0.0 && *pct_start < 1.0;
            let expected = "a fraction above 0 and below 1";
            rules.require(fits, "pct_start", pct_start, expected);
            let divisors_shrink = *div_factor >= 1.0 && *final_div_factor >= 1.0;
            let found = format!("{div_factor} and final_div_factor {final_div_factor}");
            rules.require(divisors_shrink, "div_factor", found, "1 or more")
        }
        Schedule::Plateau {
            factor,
            min_delta,
            min_lr,
            ..
        } => {
            let fits = *factor > 0.0 && *factor < 1.0;
            rules.require(fits, "factor", factor, "a factor above 0 and below 1");
            let fits = *min_delta >= 0.0 && *min_lr >= 0.0;
            rules.require(fits, "min_delta", min_delta, "0 or more, as min_lr")
        }
    }
}

/// Checks the factor of a schedule whose rate never rises.
fn check_factor(factor: f64, mut rules: Under<'_>) {
    let fits = factor > 0.0 && factor <= 1.0;
    rules.require(fits, "factor", factor, "a factor above 0, at most 1")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{check::tests::assert_refused, text::parse};

    #[test]
    fn a_setting_of_training_that_cannot_work_names_its_key() {
        assert_refused(&[
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
            ("train.folds=1", "`train.folds`"),
            ("train.repeats=2", "`train.repeats`"),
            ("train={ folds = 5, repeats = 1 }", "`train.repeats`"),
            (
                "train={ folds = 5, fold = 1, repeats = 2 }",
                "`train.repeats`",
            ),
            ("train.fold=1", "`train.fold`"),
            ("train.fraction=0.0", "`train.fraction`"),
            ("train.fraction=1.5", "`train.fraction`"),
            ("train.learning_curve=[0.5]", "`train.learning_curve`"),
            ("train.learning_curve=[1.0, 0.5]", "`train.learning_curve`"),
            (
                "train={ learning_curve = [0.5, 1.0], folds = 3 }",
                "`train.folds`",
            ),
            (
                "train={ learning_curve = [0.5, 1.0], fraction = 1.0 }",
                "`train.fraction`",
            ),
            (
                "train={ learning_curve = [0.5, 1.0], max_time = '1h' }",
                "`train.max_time`",
            ),
            ("train={ folds = 5, fold = 6 }", "`train.fold`"),
            ("train={ folds = 5, max_time = '1h' }", "`train.max_time`"),
            ("train.max_time=soon", "can't read `soon`"),
        ]);
    }

    #[test]
    fn class_weights_without_a_class_hide_no_other_error() {
        let text = "name = 'x'\n[data]\ntrain = 'images'\n[train]\nclass_weights = {}\n\
                    optimizer = { kind = 'sgd', nesterov = true, weight_decay = -1 }\n";
        let error = parse(text, Path::new("recipe.toml"), &[])
            .expect_err("three errors")
            .to_string();
        assert!(
            error.starts_with("3 values of the recipe don't fit:"),
            "{error}"
        );
        for key in [
            "class_weights",
            "optimizer.nesterov",
            "optimizer.weight_decay",
        ] {
            assert!(error.contains(&format!("\n- `train.{key}`: ")), "{error}");
        }
    }
}
