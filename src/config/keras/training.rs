//! How a network is trained: `compile`, `fit`, optimizers and callbacks.

use super::{KerasArgument, KerasCall, command, fixed, keys, missing};

/// The calls that train.
pub const KERAS_TRAINING: &[KerasCall] = &[
    KerasCall {
        name: "compile",
        arguments: COMPILE,
    },
    KerasCall {
        name: "Adam, AdamW, SGD, RMSprop",
        arguments: OPTIMIZERS,
    },
    KerasCall {
        name: "fit",
        arguments: FIT,
    },
    KerasCall {
        name: "EarlyStopping",
        arguments: EARLY_STOPPING,
    },
    KerasCall {
        name: "ModelCheckpoint",
        arguments: MODEL_CHECKPOINT,
    },
    KerasCall {
        name: "ReduceLROnPlateau",
        arguments: REDUCE_ON_PLATEAU,
    },
    KerasCall {
        name: "LearningRateScheduler",
        arguments: &[
            keys(
                "schedule",
                &["train.schedule"],
                "`\"cosine\"`, `\"step\"`, `\"exponential\"` and `\"one_cycle\"` are what such \
                 functions mostly compute; no other function",
            ),
            fixed("verbose", "each epoch reports its rate"),
        ],
    },
    KerasCall {
        name: "CSVLogger",
        arguments: &[
            fixed("filename", "`history.csv` in the run folder, always"),
            fixed("separator", "a comma"),
            fixed("append", "a resumed run goes on in the same file"),
        ],
    },
    KerasCall {
        name: "TensorBoard",
        arguments: TENSORBOARD,
    },
];

const COMPILE: &[KerasArgument] = &[
    keys(
        "optimizer",
        &["train.optimizer"],
        "`adam`, `adamw`, `sgd` or `rmsprop`; no Adamax, Adadelta, Nadam or others",
    ),
    keys(
        "loss",
        &["train.loss", "train.label_smoothing"],
        "`\"cross_entropy\"` for both of Keras's categorical ones, `\"binary_cross_entropy\"`, \
         `\"focal\"` (without its alpha); always on logits, so that no activation is set",
    ),
    missing("loss_weights", "there is one output"),
    fixed(
        "metrics",
        "accuracy, macro F1 and the recall of each class after every epoch, all others by \
         `evaluate`",
    ),
    missing("weighted_metrics", ""),
    fixed("run_eagerly", ""),
    fixed("steps_per_execution", ""),
    fixed("jit_compile", ""),
    fixed("auto_scale_loss", "all is computed in float32"),
];

const OPTIMIZERS: &[KerasArgument] = &[
    keys(
        "learning_rate",
        &["train.optimizer.learning_rate"],
        "0.001 by default, 0.01 for `sgd` and `rmsprop`; Keras's RMSprop has 0.001. A schedule \
         object is `train.schedule`",
    ),
    keys("beta_1", &["train.optimizer.betas"], "the first of two"),
    keys("beta_2", &["train.optimizer.betas"], "the second of two"),
    keys(
        "epsilon",
        &["train.optimizer.epsilon"],
        "1e-8 by default, as in PyTorch; Keras's is 1e-7",
    ),
    missing("amsgrad", ""),
    keys(
        "rho",
        &["train.optimizer.alpha"],
        "0.99 by default; Keras's is 0.9",
    ),
    missing("centered", ""),
    keys(
        "momentum",
        &["train.optimizer.momentum"],
        "the rate is applied to the sum, as in PyTorch; the same while the rate is constant",
    ),
    keys("nesterov", &["train.optimizer.nesterov"], ""),
    keys(
        "weight_decay",
        &["train.optimizer.weight_decay"],
        "not on biases and norms; decoupled in `adamw` alone, where 0.01 is the default and \
         Keras's is 0.004. In the others it is added to the gradient, as `kernel_regularizer` \
         would",
    ),
    missing("clipnorm", "of each variable by itself"),
    missing("clipvalue", ""),
    keys("global_clipnorm", &["train.clip_norm"], ""),
    keys("use_ema", &["train.ema_decay"], "set where a decay is"),
    keys(
        "ema_momentum",
        &["train.ema_decay"],
        "warmed up in short runs",
    ),
    fixed(
        "ema_overwrite_frequency",
        "the average is validated and saved, never trained on",
    ),
    fixed("loss_scale_factor", "all is computed in float32"),
    keys("gradient_accumulation_steps", &["train.accumulate"], ""),
];

const FIT: &[KerasArgument] = &[
    keys(
        "x",
        &["data.train"],
        "a folder or a list; arrays in memory have to be saved as images",
    ),
    fixed("y", "the names of folders, or a column of the list"),
    keys("batch_size", &["train.batch_size"], "32, as in Keras"),
    keys("epochs", &["train.epochs"], "30 by default; Keras's is 1"),
    fixed("verbose", "a line for each epoch, and a bar on a terminal"),
    keys(
        "callbacks",
        &[
            "train.early_stopping",
            "train.checkpoint",
            "train.schedule",
            "train.tensorboard",
        ],
        "the tables below; no Python of your own",
    ),
    keys(
        "validation_split",
        &["data.validation"],
        "drawn, not the last images",
    ),
    keys(
        "validation_data",
        &["data.validation"],
        "not the test set: that is `data.test`, measured once at the end",
    ),
    fixed("shuffle", "training images are, each epoch"),
    keys(
        "class_weight",
        &["train.class_weights"],
        "by name instead of number; `\"balanced\"` is scikit-learn's. The loss is divided by the \
         batch size, as in Keras",
    ),
    fixed("sample_weight", "a column `weight` of the list"),
    command(
        "initial_epoch",
        "train --resume",
        "continues where the run stopped, exactly",
    ),
    missing("steps_per_epoch", "an epoch is every image once"),
    missing("validation_steps", "all validation images, each time"),
    fixed("validation_batch_size", "batches don't change the figures"),
    missing("validation_freq", "after every epoch"),
    keys(
        "workers",
        &["train.workers"],
        "Keras 2; the batches are the same for any number",
    ),
    fixed("use_multiprocessing", "Keras 2; threads are enough"),
    fixed("max_queue_size", "Keras 2"),
];

const MONITOR: &str = "a name of `history.csv`, such as `val_loss` or `val_accuracy`; also \
                       `val_macro_f1` and `val_recall_CLASS`";

const MODE: KerasArgument = fixed("mode", "which way is better belongs to the metric");

const EARLY_STOPPING: &[KerasArgument] = &[
    keys("monitor", &["train.early_stopping.monitor"], MONITOR),
    keys("min_delta", &["train.early_stopping.min_delta"], ""),
    keys(
        "patience",
        &["train.early_stopping.patience"],
        "5 by default; Keras's is 0",
    ),
    fixed("verbose", "always reported"),
    MODE,
    keys("baseline", &["train.early_stopping.baseline"], ""),
    keys(
        "restore_best_weights",
        &["train.checkpoint.monitor"],
        "always: `best/` has the weights of the best epoch by this metric, whatever ended the \
         run. Keras keeps the last weights by default",
    ),
    keys(
        "start_from_epoch",
        &["train.early_stopping.start_from_epoch"],
        "",
    ),
];

const MODEL_CHECKPOINT: &[KerasArgument] = &[
    command(
        "filepath",
        "train --out",
        "the run folder: `best/` and `last/` are in it",
    ),
    keys(
        "monitor",
        &["train.checkpoint.monitor"],
        "`val_accuracy` by default; Keras's is `val_loss`",
    ),
    fixed("verbose", "always reported"),
    fixed(
        "save_best_only",
        "`best/` and `last/` are both kept; no file for each epoch",
    ),
    fixed(
        "save_weights_only",
        "`model.safetensors` has the weights, other files what a resume needs",
    ),
    MODE,
    keys(
        "save_freq",
        &["train.checkpoint.every_steps"],
        "steps at which `last/` is saved within an epoch; always at its end",
    ),
    missing("initial_value_threshold", ""),
];

const REDUCE_ON_PLATEAU: &[KerasArgument] = &[
    keys(
        "monitor",
        &["train.schedule.monitor"],
        "with `train.schedule.kind = \"plateau\"`",
    ),
    keys("factor", &["train.schedule.factor"], ""),
    keys("patience", &["train.schedule.patience"], "10, as in Keras"),
    fixed("verbose", "each epoch reports its rate"),
    MODE,
    keys(
        "min_delta",
        &["train.schedule.min_delta"],
        "1e-4, as in Keras",
    ),
    keys("cooldown", &["train.schedule.cooldown"], ""),
    keys("min_lr", &["train.schedule.min_lr"], ""),
];

const TENSORBOARD: &[KerasArgument] = &[
    keys(
        "log_dir",
        &["train.tensorboard"],
        "`true` writes `tensorboard/` in the run folder, under Keras's names",
    ),
    missing("histogram_freq", ""),
    missing("write_graph", "`export --onnx` writes the network"),
    missing("write_images", "`explain` shows where the network looks"),
    missing(
        "write_steps_per_second",
        "`history.csv` has the seconds of each epoch",
    ),
    fixed("update_freq", "each epoch"),
    missing("profile_batch", "`bench step` measures a step"),
    missing("embeddings_freq", ""),
    missing("embeddings_metadata", ""),
];
