"""What `emberlens train DIR` reaches beside fastai's default and Keras's classic network, on one split.

    first_recipe.py EMBERLENS DIR --weights FILE [--fastai PYTHON] [--keras PYTHON]

Trains on DIR with nothing but its path, then the others on the images of the run's split.csv, each in a
process of its own, and prints a row each: accuracy on the validation and the test images with the 95 %
interval of Wilson, seconds of the whole process, peak memory.

fastai: `vision_learner`, `fine_tune(3)`, `aug_transforms`, images of 224 x 224, batches of 64, the same
weights: SqueezeNet 1.1 in torchvision's names, or EfficientNet-Lite0 in timm's. Keras: ImageDataGenerator, four
convolutions with pools at 150 x 150, dense 512, dropout 0.5, Adam, 25 epochs, the best epoch's weights.
Needs fastai, timm and safetensors in the first Python, TensorFlow in the second.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def wilson(right, total, z=1.959963984540054):
    share, square = right / total, z * z / total
    middle = (share + square / 2) / (1 + square)
    reach = z / (1 + square) * ((share * (1 - share) + square / 4) / total) ** 0.5
    return middle - reach, middle + reach


def shown(right, total):
    low, high = wilson(right, total)
    return f"{right / total:.3f} ({low:.3f} to {high:.3f})"


def rows(split):
    with open(split, newline="") as file:
        return list(csv.DictReader(file))


def scores(truth, found):
    return [sum(a == b for a, b in zip(truth, found)), len(truth)]


def fastai(split, weights):
    import pandas
    import torch
    from fastai.vision.all import (ImageDataLoaders, Normalize, Resize, accuracy, aug_transforms, imagenet_stats, set_seed, vision_learner)
    from safetensors.torch import load_file

    set_seed(42)
    table = pandas.DataFrame([{"path": str(Path(row["path"]).resolve()), "label": row["class"], "split": row["split"]} for row in rows(split)])
    fit = table[table.split.isin(["train", "val"])].assign(is_valid=lambda all: all.split == "val")
    loaders = ImageDataLoaders.from_df(
        fit, path="/", fn_col="path", label_col="label", valid_col="is_valid", item_tfms=Resize(224), batch_tfms=aug_transforms(), bs=64, num_workers=1
    )
    state = {name: values.float() for name, values in load_file(weights).items()}
    if any(name.startswith("features.") for name in state):
        from torchvision.models import squeezenet1_1

        learner = vision_learner(loaders, squeezenet1_1, pretrained=False, metrics=accuracy, normalize=False)
        body = {name.replace("features.", "0.", 1): values for name, values in state.items() if name.startswith("features.")}
        learner.model[0].load_state_dict(body)
        statistics = imagenet_stats
    else:
        name = "tf_efficientnet_lite0"
        learner = vision_learner(loaders, name, pretrained=False, metrics=accuracy, normalize=False)
        missing = learner.model[0].model.load_state_dict(state, strict=False).missing_keys
        assert not missing, missing
        statistics = ([0.5] * 3, [0.5] * 3)
    loaders.add_tfms([Normalize.from_stats(*statistics)], "after_batch")
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(3)
        result = {}
        for part in ["val", "test"]:
            of_part = table[table.split == part]
            if len(of_part):
                found, _ = learner.get_preds(dl=loaders.test_dl(of_part.path.tolist()))
                result[part] = scores(of_part.label.tolist(), [loaders.vocab[at] for at in found.argmax(1)])
    return result


def keras(split, _):
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import numpy
    import tensorflow
    from tensorflow.keras import callbacks, layers, models
    from tensorflow.keras.preprocessing.image import ImageDataGenerator

    tensorflow.keras.utils.set_random_seed(42)
    root = Path(tempfile.mkdtemp())
    for at, row in enumerate(rows(split)):
        to = root / row["split"] / row["class"] / f"{at:06}{Path(row['path']).suffix.lower()}"
        to.parent.mkdir(parents=True, exist_ok=True)
        to.symlink_to(Path(row["path"]).resolve())
    augment = dict(rotation_range=20, width_shift_range=0.1, height_shift_range=0.1, shear_range=0.1, zoom_range=0.1, horizontal_flip=True)
    flow = dict(target_size=(150, 150), batch_size=32, class_mode="categorical", follow_links=True)
    train = ImageDataGenerator(rescale=1 / 255, **augment).flow_from_directory(root / "train", seed=42, **flow)
    others = {
        part: ImageDataGenerator(rescale=1 / 255).flow_from_directory(root / part, shuffle=False, classes=list(train.class_indices), **flow)
        for part in ["val", "test"]
        if (root / part).is_dir()
    }
    stack = [layers.Input((150, 150, 3))]
    for channels in (32, 64, 128, 128):
        stack += [layers.Conv2D(channels, 3, padding="same", activation="relu"), layers.MaxPooling2D()]
    stack += [layers.Flatten(), layers.Dense(512, activation="relu"), layers.Dropout(0.5), layers.Dense(train.num_classes, activation="softmax")]
    network = models.Sequential(stack)
    network.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    best = str(root / "best.weights.h5")
    save = callbacks.ModelCheckpoint(best, monitor="val_accuracy", save_best_only=True, save_weights_only=True)
    network.fit(train, epochs=25, validation_data=others["val"], verbose=0, callbacks=[save])
    network.load_weights(best)
    predicted = {part: (images.classes, numpy.asarray(network.predict(images, verbose=0)).argmax(1)) for part, images in others.items()}
    return {part: scores(list(truth), list(found)) for part, (truth, found) in predicted.items()}


def timed(command, env=None):
    """Runs a command and returns its output, seconds and peak memory in MB."""
    start = time.time()
    with tempfile.NamedTemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.DEVNULL, env=env)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.time() - start
        out.seek(0)
        text = out.read()
    if status != 0:
        sys.exit(f"{' '.join(map(str, command))} ended with {status}: {text[-2000:]}")
    return text, seconds, usage.ru_maxrss / 1024


def row(name, result, seconds, memory):
    cells = [shown(*result[part]) if part in result else "" for part in ["val", "test"]]
    print(f"| {name} | {cells[0]} | {cells[1]} | {seconds:.0f} | {memory:.0f} |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("emberlens")
    parser.add_argument("dir")
    parser.add_argument("--weights", required=True)
    parser.add_argument("--fastai", metavar="PYTHON")
    parser.add_argument("--keras", metavar="PYTHON")
    arguments = parser.parse_args()
    run = Path(tempfile.mkdtemp()) / "run"
    # An empty cache: decoding is part of what is timed, as for the others.
    env = dict(os.environ, XDG_CACHE_HOME=tempfile.mkdtemp(), EMBERLENS_WEIGHTS=str(Path(arguments.weights).parent))
    _, seconds, memory = timed([arguments.emberlens, "train", arguments.dir, "--out", run], env)
    result = {}
    for part in ["val", "test"]:
        metrics = run / "evaluation" / part / "metrics.json"
        if not metrics.exists() and any(row["split"] == part for row in rows(run / "split.csv")):
            timed([arguments.emberlens, "evaluate", "--checkpoint", run, "--split", part, "--out", run / "evaluation" / part], env)
        if metrics.exists():
            found = json.loads(metrics.read_text())
            result[part] = [round(found["accuracy"] * found["images"]), found["images"]]
    print("| | validation | test | s | MB |\n|---|---|---|---|---|")
    row("emberlens train DIR", result, seconds, memory)
    for name, python in [("fastai", arguments.fastai), ("keras", arguments.keras)]:
        if python:
            text, seconds, memory = timed([python, "-W", "ignore", __file__, f"--as={name}", run / "split.csv", arguments.weights])
            row(name, json.loads(text.strip().splitlines()[-1]), seconds, memory)


if __name__ == "__main__":
    if sys.argv[1].startswith("--as="):
        # In a process of its own, so that memory and seconds are one trainer's.
        result = {"fastai": fastai, "keras": keras}[sys.argv[1].removeprefix("--as=")](sys.argv[2], sys.argv[3])
        print(json.dumps({part: [int(value) for value in found] for part, found in result.items()}))
    else:
        main()
