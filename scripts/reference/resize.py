"""What Pillow's filters make of an image, for the tests of crates/resampling: pip install pillow safetensors; python resize.py"""
import pathlib, sys

import numpy as np, PIL
from PIL import Image
from safetensors.numpy import save_file

row, column, channel = np.meshgrid(np.arange(83), np.arange(107), np.arange(3), indexing="ij")
# Smooth and rough at once; the tests repeat the rule.
source = ((row * 37 + column * 91 + channel * 53 + row * column * 7) % 256 // (1 + (row // 6) % 3)).astype(np.uint8)
whole, part = (0, 0, 83, 107), (10.25, 3.5, 77.125, 90.0)
# Down first (Pillow 13) where rows get less by more than twice as many as columns do; one direction alone; up; a word and a run of columns.
cases = [(whole, size) for size in [(11, 15), (8, 50), (20, 100), (9, 128), (90, 31), (83, 40), (30, 107), (1, 1), (64, 64)]]
cases += [(part, size) for size in [(11, 15), (31, 90), (10, 150), (83, 107)]]
tensors = {}
for index, ((top, left, bottom, right), size) in enumerate(cases):
    for name in ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]:
        # In turn, so that each size has both.
        mode, pixels = [("rgb", source), ("grayscale", source[..., 1])][(len(tensors) + index) % 2 if size[0] * size[1] > 999 else 0]
        filter = getattr(Image.Resampling, name.upper())
        resized = Image.fromarray(pixels).resize(size[::-1], filter, box=(left, top, right, bottom))
        tensors[f"{name} {mode} {size[0]} {size[1]} {top} {left} {bottom} {right}"] = np.asarray(resized).reshape(*size, -1)
path = pathlib.Path(__file__).parents[2] / "crates" / "resampling" / "tests" / "golden.safetensors"
path.parent.mkdir(exist_ok=True)
save_file(tensors, path, metadata={"pillow": PIL.__version__})
print(len(tensors), "cases,", path.stat().st_size, "bytes, Pillow", PIL.__version__, file=sys.stderr)
