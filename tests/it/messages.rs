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

const OVERRIDES: &[(&str, &str)] = &[
    (
        "x",
        "--set x: expected key.path=value, for example --set train.epochs=5",
    ),
    (
        "=5",
        "--set =5: expected key.path=value, for example --set train.epochs=5",
    ),
    (
        "train.=5",
        "--set train.=5: expected key.path=value, for example --set train.epochs=5",
    ),
    (
        "name.epochs=5",
        "--set name.epochs=5: `name` is \"x\", not a table with keys of its own; set the whole of \
         it",
    ),
    (
        "epochs=5",
        "`epochs`: no such key; did you mean --set train.epochs=5?: --set epochs=5",
    ),
    (
        "lr=0.01",
        "`lr`: no such key; did you mean --set train.optimizer.learning_rate=0.01?: --set lr=0.01",
    ),
    (
        "learning_rate=0.01",
        "`learning_rate`: no such key; did you mean --set train.optimizer.learning_rate=0.01?: \
         --set learning_rate=0.01",
    ),
    (
        "batch_size=16",
        "`batch_size`: no such key; did you mean --set train.batch_size=16?: --set batch_size=16",
    ),
    (
        "bs=16",
        "`bs`: no such key; did you mean --set train.batch_size=16?: --set bs=16",
    ),
    (
        "batch=16",
        "`batch`: no such key; did you mean --set train.batch_size=16?: --set batch=16",
    ),
    (
        "image_size=[64, 64]",
        "`image_size`: no such key; did you mean --set data.image_size=[64, 64]?: --set \
         image_size=[64, 64]",
    ),
    (
        "img_size=64",
        "`img_size`: no such key; did you mean --set data.image_size=64?: --set img_size=64",
    ),
    (
        "patience=3",
        "`patience`: no such key; did you mean --set train.early_stopping.patience=3?: --set \
         patience=3",
    ),
    (
        "optimizer=adam",
        "`optimizer`: no such key; did you mean --set train.optimizer.kind=adam?: --set \
         optimizer=adam",
    ),
    (
        "train.lr=0.01",
        "`train.lr`: no such key; did you mean --set train.optimizer.learning_rate=0.01?: --set \
         train.lr=0.01",
    ),
    (
        "train.learning_rate=0.01",
        "`train.learning_rate`: no such key; did you mean --set \
         train.optimizer.learning_rate=0.01?: --set train.learning_rate=0.01",
    ),
    (
        "train.epoch=5",
        "`train.epoch`: no such key; did you mean `epochs`?: --set train.epoch=5",
    ),
    (
        "data.epochs=5",
        "`data.epochs`: no such key; did you mean --set train.epochs=5?: --set data.epochs=5",
    ),
    (
        "giraffe=5",
        "`giraffe`: no such key, expected one of augment, data, device, model, name, seed, train: \
         --set giraffe=5",
    ),
    (
        "train.giraffe=5",
        "`train.giraffe`: no such key, expected one of accumulate, batch_size, checkpoint, \
         class_weights, clip_norm, early_stopping, ema_decay, epochs, feature_cache, focal_gamma, \
         label_smoothing, loss, max_time, optimizer, phases, sampler, schedule, tensorboard, \
         workers: --set train.giraffe=5",
    ),
    (
        "train.optimizer=adam",
        "`train.optimizer`: found \"adam\", expected a table with kind = \"adam\", \"adamw\", \
         \"sgd\" or \"rmsprop\"; did you mean { kind = \"adam\" }?: --set train.optimizer=adam",
    ),
    (
        "train.optimizer=adma",
        "`train.optimizer`: found \"adma\", expected a table with kind = \"adam\", \"adamw\", \
         \"sgd\" or \"rmsprop\"; did you mean { kind = \"adam\" }?: --set train.optimizer=adma",
    ),
    (
        "train.optimizer=3",
        "`train.optimizer`: found 3, expected a table with kind = \"adam\", \"adamw\", \"sgd\" or \
         \"rmsprop\": --set train.optimizer=3",
    ),
    (
        "train.optimizer={ learning_rate = 0.1 }",
        "`train.optimizer`: found no kind, expected kind = \"adam\", \"adamw\", \"sgd\" or \
         \"rmsprop\": --set train.optimizer={ learning_rate = 0.1 }",
    ),
    (
        "train.optimizer={ momentum = 0.9, nesterov = true }",
        "`train.optimizer`: found no kind, expected kind = \"adam\", \"adamw\", \"sgd\" or \
         \"rmsprop\"; did you mean kind = \"sgd\"?: --set train.optimizer={ momentum = 0.9, \
         nesterov = true }",
    ),
    (
        "train.optimizer={ kind = 'adma' }",
        "`train.optimizer.kind`: found \"adma\", expected kind = \"adam\", \"adamw\", \"sgd\" or \
         \"rmsprop\"; did you mean `adam`?: --set train.optimizer={ kind = 'adma' }",
    ),
    (
        "train.optimizer={ kind = 3 }",
        "`train.optimizer.kind`: found 3, expected kind = \"adam\", \"adamw\", \"sgd\" or \
         \"rmsprop\": --set train.optimizer={ kind = 3 }",
    ),
    (
        "train.optimizer={ kind = 'adam', momentum = 0.9 }",
        "`train.optimizer.momentum`: kind = \"adam\" has no such key; it belongs to kind = \"sgd\" \
         or \"rmsprop\": --set train.optimizer={ kind = 'adam', momentum = 0.9 }",
    ),
    (
        "train.optimizer.momentum=0.9",
        "`train.optimizer.momentum`: kind = \"adam\" has no such key; it belongs to kind = \"sgd\" \
         or \"rmsprop\": --set train.optimizer.momentum=0.9",
    ),
    (
        "train.optimizer.learning_rate=fast",
        "`train.optimizer.learning_rate`: found \"fast\", expected a number: --set \
         train.optimizer.learning_rate=fast",
    ),
    (
        "train.optimizer.betas=[0.9]",
        "`train.optimizer.betas`: found [0.9], a list of 1, expected a list of 2 numbers: Decay \
         rates of the two running means: --set train.optimizer.betas=[0.9]",
    ),
    (
        "train.optimizer.betas=[0.9, 'a']",
        "`train.optimizer.betas (entry 2)`: found \"a\", expected a number: --set \
         train.optimizer.betas=[0.9, 'a']",
    ),
    (
        "train.schedule=cosine",
        "`train.schedule`: found \"cosine\", expected a table with kind = \"constant\", \
         \"cosine\", \"step\", \"exponential\", \"one_cycle\" or \"plateau\"; did you mean { kind \
         = \"cosine\" }?: --set train.schedule=cosine",
    ),
    (
        "train.schedule.warmup_epochs=2",
        "`train.schedule.warmup_epochs`: kind = \"constant\" has no such key; it belongs to kind = \
         \"cosine\": --set train.schedule.warmup_epochs=2",
    ),
    (
        "train.schedule={ kind = 'step' }",
        "`train.schedule.every_epochs`: found nothing, expected a whole number of 0 or more: \
         Number of epochs at one rate: --set train.schedule={ kind = 'step' }",
    ),
    (
        "train.early_stopping=5",
        "`train.early_stopping`: found 5, expected a table with baseline, min_delta, monitor, \
         patience, start_from_epoch: --set train.early_stopping=5",
    ),
    (
        "train.early_stopping=true",
        "`train.early_stopping`: found true, expected a table with baseline, min_delta, monitor, \
         patience, start_from_epoch: --set train.early_stopping=true",
    ),
    (
        "train.early_stopping={ monitor = 'val_acc' }",
        "`train.early_stopping.monitor`: unknown metric `val_acc`, expected one of accuracy, loss, \
         macro_f1, val_accuracy, val_loss, val_macro_f1, val_recall_<class>; did you mean \
         `val_accuracy`?: --set train.early_stopping={ monitor = 'val_acc' }",
    ),
    (
        "train.early_stopping={ monitor = 'val_recal_a' }",
        "`train.early_stopping.monitor`: unknown metric `val_recal_a`, expected one of accuracy, \
         loss, macro_f1, val_accuracy, val_loss, val_macro_f1, val_recall_<class>; did you mean \
         `val_recall_<class>`?: --set train.early_stopping={ monitor = 'val_recal_a' }",
    ),
    (
        "train.checkpoint=val_loss",
        "`train.checkpoint`: found \"val_loss\", expected a table with every_steps, \
         include_backbone, monitor; did you mean { monitor = \"val_loss\" }?: --set \
         train.checkpoint=val_loss",
    ),
    (
        "train.class_weights=balance",
        "`train.class_weights`: found \"balance\", expected \"none\", \"balanced\" or a table of \
         names, each with a number; did you mean `balanced`?: --set train.class_weights=balance",
    ),
    (
        "train.class_weights=[1, 2]",
        "`train.class_weights`: found [1, 2], expected \"none\", \"balanced\" or a table of names, \
         each with a number: --set train.class_weights=[1, 2]",
    ),
    (
        "train.class_weights=2.0",
        "`train.class_weights`: found 2.0, expected \"none\", \"balanced\" or a table of names, \
         each with a number: --set train.class_weights=2.0",
    ),
    (
        "train.class_weights={ a = '2' }",
        "`train.class_weights.a`: found \"2\", expected a number; did you mean 2, without quotes?: \
         --set train.class_weights={ a = '2' }",
    ),
    (
        "train.class_weights={}",
        "`train.class_weights`: has no effect: it names no class; name some, as { cat = 2.0 }, or \
         leave it out: --set train.class_weights={}",
    ),
    (
        "train.epochs='2'",
        "`train.epochs`: found \"2\", expected a whole number of 0 or more; did you mean 2, \
         without quotes?: --set train.epochs='2'",
    ),
    (
        "train.epochs=2.5",
        "`train.epochs`: found 2.5, expected a whole number of 0 or more: --set train.epochs=2.5",
    ),
    (
        "train.epochs=-1",
        "`train.epochs`: found -1, expected a whole number of 0 or more: --set train.epochs=-1",
    ),
    (
        "train.epochs=many",
        "`train.epochs`: found \"many\", expected a whole number of 0 or more: --set \
         train.epochs=many",
    ),
    (
        "train.tensorboard=True",
        "`train.tensorboard`: found \"True\", expected true or false; did you mean `true`?: --set \
         train.tensorboard=True",
    ),
    (
        "train.tensorboard=yes",
        "`train.tensorboard`: found \"yes\", expected true or false: --set train.tensorboard=yes",
    ),
    (
        "train.max_time=45",
        "`train.max_time`: can't read `45` as a time, expected a whole number and s, m or h: \
         \"45m\": --set train.max_time=45",
    ),
    (
        "train.phases=3",
        "`train.phases`: found 3, expected a list of tables with epochs, freeze, layer_factor, \
         learning_rate: --set train.phases=3",
    ),
    (
        "train.phases=[{ epochs = 1 }]",
        "`train.phases (entry 1).freeze`: found nothing, expected a string in quotes: Which layers \
         are frozen, as in `model.freeze`: --set train.phases=[{ epochs = 1 }]",
    ),
    (
        "train.phases=[{ epochs = 1, freeze = 'none' }, { epochs = 1, frieze = 'none' }]",
        "`train.phases (entry 2).frieze`: no such key; did you mean `freeze`?: --set \
         train.phases=[{ epochs = 1, freeze = 'none' }, { epochs = 1, frieze = 'none' }]",
    ),
    (
        "data.validation=true",
        "`data.validation`: found true, expected a number or a string in quotes: --set \
         data.validation=true",
    ),
    (
        "data.image_size=[150, 150, 3]",
        "`data.image_size`: found [150, 150, 3], a list of 3, expected a list of 2 whole numbers \
         of 0 or more: Height and width in pixels of the network's input; its channels are set by \
         `data.color`: --set data.image_size=[150, 150, 3]",
    ),
    (
        "data.image_size=150",
        "`data.image_size`: found 150, expected a list of 2 whole numbers of 0 or more: --set \
         data.image_size=150",
    ),
    (
        "data.color=gray",
        "`data.color`: found \"gray\", expected \"rgb\" or \"grayscale\"; did you mean \
         `grayscale`?: --set data.color=gray",
    ),
    (
        "data.normalize=imagnet",
        "`data.normalize`: found \"imagnet\", expected \"auto\", \"unit\", \"imagenet\", \
         \"caffe\", \"tf\", \"dataset\", \"samplewise\", a table with mean, std or a table with \
         featurewise_center, featurewise_std_normalization, rescale, samplewise_center, \
         samplewise_std_normalization, zca_epsilon, zca_whitening; did you mean `imagenet`?: --set \
         data.normalize=imagnet",
    ),
    (
        "data.normalize={ mean = [0.5] }",
        "`data.normalize.std`: found nothing, expected a list of numbers: One value per channel, \
         above 0: --set data.normalize={ mean = [0.5] }",
    ),
    (
        "data.normalize={ rescal = 2 }",
        "`data.normalize.rescal`: no such key; did you mean `rescale`?: --set data.normalize={ \
         rescal = 2 }",
    ),
    (
        "data.normalize=3",
        "`data.normalize`: found 3, expected \"auto\", \"unit\", \"imagenet\", \"caffe\", \"tf\", \
         \"dataset\", \"samplewise\", a table with mean, std or a table with featurewise_center, \
         featurewise_std_normalization, rescale, samplewise_center, samplewise_std_normalization, \
         zca_epsilon, zca_whitening: --set data.normalize=3",
    ),
    ("data.validation_split=0.3", "fine"),
    ("data.train=a\\train", "fine"),
    (
        "data.train=\"a\\train\"",
        "`data.train`: found \"a<tab>rain\": \\t in double quotes is a tab; write \"a/train\" or \
         'a\\train': --set data.train=\"a\\train\"",
    ),
    (
        "data.train=\"C:\\Users\\me\"",
        "--set data.train=\"C:\\Users\\me\": \"C:\\Users\\me\": in double quotes a backslash \
         begins a special character; write \"C:/Users/me\" or 'C:\\Users\\me'",
    ),
    (
        "model.hidden=[8, 2.5]",
        "`model.hidden (entry 2)`: found 2.5, expected a whole number of 0 or more: --set \
         model.hidden=[8, 2.5]",
    ),
    (
        "model.hidden=[8",
        "--set model.hidden=[8: unclosed array: model.hidden = [8",
    ),
    (
        "model.architecture=vgg29",
        "`model.architecture`: found \"vgg29\", expected \"small_cnn\", \"layers\", \"vgg16\", \
         \"vgg16_bn\", \"vgg19\", \"squeezenet1_1\", \"resnet18\", \"resnet34\", \"resnet50\", \
         \"resnet101\", \"mobilenet_v1\", \"mobilenet_v2\", \"mobilenet_v3_small\", \
         \"mobilenet_v3_large\", \"efficientnet_b0\", \"efficientnet_b1\", \"efficientnet_b2\", \
         \"efficientnet_b3\", \"efficientnet_b4\", \"efficientnet_lite0\", \"efficientnet_lite1\", \
         \"efficientnet_lite2\", \"densenet121\", \"convnext_tiny\" or \"inception_v3\"; did you \
         mean `vgg19`?: --set model.architecture=vgg29",
    ),
    (
        "augment.zoom_range=\"0.1\"",
        "`augment.zoom_range`: found \"0.1\", expected a number or a list of 2 numbers; did you \
         mean 0.1, without quotes?: --set augment.zoom_range=\"0.1\"",
    ),
    (
        "augment.zoom_range=[0.9]",
        "`augment.zoom_range`: found [0.9], a list of 1, expected a list of 2 numbers: Low and \
         high: --set augment.zoom_range=[0.9]",
    ),
    (
        "augment.brightness_range=[0.9, 1.0, 1.1]",
        "`augment.brightness_range`: found [0.9, 1.0, 1.1], a list of 3, expected a list of 2 \
         numbers: Factor on all pixels, drawn uniformly from this pair; `[1, 1]` is off: --set \
         augment.brightness_range=[0.9, 1.0, 1.1]",
    ),
    (
        "augment.width_shift_range=a",
        "`augment.width_shift_range`: found \"a\", expected a whole number, a number or a list of \
         numbers: --set augment.width_shift_range=a",
    ),
    (
        "augment.jpeg={ range = [1, 2, 3] }",
        "`augment.jpeg.range`: found [1, 2, 3], a list of 3, expected a list of 2 numbers: Low and \
         high; the strength is drawn uniformly between them: --set augment.jpeg={ range = [1, 2, \
         3] }",
    ),
    (
        "augment.random_erasing={ value = 'nois' }",
        "`augment.random_erasing.value`: found \"nois\", expected a number or \"noise\"; did you \
         mean `noise`?: --set augment.random_erasing={ value = 'nois' }",
    ),
    (
        "augment.policy.num_ops=3",
        "`augment.policy`: found no kind, expected kind = \"trivial_augment\" or \"rand_augment\"; \
         did you mean kind = \"rand_augment\"?: --set augment.policy.num_ops=3",
    ),
    (
        "augment.class.a={ zoom_rang = 0.1 }",
        "`augment.class.a.zoom_rang`: no such key; did you mean `zoom_range`?: --set \
         augment.class.a={ zoom_rang = 0.1 }",
    ),
    (
        "augment.class.a={ zoom_range = [1] }",
        "`augment.class.a.zoom_range`: found [1], a list of 1, expected a list of 2 numbers: Low \
         and high: --set augment.class.a={ zoom_range = [1] }",
    ),
    (
        "augment.class.a={ mixup = { alpha = 0.3 } }",
        "`augment.class.a.mixup`: can't be set for one class: a batch has images of all; set it \
         under [augment]: --set augment.class.a={ mixup = { alpha = 0.3 } }",
    ),
    (
        "augment.class.a={ inherit = 3 }",
        "`augment.class.a.inherit`: found 3, expected true or false: --set augment.class.a={ \
         inherit = 3 }",
    ),
    (
        "augment.class.a={}",
        "`augment.class.a`: has no effect: it sets nothing; leave it out: --set augment.class.a={}",
    ),
    (
        "augment.class.a=3",
        "`augment.class.a`: found 3, expected a table with brightness_range, channel_shift_range, \
         class, contrast, cutmix, cval, fill_mode, gamma, gaussian_blur, gaussian_noise, ... (29 \
         of them): --set augment.class.a=3",
    ),
    (
        "device=tpu",
        "`device`: unknown device `tpu`, expected auto, gpu, gpu:N, cpu or ndarray: --set \
         device=tpu",
    ),
    (
        "device=3",
        "`device`: unknown device `3`, expected auto, gpu, gpu:N, cpu or ndarray: --set device=3",
    ),
    (
        "seed=-1",
        "`seed`: found -1, expected a whole number of 0 or more: --set seed=-1",
    ),
    (
        "name=2026-11-28 10:00",
        "`name`: found 2026-11-28T10:00, expected a string in quotes; did you mean \
         \"2026-11-28T10:00\", in quotes?: --set name=2026-11-28 10:00",
    ),
    (
        "name=",
        "`name`: `` is empty, expected a name for the run folder, such as \"run\": --set name=",
    ),
];

#[test]
fn a_wrong_override_is_named_with_what_may_stand_there() {
    for (change, expected) in OVERRIDES {
        assert_eq!(said(SMALL, &[*change]), *expected, "{change}");
    }
}

const RECIPES: &[(&str, &str)] = &[
    (
        "",
        "2 values of the recipe don't fit:\n- `name`: found nothing, expected a string in quotes: \
         The name of the recipe: the run folder is `checkpoints/<name>`, then `<name>-2`, and so \
         on: c.toml\n- `data`: found nothing, expected a table with train: The images and how they \
         are read: c.toml",
    ),
    (
        "name = 'x'\n",
        "`data`: found nothing, expected a table with train: The images and how they are read: \
         c.toml",
    ),
    (
        "name = 'x'\n[data]\ncolor = 'rgb'\n",
        "`data.train`: found nothing, expected a string in quotes: Training images: a folder with \
         one folder per class: line 2 of c.toml",
    ),
    (
        "name = 'x'\nepochs = 3\n[data]\ntrain = 'a'\n",
        "`epochs`: no such key; did you mean `train.epochs`?: line 2 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = \"data\\train\"\n",
        "`data.train`: found \"data<tab>rain\": \\t in double quotes is a tab; write \
         \"data/train\" or 'data\\train': line 3 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = \"C:\\Users\\me\\data\"\n",
        "\"C:\\Users\\me\\data\": in double quotes a backslash begins a special character; write \
         \"C:/Users/me/data\" or 'C:\\Users\\me\\data': line 3 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = \"C:\\images\\new\"\n",
        "\"C:\\images\\new\": in double quotes a backslash begins a special character; write \
         \"C:/images/new\" or 'C:\\images\\new': line 3 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = \"C:\\new\\bad\"\n",
        "`data.train`: found \"C:<line break>ew<backspace>ad\": \\n in double quotes is a line \
         break; write \"C:/new/bad\" or 'C:\\new\\bad': line 3 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = 'a'\ngroup = \"regex:(\\d+)\"\n",
        "\"regex:(\\d+)\": in double quotes a backslash begins a special character; write \
         'regex:(\\d+)': line 4 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = pictures\n",
        "train = pictures: expected a number, true, false, a list, a table or a string in quotes: \
         line 3 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = null\n",
        "train = null: to leave a value unset, omit the key: line 3 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = images\n",
        "train = images: expected a number, true, false, a list, a table or a string in quotes: \
         line 3 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = 'a'\n[train]\ntensorboard = True\n",
        "tensorboard = True: expected true or false in small letters: line 5 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = 'a'\ntrain = 'b'\n",
        "train occurs twice in the recipe; remove one: line 4 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain =\n",
        "train has no value: line 3 of c.toml",
    ),
    (
        "name = 'x'\n[data\ntrain = 'a'\n",
        "unclosed table: [data: line 2 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = 'a'\nimage_size = [150, 150\n",
        "unclosed array: image_size = [150, 150: line 4 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = 'a'\n[data]\ntest = 'b'\n",
        "[data] occurs twice in the recipe; remove one: line 4 of c.toml",
    ),
    (
        "name: x\n",
        "name: x: expected key = value: line 1 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = 'a'\nimage_size = [150, 150, 3]\n",
        "`data.image_size`: found [150, 150, 3], a list of 3, expected a list of 2 whole numbers \
         of 0 or more: Height and width in pixels of the network's input; its channels are set by \
         `data.color`: line 4 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = 'a'\n[train]\noptimizer = 'adam'\n",
        "`train.optimizer`: found \"adam\", expected a table with kind = \"adam\", \"adamw\", \
         \"sgd\" or \"rmsprop\"; did you mean { kind = \"adam\" }?: line 5 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = 'a'\n[train.optimizer]\nkind = 'sgd'\nmomentun = 0.9\n",
        "`train.optimizer.momentun`: no such key; did you mean `momentum`?: line 6 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = 'a'\n[[train.phases]]\nepochs = 1\nfreeze = 'none'\n\
         [[train.phases]]\nepochs = 'two'\nfreeze = 'none'\n",
        "`train.phases (entry 2).epochs`: found \"two\", expected a whole number of 0 or more: \
         line 8 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = 'a'\nvalidation = 0.2\nvalidation_split = 0.2\n",
        "`data.validation_split`: means the same as `validation`, which is there too; leave one of \
         them out: line 5 of c.toml",
    ),
    (
        "name = 'x'\n[data]\ntrain = 'a'\n[train]\nepochs = 0\n",
        "`train.epochs`: found 0, expected 1 or more: line 5 of c.toml",
    ),
    (
        "name = '2026-11-28 10:00'\n[data]\ntrain = 'a'\n",
        "`name`: `2026-11-28 10:00` has a colon in it, expected a name for the run folder, such as \
         \"2026-11-28 10-00\": line 1 of c.toml",
    ),
];

#[test]
fn a_wrong_line_is_named_with_what_may_stand_there() {
    for (text, expected) in RECIPES {
        assert_eq!(said(text, &[]), *expected, "{text}");
    }
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
