"""Damaged JPEG files, made of those in crates/jpeg-pixels/tests/golden.safetensors, with the pixels that libjpeg-turbo makes of them (through
Pillow, as RGB).

    pip install pillow numpy safetensors
    python jpeg_damage.py                    # writes crates/jpeg-pixels/tests/damaged.safetensors
"""
import io, pathlib, random, sys

import numpy as np, PIL
from PIL import Image, features
from safetensors.numpy import load_file, save_file

FOLDER = pathlib.Path(__file__).parents[2] / "crates" / "jpeg-pixels" / "tests"
NAMES = [
    "420 quality 75", "422 17x33", "grey", "four inks", "restart each row", "a scan a component", "420 progressive", "444 17x33",
    "restart each 3 blocks, progressive", "progressive, bit by bit",
]


def segments(data):
    """Where each segment starts, with its marker."""
    at, found = 2, []
    while at + 4 <= len(data):
        found.append((at, data[at + 1]))
        if data[at + 1] == 0xD9:
            break
        is_scan = data[at + 1] == 0xDA
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        while is_scan and not (data[at] == 0xFF and data[at + 1] not in (0, *range(0xD0, 0xD8))):
            at += 1
    return found


def damages(name, data):
    scans = [at for at, marker in segments(data) if marker == 0xDA]
    first = scans[0] + 2 + int.from_bytes(data[scans[0] + 2 : scans[0] + 4], "big")
    for percent in [2, 40, 90]:
        yield f"cut at {percent} %", data[: first + (len(data) - 2 - first) * percent // 100]
    # Later scans are missing, the tables before them too.
    for count, (at, marker) in enumerate(segments(data)):
        if marker == 0xDA and at > scans[0]:
            yield f"{count} segments", data[:at] + b"\xff\xd9"
    draw = random.Random(name)
    for turn in range(4):
        changed = bytearray(data)
        for _ in range(1 + turn % 3):
            changed[draw.randrange(first, len(data) - 2)] = draw.randrange(256)
        yield f"changed {turn}", bytes(changed)
    middle = first + (len(data) - first) // 2
    yield "a hole", data[:middle] + data[middle + 9 :]
    yield "a marker inside", data[:middle] + b"\xff\xd9" + data[middle:]
    restarts = [at for at in range(first, len(data) - 1) if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7]
    if restarts:
        at = restarts[len(restarts) // 2]
        yield "a restart too few", data[:at] + data[at + 2 :]
        for ahead in range(1, 8):
            number = 0xD0 + (data[at + 1] + ahead) % 8
            yield f"a restart {ahead} ahead", data[: at + 1] + bytes([number]) + data[at + 2 :]
        yield "a stretch too few", data[: restarts[0]] + data[restarts[1] :]


whole = load_file(FOLDER / "golden.safetensors")
tensors = {}
for name in NAMES:
    for damage, data in damages(name, whole[name + ".jpg"].tobytes()):
        try:
            # Behind the end of a file, libjpeg sees an end marker.
            levels = np.asarray(Image.open(io.BytesIO(data + b"\xff\xd9")).convert("RGB"))
        except OSError:
            continue  # Nothing is to be made of it.
        tensors[f"{name}, {damage}.jpg"] = np.frombuffer(data, np.uint8)
        tensors[f"{name}, {damage}"] = levels
path = FOLDER / "damaged.safetensors"
versions = {"pillow": PIL.__version__, "libjpeg-turbo": features.version("libjpeg_turbo")}
save_file(tensors, path, metadata=versions)
path.chmod(0o644)
print(len(tensors) // 2, "files,", path.stat().st_size, "bytes,", versions, file=sys.stderr)
