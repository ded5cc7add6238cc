"""TIFF files of every kind that crates/tiff-pixels reads, with the levels that Pillow makes of them.

    pip install pillow numpy safetensors tifffile imagecodecs
    python tiff.py                           # writes crates/tiff-pixels/tests/golden.safetensors

Grey of 12 and 16 bits is an exception: the upper eight bits, where Pillow cuts off what is above 255. So are two faults of Pillow's, named below.
"""
import io, pathlib, struct, sys

import numpy as np, PIL, tifffile
from PIL import Image
from safetensors.numpy import save_file

HEIGHT, WIDTH = 19, 27
row, column = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij")
levels = np.stack([(row * 7 + column * 3) % 256, (column * 9 + row) % 256, (row * column + 13) % 256, 255 - row * 11], -1).astype(np.uint8)
rgb, grey, alpha = Image.fromarray(levels[..., :3]), levels[..., 0], Image.fromarray(levels[..., 3])
images = {
    "bits": Image.fromarray(grey > 60).convert("1"), "grey": Image.fromarray(grey), "palette": rgb.quantize(37), "colours": rgb,
    "grey and alpha": Image.merge("LA", [Image.fromarray(grey), alpha]), "palette and alpha": rgb.quantize(37).convert("PA"),
    "colours and alpha": Image.merge("RGBA", [*rgb.split(), alpha]), "inks": rgb.convert("CMYK"), "luma": rgb.convert("YCbCr"),
    "whole numbers": Image.fromarray(grey.astype(np.int32) * 5 - 100), "fractions": Image.fromarray(grey.astype(np.float32) * 1.7 - 60.3),
    "16 bits": Image.fromarray(grey.astype(np.uint16) * 257 + levels[..., 1]),
}
files = {}


def pillow(name, image, **options):
    out = io.BytesIO()
    image.save(out, "TIFF", **options)
    files[name] = out.getvalue()


def written(name, data, **options):
    out = io.BytesIO()
    tifffile.imwrite(out, data, **options)
    files[name] = out.getvalue()


def raw(name, data, height=HEIGHT, width=WIDTH, **tags):
    """Little-endian, one strip, tags by number."""
    tags = {256: width, 257: height, 259: 1, 273: 0, 277: 1, 278: height, 279: len(data)} | {int(tag[1:]): value for tag, value in tags.items()}
    behind, entries = 8 + 2 + 12 * len(tags) + 4, []
    lists = b""
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, tuple) else None
        if values is None:
            entries.append([tag, 4, 1, struct.pack("<I", value)])
        elif len(values) <= 2:
            entries.append([tag, 3, len(values), struct.pack(f"<{len(values)}H", *values).ljust(4, b"\0")])
        else:
            entries.append([tag, 3, len(values), struct.pack("<I", behind + len(lists))])
            lists += struct.pack(f"<{len(values)}H", *values)
    for entry in entries:
        if entry[0] == 273:
            entry[3] = struct.pack("<I", behind + len(lists))
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHI", *entry[:3]) + entry[3] for entry in entries) + b"\0\0\0\0"
    files[name] = b"II*\0" + struct.pack("<I", 8) + directory + lists + data


for name, image in images.items():
    pillow(name, image)
    pillow(f"{name}, LZW", image, compression="tiff_lzw", tiffinfo={278: 5})
    if name not in ["bits", "luma"]:
        pillow(f"{name}, Deflate and differences", image, compression="tiff_adobe_deflate", tiffinfo={317: 2} if name != "fractions" else {})
pillow("bits, PackBits", images["bits"], compression="packbits")
pillow("colours, PackBits", rgb, compression="packbits")
for compression in ["group3", "group4", "tiff_ccitt"]:
    pillow(f"bits, {compression}", images["bits"], compression=compression)
pillow("big", rgb, big_tiff=True)
for name in ["grey", "colours", "luma", "inks"]:
    pillow(f"{name}, JPEG", images[name], compression="jpeg")
wide = levels.astype(np.uint16) * 257 + 5
for order, byteorder in [("little", "<"), ("big", ">")]:
    written(f"tiles in planes, {order} endian", np.moveaxis(wide[..., :3], -1, 0), photometric="rgb", planarconfig="separate", tile=(16, 16), byteorder=byteorder)
    written(f"tiles with differences, {order} endian", wide[..., :3], photometric="rgb", tile=(16, 32), compression="lzw", predictor=2, byteorder=byteorder)
    for kind in ["float32", "float64"]:
        fractions = grey.astype(kind) * 1.7 - 60
        written(f"{kind}, {order} endian", fractions, byteorder=byteorder)
        written(f"{kind} with differences, {order} endian", fractions, compression="zlib", predictor=3, byteorder=byteorder)
    for kind in ["int16", "int32"]:
        written(f"{kind}, {order} endian", grey.astype(kind) * 5 - 300, byteorder=byteorder)
written("white is zero", grey, photometric="miniswhite")
written("colours times alpha", np.minimum(levels, levels[..., 3:]), photometric="rgb", extrasamples=["assocalpha"])
written("colours and nothing", levels, photometric="rgb", extrasamples=["unspecified"])
written("inks of 16 bits", wide, photometric="separated")
for sampling in [(1, 1), (2, 1), (2, 2)]:
    for tile in [None, (32, 32)]:
        written(f"JPEG {sampling}, {'tiles' if tile else 'strips'}", levels[..., :3], photometric="ycbcr", compression="jpeg", subsampling=sampling, tile=tile)
noise = bytes((at * at // 7 + at * 31) % 256 for at in range(4 * HEIGHT * WIDTH))
for bits in [1, 2, 4]:
    stride = (WIDTH * bits + 7) // 8
    colors = tuple((at * 7919) % 65536 for at in range(3 << bits))
    for order in [1, 2]:
        raw(f"{bits} bits, order {order}", noise[: stride * HEIGHT], t258=(bits,), t262=1, t266=order)
        raw(f"{bits} bits, white is zero, order {order}", noise[: stride * HEIGHT], t258=(bits,), t262=0, t266=order)
    raw(f"{bits} bits, palette", noise[: stride * HEIGHT], t258=(bits,), t262=3, t320=colors)
raw("12 bits", noise[: (WIDTH * 12 + 7) // 8 * HEIGHT], t258=(12,), t262=1)
out = io.BytesIO()
for across, down in [(1, 1), (2, 1), (2, 2), (4, 2)]:
    # Packed, so that Pillow has libtiff read it.
    plain = noise[: -(-WIDTH // across) * -(-HEIGHT // down) * (across * down + 2)]
    packed = b"".join(bytes([len(plain[at : at + 128]) - 1]) + plain[at : at + 128] for at in range(0, len(plain), 128))
    raw(f"luma sampled {across}x{down}", packed, t258=(8, 8, 8), t262=6, t277=3, t530=(across, down), t259=32773)

tensors = {}
for name, data in files.items():
    # Pillow doesn't read fractions of 64 bits, and turns the bytes of differences of them once too often where they are big endian; those of 32
    # bits and the little endian ones show what it would do.
    alike = name.replace("float64", "float32")
    image = Image.open(io.BytesIO(files[alike.replace("big", "little") if "float32 with differences" in alike else alike]))
    image.load()
    if name.startswith("tiles in planes"):
        # Pillow takes the bytes of plain planes of 16 bits for pixels.
        found = np.ascontiguousarray(np.moveaxis(tifffile.imread(io.BytesIO(data)) >> 8, 0, -1).astype(np.uint8))
    elif image.mode.startswith("I;16"):
        found = (np.asarray(image) >> (4 if name == "12 bits" else 8)).astype(np.uint8)
    else:
        mode = {"1": "L", "I": "L", "F": "L", "P": "RGB", "CMYK": "RGB", "YCbCr": "RGB", "PA": "RGBA"}.get(image.mode, image.mode)
        found = np.asarray(image.convert(mode))
    tensors[name + ".tif"] = np.frombuffer(data, np.uint8)
    tensors[name] = found if found.ndim == 3 else found[..., None]
path = pathlib.Path(__file__).parents[2] / "crates" / "tiff-pixels" / "tests" / "golden.safetensors"
save_file(tensors, path, metadata={"pillow": PIL.__version__, "tifffile": tifffile.__version__})
path.chmod(0o644)
print(len(files), "files,", path.stat().st_size, "bytes", file=sys.stderr)
