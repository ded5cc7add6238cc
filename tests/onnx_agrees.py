"""Compares ONNX models that `emberlens export` wrote with `emberlens predict`, in onnxruntime.

    python tests/onnx_agrees.py images DIR          writes images of odd sizes and modes
    python tests/onnx_agrees.py MODEL PREDICTIONS BOUND MOST [MODEL PREDICTIONS BOUND MOST ...]
                                                    checks models and their probabilities

PREDICTIONS is what `predict --format jsonl` wrote; paths in it are opened as they are. Fails if the
model isn't valid, or if a class differs or a probability differs by more than BOUND for more than
MOST images; prints the largest difference and the largest logit. Needs onnx,
onnxruntime, numpy and Pillow.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from PIL import Image, ImageOps


def write_images(folder):
    folder.mkdir(parents=True)
    draws = np.random.default_rng(7)
    sizes = [(400, 7), (7, 400), (230, 97), (97, 230), (3, 2), (1, 1), (150, 90), (24, 20), (301, 640)]
    for width, height in sizes:
        noise = draws.integers(0, 256, (height, width, 3), np.uint8)
        slope = np.add.outer(np.arange(height), np.arange(width)) % 256
        image = Image.fromarray((noise // 3 + slope[..., None] * 2 // 3).astype(np.uint8))
        image.save(folder / f"rgb-{width}x{height}.png")
        image.convert("L").save(folder / f"gray-{width}x{height}.png")
    image.convert("P").save(folder / "palette.png", transparency=3)
    image.putalpha(image.convert("L").rotate(90).resize(image.size))
    image.save(folder / "alpha.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    image.convert("RGB").save(folder / "turned.jpg", exif=turned)


def opened(path):
    """As `predict` reads an image: upright, and over white where it is transparent."""
    image = ImageOps.exif_transpose(Image.open(path))
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    colors = np.asarray(image.convert("RGBA")).astype(int)
    levels, alpha = colors[..., :3], colors[..., 3:]
    return ((levels * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def levels(image, properties):
    """The input of the form `none`, for stretched images."""
    height, width = json.loads(properties["image_size"])
    image = Image.fromarray(image).convert({"rgb": "RGB", "grayscale": "L"}[properties["color"]])
    filter = Image.Resampling[properties["interpolation"].upper()]
    array = np.asarray(image.resize((width, height), filter), np.float32)
    return array.reshape(height, width, -1).transpose(2, 0, 1)


def differences(file, predictions, bound, most):
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    properties = session.get_modelmeta().custom_metadata_map
    classes = json.loads(properties["classes"])
    worst = largest = 0.0
    others = []
    for line in predictions:
        expected = json.loads(line)
        image = opened(expected["path"])
        if properties["preprocess"] == "none":
            image = levels(image, properties)
        probabilities, logits = session.run(["probabilities", "logits"], {"image": image[None]})
        row = probabilities[0]
        wanted = np.array([expected["probabilities"][name] for name in classes])
        assert row.shape == wanted.shape == logits[0].shape, (row, wanted, logits)
        warm = logits[0].astype(float) / float(properties["temperature"])
        warm = np.exp(warm - warm.max())
        assert np.allclose(warm / warm.sum(), row, atol=1e-6), (logits, row)
        largest = max(largest, float(np.abs(logits).max()))
        difference = float(np.abs(row - wanted).max())
        if difference > bound and len(others) < most:
            others.append((difference, expected["path"]))
            continue
        # Classes that are as probable as each other within the bound may change places.
        assert wanted.max() - wanted[row.argmax()] <= 2 * bound, (expected, row, others)
        worst = max(worst, difference)
    return worst, largest


if __name__ == "__main__":
    if sys.argv[1] == "images":
        write_images(Path(sys.argv[2]))
        sys.exit()
    arguments = sys.argv[1:]
    assert arguments and len(arguments) % 4 == 0, __doc__
    for at in range(0, len(arguments), 4):
        file, predictions, bound, most = arguments[at : at + 4]
        onnx.checker.check_model(file, full_check=True)
        lines = Path(predictions).read_text().splitlines()
        worst, largest = differences(file, lines, float(bound), int(most))
        print(f"{file}: {worst:.1e}, logits up to {largest:.3g}")
        assert worst <= float(bound), f"{file}: {worst} is more than {bound}"
