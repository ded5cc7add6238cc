"""Writes tests/mutated/seeds: small images of kinds that the `image` crate reads and can't write,
from which the mutation tests and the fuzz targets start.

    pip install pillow==13.0.0
    python scripts/reference/seeds.py
"""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image

OUT = Path(__file__).resolve().parents[2] / "tests" / "mutated" / "seeds"


def scene(width, height):
    """An image that is neither square nor symmetric."""
    image = Image.new("RGB", (width, height))
    for y in range(height):
        for x in range(width):
            image.putpixel((x, y), (x * 11 % 256, y * 15 % 256, x * y % 256))
    return image


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def interlaced_png(width, height):
    """A gray PNG in Adam7's seven passes."""
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b""
    for left, top, right, down in passes:
        for y in range(top, height, down):
            row = bytes((x * 20 + y * 30) % 256 for x in range(left, width, right))
            rows += b"\0" + row if row else b""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def run_length_bmp(width, height):
    """A bitmap of 8 bits whose rows are run-length encoded, with a jump and a literal run."""
    body = b"".join(bytes([width - 3, y % 4, 0, 3, y % 4, 2, 1, 0, 0, 0]) for y in range(height - 1))
    body += bytes([0, 2, 2, 0, width - 2, 1, 0, 1])
    palette = bytes([0, 0, 0, 0, 200, 90, 10, 0, 20, 160, 80, 0, 255, 255, 255, 0])
    start = 14 + 40 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 2835, 2835, 4, 0)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + palette + body


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    image = scene(23, 17)
    clear = image.convert("RGBA")
    clear.putpixel((3, 3), (0, 0, 0, 0))
    small = scene(9, 7)
    more = {"save_all": True, "append_images": [small.transpose(Image.Transpose.FLIP_LEFT_RIGHT)], "duration": 50}
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "lossy.webp": saved(image, "WEBP", quality=40),
        "alpha.webp": saved(clear, "WEBP", quality=20),
        "animated.webp": saved(small, "WEBP", quality=20, **more),
        "turned.webp": saved(small, "WEBP", quality=20, exif=exif),
        "turned.jpg": saved(image, "JPEG", quality=30, progressive=True, exif=exif),
        "turned.png": saved(small, "PNG", exif=exif),
        "palette.png": saved(small.quantize(13), "PNG", bits=4, transparency=2),
        "interlaced.png": interlaced_png(11, 5),
        "animated.gif": saved(small, "GIF", **more),
        "interlaced.gif": saved(small.quantize(6), "GIF", interlace=1, transparency=1),
        "run_lengths.bmp": run_length_bmp(12, 7),
        "palette.bmp": saved(small.quantize(6), "BMP"),
        "16_bits.bmp": b"BM" + struct.pack("<IHHI", 54 + 24, 0, 0, 54)
        + struct.pack("<IiiHHIIiiII", 40, 5, -2, 1, 16, 0, 24, 2835, 2835, 0, 0) + bytes(range(24)),
    }
    for name, content in files.items():
        Image.open(io.BytesIO(content)).load()
        (OUT / name).write_bytes(content)


main()
