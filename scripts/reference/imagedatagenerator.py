"""What Keras's ImageDataGenerator makes of images, for the tests of src/augment and src/data/batches/normalize.rs.

    pip install tensorflow-cpu scipy pillow safetensors
    python imagedatagenerator.py        # writes tests/golden/imagedatagenerator.safetensors
"""
import itertools, json, pathlib, sys

import keras, numpy as np
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from safetensors.numpy import save_file

keras.config.set_image_data_format("channels_last")


def image(height, width, channels, seed=0):
    """Bytes by a rule that the tests repeat: no symmetry, all levels."""
    row, column, channel = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    return ((row * 37 + column * 91 + channel * 53 + row * column * 7 + seed * 29) % 256).astype(np.float32)


def scattered(shape, seed):
    """Bytes without a pattern (Knuth's multiplicative hash), so that images are independent of one another."""
    index = np.arange(1, np.prod(shape) + 1, dtype=np.uint64) + np.uint64(seed * 1000)
    return (index * index * np.uint64(2654435761) % np.uint64(2**32) >> np.uint64(24)).astype(np.float32).reshape(shape)


SHAPES = [(9, 14, 3), (13, 8, 1), (10, 10, 3)]
FILLS = [("nearest", 0.0), ("constant", 0.0), ("constant", 131.5), ("reflect", 0.0), ("wrap", 0.0)]
ALONE = [
    {"theta": 17.3}, {"theta": -64.0}, {"theta": 179.0}, {"tx": 2.0}, {"tx": -3.37}, {"ty": 1.6}, {"ty": -4.0}, {"shear": 21.0},
    {"shear": -8.5}, {"zx": 0.6, "zy": 0.6}, {"zx": 1.45, "zy": 0.8}, {"zx": 0.31, "zy": 2.9}, {"tx": 31.4, "ty": -27.2}, {"zx": 9.7, "zy": 7.1},
]
COMBINED = [
    {"theta": 12.0, "tx": 1.3, "ty": -0.7, "shear": 6.0, "zx": 0.9, "zy": 1.1},
    {"theta": -33.0, "tx": -2.1, "ty": 1.9, "shear": -14.0, "zx": 1.2, "zy": 0.85, "flip_horizontal": True},
    {"theta": 91.5, "zx": 0.77, "zy": 1.31, "flip_horizontal": True, "flip_vertical": True},
    {"theta": 5.0, "tx": 0.45, "brightness": 0.73},
    {"theta": -7.5, "shear": 11.0, "zx": 1.05, "zy": 0.95, "channel_shift_intensity": 37.5, "brightness": 1.6},
    {"ty": 2.5, "flip_vertical": True, "channel_shift_intensity": -80.25},
    {"theta": 140.0, "tx": -4.2, "ty": 3.3, "shear": 30.0, "zx": 2.2, "zy": 0.4, "flip_vertical": True, "brightness": 1.25},
]
LEVELS_ONLY = [
    {"flip_horizontal": True}, {"flip_vertical": True}, {"flip_horizontal": True, "flip_vertical": True}, {"channel_shift_intensity": 60.0},
    {"channel_shift_intensity": -300.0}, {"brightness": 0.0}, {"brightness": 0.5}, {"brightness": 1.0}, {"brightness": 1.37}, {"brightness": 40.0},
    {"channel_shift_intensity": 22.6, "brightness": 0.81, "flip_horizontal": True}, {},
]
STANDARDIZE = [
    {"rescale": 1 / 255}, {"samplewise_center": True}, {"samplewise_std_normalization": True}, {"featurewise_center": True},
    {"featurewise_std_normalization": True}, {"rescale": 1 / 255, "featurewise_std_normalization": True},
    {"rescale": 0.01, "samplewise_center": True, "featurewise_center": True},
    {"rescale": 1 / 255, "samplewise_std_normalization": True, "featurewise_std_normalization": True},
    {"zca_whitening": True}, {"rescale": 1 / 255, "zca_whitening": True, "zca_epsilon": 0.1},
]

tensors, cases = {}, []


def keep(kind, case, values):
    tensors[f"{len(cases):03}"] = np.ascontiguousarray(values, dtype=np.float32)
    cases.append({"kind": kind, **case})


for shape, (fill_mode, cval), parameters in itertools.product(SHAPES, FILLS, ALONE + COMBINED):
    # Every combination of fill mode and parameter, in turn with one of the shapes or two.
    turn = FILLS.index((fill_mode, cval)) + (ALONE + COMBINED).index(parameters)
    if SHAPES.index(shape) == turn % 3 or (fill_mode, cval) in FILLS[:2]:
        generator = ImageDataGenerator(fill_mode=fill_mode, cval=cval)
        keep("transform", {"shape": shape, "fill_mode": fill_mode, "cval": cval, "parameters": parameters}, generator.apply_transform(image(*shape), dict(parameters)))
for shape, parameters in itertools.product(SHAPES[:2], LEVELS_ONLY):
    keep("transform", {"shape": shape, "fill_mode": "nearest", "cval": 0.0, "parameters": parameters}, ImageDataGenerator().apply_transform(image(*shape), dict(parameters)))
# Levels with fractions, and beyond 0 to 255, which brightness squeezes in.
for scale, offset, parameters in [(0.731, 3.3, {"brightness": 1.2}), (1.9, -90.0, {"brightness": 0.7}), (1.9, -90.0, {"channel_shift_intensity": 50.0, "brightness": 1.4}), (0.0, 300.0, {"brightness": 0.5}), (1e4, 0.0, {"brightness": 1.1})]:
    keep("levels", {"shape": SHAPES[0], "scale": scale, "offset": offset, "parameters": parameters}, ImageDataGenerator().apply_transform(image(*SHAPES[0]) * np.float32(scale) + np.float32(offset), dict(parameters)))
for shape, count in [((8, 9, 3), 3), ((8, 8, 1), 90)]:
    for options in STANDARDIZE:
        if options.get("zca_whitening") and shape[2] == 3:
            continue
        generator = ImageDataGenerator(**options)
        images = [scattered(shape, seed) for seed in range(count)]
        generator.fit(np.stack(images))
        keep("standardize", {"shape": shape, "count": count, "options": options}, generator.standardize(images[1].copy()[None] if options.get("zca_whitening") else images[1].copy()).reshape(shape))

path = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "imagedatagenerator.safetensors"
save_file(tensors, path, metadata={"keras": keras.__version__, "cases": json.dumps(cases)})
print(len(cases), "cases,", path.stat().st_size, "bytes, Keras", keras.__version__, file=sys.stderr)
