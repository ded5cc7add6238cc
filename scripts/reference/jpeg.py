"""JPEG files of every kind that crates/jpeg-pixels reads, with the pixels that libjpeg-turbo makes of them (through Pillow, as RGB).

    pip install pillow numpy safetensors; apt install libjpeg-turbo-progs    # cjpeg and jpegtran write what Pillow doesn't
    python jpeg.py                                                           # writes crates/jpeg-pixels/tests/golden.safetensors
"""
import io, pathlib, subprocess, sys, tempfile

import numpy as np, PIL
from PIL import Image, features
from safetensors.numpy import save_file


def image(height, width):
    """Smooth, with edges and some noise, no two corners alike."""
    row, column = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    noise = (row * 7919 + column * 104729 + row * column * 31) % 23
    red = 60 + 150 * (column > row) + noise
    green = 30 + row * 200 // height + 2 * noise
    blue = 250 - column * 220 // width - 90 * ((row // 5 + column // 7) % 2)
    return Image.fromarray(np.stack([red, green, blue], -1).clip(0, 255).astype(np.uint8))


def pillow(image, **options):
    out = io.BytesIO()
    image.save(out, "JPEG", **options)
    return out.getvalue()


def cjpeg(image, *options):
    ppm = io.BytesIO()
    image.save(ppm, "PPM")
    return subprocess.run(["cjpeg", *options], input=ppm.getvalue(), capture_output=True, check=True).stdout


def scans(data, script):
    """The same coefficients in other scans."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(script)
        file.flush()
        return subprocess.run(["jpegtran", "-scans", file.name], input=data, capture_output=True, check=True).stdout


def without_tables(data):
    """As motion JPEG: without its Huffman tables, which are the usual ones."""
    at = data.index(b"\xff\xc4")
    while data[at : at + 2] == b"\xff\xc4":
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return data


main, grey = image(37, 61), image(29, 43).convert("L")
files = {}
for name, sampling in [("444", 0), ("422", 1), ("420", 2)]:
    for quality in [15, 75, 98]:
        files[f"{name} quality {quality}"] = pillow(main, subsampling=sampling, quality=quality)
    files[f"{name} progressive"] = pillow(main, subsampling=sampling, progressive=True)
    for size in [(1, 1), (2, 3), (8, 8), (16, 16), (17, 33), (5, 150), (140, 4)]:
        files[f"{name} {size[0]}x{size[1]}"] = pillow(image(*size), subsampling=sampling)
for sampling in ["1x2", "4x1", "1x4", "4x2", "2x2,1x2,1x1", "1x1,2x2,2x2", "2x2,2x1,1x2"]:
    parts = sampling.split(",")
    files[f"sampled {sampling}"] = cjpeg(main, "-sample", ",".join(parts if len(parts) == 3 else [sampling, "1x1", "1x1"]))
files["optimised"] = pillow(main, optimize=True)
files["restart each row"] = pillow(main, restart_marker_rows=1)
files["restart each 3 blocks, progressive"] = pillow(main, restart_marker_blocks=3, progressive=True)
files["grey"] = pillow(grey)
files["grey, progressive"] = pillow(grey, progressive=True)
files["grey, sampled as if it had colours"] = cjpeg(grey, "-sample", "2x2")
files["grey in three components"] = pillow(grey.convert("RGB"))
files["grey in three components, progressive"] = pillow(grey.convert("RGB"), progressive=True)
files["black"] = pillow(Image.new("RGB", (30, 20)))
files["middle grey"] = pillow(Image.new("RGB", (30, 20), (128, 128, 128)))
files["one colour"] = pillow(Image.new("RGB", (30, 20), (200, 30, 90)))
files["red, green and blue"] = pillow(main, keep_rgb=True)
files["red, green and blue, progressive"] = pillow(main, keep_rgb=True, progressive=True)
files["four inks"] = pillow(main.convert("CMYK"))
files["four inks, progressive"] = pillow(main.convert("CMYK"), progressive=True)
files["a scan a component"] = scans(files["420 quality 75"], "0;\n1;\n2;\n")
files["two scans"] = scans(files["422 quality 75"], "0;\n1 2;\n")
files["progressive, bit by bit"] = scans(
    files["420 quality 98"],
    "0 1 2: 0-0, 0, 3;\n" + "".join(f"0 1 2: 0-0, {bit + 1}, {bit};\n" for bit in [2, 1, 0])
    + "".join(f"{c}: 1-63, 0, 4;\n" + "".join(f"{c}: 1-63, {bit + 1}, {bit};\n" for bit in [3, 2, 1, 0]) for c in range(3)),
)
files["progressive in bands"] = scans(
    files["444 quality 75"], "0 1 2: 0-0, 0, 0;\n" + "".join(f"{c}: 1-2, 0, 0;\n{c}: 3-20, 0, 0;\n{c}: 21-63, 0, 0;\n" for c in range(3))
)
files["16-bit tables"] = cjpeg(main, "-quality", "1")
files["without Huffman tables"] = without_tables(files["422 quality 75"])

tensors = {}
for name, data in files.items():
    tensors[name + ".jpg"] = np.frombuffer(data, np.uint8)
    tensors[name] = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
for name, data in [("arithmetic codes", cjpeg(main, "-arithmetic"))]:
    tensors[name + ".jpg"] = np.frombuffer(data, np.uint8)
path = pathlib.Path(__file__).parents[2] / "crates" / "jpeg-pixels" / "tests" / "golden.safetensors"
versions = {"pillow": PIL.__version__, "libjpeg-turbo": features.version("libjpeg_turbo")}
save_file(tensors, path, metadata=versions)
print(len(files), "files,", path.stat().st_size, "bytes,", versions, file=sys.stderr)
