//! What is said of a recipe that is wrong, word by word.

use std::{io, path::Path};

use emberlens::{
    checkpoint::CheckpointError,
    config::{ConfigError, parse},
    data::DataError,
    train::TrainError,
};

const SMALL: &str = "name = 'x'\n[data]\ntrain = 'images'\n";

fn said(text: &str, changes: &[&str]) -> String {
    let changes: Vec<_> = changes.iter().map(|change| (*change).to_owned()).collect();
    match parse(text, Path::new("c.toml"), &changes) {
        Ok(_) => "fine".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// The lines of a text, each with a mark before it.
fn indented(text: &str, mark: &str) -> String {
    text.trim_end_matches('\n')
        .split('\n')
        .map(|line| format!("{mark}{line}"))
        .collect::<Vec<_>>()
        .join("\n")
}

const OVERRIDES: &[&str] = &[
    "x",
    "=5",
    "train.=5",
    "name.epochs=5",
    "epochs=5",
    "lr=0.01",
    "learning_rate=0.01",
    "batch_size=16",
    "bs=16",
    "batch=16",
    "image_size=[64, 64]",
    "img_size=64",
    "patience=3",
    "optimizer=adam",
    "train.lr=0.01",
    "train.learning_rate=0.01",
    "train.epoch=5",
    "data.epochs=5",
    "giraffe=5",
    "train.giraffe=5",
    "train.optimizer=adam",
    "train.optimizer=adma",
    "train.optimizer=3",
    "train.optimizer={ learning_rate = 0.1 }",
    "train.optimizer={ momentum = 0.9, nesterov = true }",
    "train.optimizer={ kind = 'adma' }",
    "train.optimizer={ kind = 3 }",
    "train.optimizer={ kind = 'adam', momentum = 0.9 }",
    "train.optimizer.momentum=0.9",
    "train.optimizer.learning_rate=fast",
    "train.optimizer.betas=[0.9]",
    "train.optimizer.betas=[0.9, 'a']",
    "train.schedule=cosine",
    "train.schedule.warmup_epochs=2",
    "train.schedule={ kind = 'step' }",
    "train.early_stopping=5",
    "train.early_stopping=true",
    "train.early_stopping={ monitor = 'val_acc' }",
    "train.early_stopping={ monitor = 'val_recal_a' }",
    "train.checkpoint=val_loss",
    "train.class_weights=balance",
    "train.class_weights=[1, 2]",
    "train.class_weights=2.0",
    "train.class_weights={ a = '2' }",
    "train.class_weights={}",
    "train.epochs='2'",
    "train.epochs=2.5",
    "train.epochs=-1",
    "train.epochs=many",
    "train.tensorboard=True",
    "train.tensorboard=yes",
    "train.max_time=45",
    "train.phases=3",
    "train.phases=[{ epochs = 1 }]",
    "train.phases=[{ epochs = 1, freeze = 'none' }, { epochs = 1, frieze = 'none' }]",
    "data.validation=true",
    "data.image_size=[150, 150, 3]",
    "data.image_size=150",
    "data.color=gray",
    "data.normalize=imagnet",
    "data.normalize={ mean = [0.5] }",
    "data.normalize={ rescal = 2 }",
    "data.normalize=3",
    "data.validation_split=0.3",
    "data.train=a\\train",
    "data.train=\"a\\train\"",
    "data.train=\"C:\\Users\\me\"",
    "model.hidden=[8, 2.5]",
    "model.hidden=[8",
    "model.architecture=vgg29",
    "augment.zoom_range=\"0.1\"",
    "augment.zoom_range=[0.9]",
    "augment.brightness_range=[0.9, 1.0, 1.1]",
    "augment.width_shift_range=a",
    "augment.jpeg={ range = [1, 2, 3] }",
    "augment.random_erasing={ value = 'nois' }",
    "augment.policy.num_ops=3",
    "augment.class.a={ zoom_rang = 0.1 }",
    "augment.class.a={ zoom_range = [1] }",
    "augment.class.a={ mixup = { alpha = 0.3 } }",
    "augment.class.a={ inherit = 3 }",
    "augment.class.a={}",
    "augment.class.a=3",
    "device=tpu",
    "device=3",
    "seed=-1",
    "name=2026-11-28 10:00",
    "name=",
];

#[test]
fn a_wrong_override_is_named_with_what_may_stand_there() {
    let said = OVERRIDES.iter().map(|change| {
        format!(
            "--set {change}\n{}\n",
            indented(&said(SMALL, &[*change]), "    ")
        )
    });
    insta::assert_snapshot!("overrides", said.collect::<Vec<_>>().join("\n"));
}

const RECIPES: &[&str] = &[
    "",
    "name = 'x'\n",
    "name = 'x'\n[data]\ncolor = 'rgb'\n",
    "name = 'x'\nepochs = 3\n[data]\ntrain = 'a'\n",
    "name = 'x'\n[data]\ntrain = \"data\\train\"\n",
    "name = 'x'\n[data]\ntrain = \"C:\\Users\\me\\data\"\n",
    "name = 'x'\n[data]\ntrain = \"C:\\images\\new\"\n",
    "name = 'x'\n[data]\ntrain = \"C:\\new\\bad\"\n",
    "name = 'x'\n[data]\ntrain = 'a'\ngroup = \"regex:(\\d+)\"\n",
    "name = 'x'\n[data]\ntrain = pictures\n",
    "name = 'x'\n[data]\ntrain = null\n",
    "name = 'x'\n[data]\ntrain = images\n",
    "name = 'x'\n[data]\ntrain = 'a'\n[train]\ntensorboard = True\n",
    "name = 'x'\n[data]\ntrain = 'a'\ntrain = 'b'\n",
    "name = 'x'\n[data]\ntrain =\n",
    "name = 'x'\n[data\ntrain = 'a'\n",
    "name = 'x'\n[data]\ntrain = 'a'\nimage_size = [150, 150\n",
    "name = 'x'\n[data]\ntrain = 'a'\n[data]\ntest = 'b'\n",
    "name: x\n",
    "name = 'x'\n[data]\ntrain = 'a'\nimage_size = [150, 150, 3]\n",
    "name = 'x'\n[data]\ntrain = 'a'\n[train]\noptimizer = 'adam'\n",
    "name = 'x'\n[data]\ntrain = 'a'\n[train.optimizer]\nkind = 'sgd'\nmomentun = 0.9\n",
    "name = 'x'\n[data]\ntrain = 'a'\n[[train.phases]]\nepochs = 1\nfreeze = 'none'\n\
         [[train.phases]]\nepochs = 'two'\nfreeze = 'none'\n",
    "name = 'x'\n[data]\ntrain = 'a'\nvalidation = 0.2\nvalidation_split = 0.2\n",
    "name = 'x'\n[data]\ntrain = 'a'\n[train]\nepochs = 0\n",
    "name = '2026-11-28 10:00'\n[data]\ntrain = 'a'\n",
];

#[test]
fn a_wrong_line_is_named_with_what_may_stand_there() {
    let said = RECIPES.iter().map(|text| {
        [
            indented(text, "|"),
            indented(&said(text, &[]), "    "),
            "".to_owned(),
        ]
    });
    insta::assert_snapshot!("recipes", said.flatten().collect::<Vec<_>>().join("\n"));
}

/// An error and its causes are printed one after the other: none may have said already what the
/// next says.
#[test]
fn no_error_says_its_cause_twice() {
    let full = || io::Error::from_raw_os_error(28);
    let [path, recipe] = ["run", "c.toml"].map(|name| Path::new(name).to_owned());
    let read = || ConfigError::Read {
        path: recipe.clone(),
        error: full(),
    };
    let errors: [anyhow::Error; 8] = [
        TrainError::Io(full()).into(),
        TrainError::Folder {
            path: path.clone(),
            error: full(),
        }
        .into(),
        TrainError::Data(DataError::io("read", path.clone(), full())).into(),
        TrainError::Checkpoint(CheckpointError::Io(full())).into(),
        TrainError::Config(read()).into(),
        CheckpointError::Io(full()).into(),
        DataError::io("write the pixel cache", path, full()).into(),
        read().into(),
    ];
    for error in errors {
        let text = format!("{error:#}");
        assert_eq!(text.matches("os error 28").count(), 1, "{text}");
    }
}
