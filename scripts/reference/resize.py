"""What Pillow's filters make of a picture, for the tests of src/data/resize.rs: pip install pillow safetensors; python resize.py"""
import pathlib, sys

import numpy as np, PIL
from PIL import Image
from safetensors.numpy import save_file

row, column, channel = np.meshgrid(np.arange(23), np.arange(37), np.arange(3), indexing="ij")
# Smooth and rough at once; the tests repeat the rule.
source = ((row * 37 + column * 91 + channel * 53 + row * column * 7) % 256 // (1 + (row // 6) % 3)).astype(np.uint8)
tensors = {}
for size in [(11, 15), (8, 50), (40, 61)]:
    for name in ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]:
        for mode, pixels in [("rgb", source), ("grayscale", source[..., 1])]:
            resized = Image.fromarray(pixels).resize(size[::-1], getattr(Image.Resampling, name.upper()))
            tensors[f"{name} {mode} {size[0]} {size[1]}"] = np.asarray(resized).reshape(*size, -1)
path = pathlib.Path(__file__).parents[2] / "tests" / "golden" / "resize.safetensors"
save_file(tensors, path, metadata={"pillow": PIL.__version__})
print(len(tensors), "cases,", path.stat().st_size, "bytes, Pillow", PIL.__version__, file=sys.stderr)
