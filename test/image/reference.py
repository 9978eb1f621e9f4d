"""PNGs of every kind, and what PIL makes of them: python reference.py > reference.json

The files are written here, bit by bit, since PIL writes few kinds; they follow the kinds of the public PngSuite. Each row goes through the next
of the five filters. Expected are SHA-256 of `Image.open(file).convert("RGB")`, of `convert("L")` and of the alpha of `convert("RGBA")`. Only for 16-bit grey without alpha the reference
is the high byte, as PIL itself reads all other 16-bit kinds: its mode "I;16" clips at 255 instead, which makes nearly everything white.
"""

import base64
import hashlib
import io
import json
import random
import struct
import zlib

from PIL import Image

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
DEPTHS = {0: [1, 2, 4, 8, 16], 2: [8, 16], 3: [1, 2, 4, 8], 4: [8, 16], 6: [8, 16]}
ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def paeth(a, b, c):
    p = a + b - c
    pa, pb, pc = abs(p - a), abs(p - b), abs(p - c)
    return a if pa <= pb and pa <= pc else b if pb <= pc else c


def filtered(kind, row, above, pixel):
    out = bytearray([kind])
    for i, value in enumerate(row):
        left = row[i - pixel] if i >= pixel else 0
        corner = above[i - pixel] if i >= pixel else 0
        out.append((value - [0, left, above[i], (left + above[i]) // 2, paeth(left, above[i], corner)][kind]) & 255)
    return bytes(out)


def packed(samples, depth):
    if depth == 16:
        return b"".join(struct.pack(">H", s) for s in samples)
    if depth == 8:
        return bytes(samples)
    bits = "".join(format(s, f"0{depth}b") for s in samples)
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))


def image_data(width, height, kind, depth, pixels, interlaced, first_filter):
    pixel = max(1, CHANNELS[kind] * depth // 8)
    out, turn = b"", first_filter
    for x0, y0, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        columns = range(x0, width, dx)
        above = None
        for y in range(y0, height, dy) if len(columns) else []:
            row = packed([s for x in columns for s in pixels[y][x]], depth)
            out += filtered(turn % 5, row, above or bytes(len(row)), pixel)
            above, turn = row, turn + 1
    return out


def png(width, height, kind, depth, interlaced=False, before=b"", between=b"", split=0, level=9, pad=b"", after=b"", entries=None, seed=0):
    rand = random.Random(f"{width} {height} {kind} {depth} {seed}")
    most = (entries or 2**depth) - 1 if kind == 3 else 2**depth - 1
    # A gradient with noise, so that all filters have something to do and the values reach both ends.
    def sample(x, y, c):
        value = (x + 2 * y + 5 * c) / (width + 2 * height + 10) * most + rand.uniform(-0.2, 0.2) * most
        return max(0, min(most, round(value)))
    pixels = [[[sample(x, y, c) for c in range(CHANNELS[kind])] for x in range(width)] for y in range(height)]
    data = zlib.compress(image_data(width, height, kind, depth, pixels, interlaced, seed), level) + pad
    pieces = [data[i : i + split] for i in range(0, len(data), split)] if split else [data]
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, int(interlaced)))
    palette = b"" if kind != 3 else chunk(b"PLTE", bytes(rand.randrange(256) for _ in range(3 * (most + 1))))
    return b"\x89PNG\r\n\x1a\n" + header + palette + before + b"".join(chunk(b"IDAT", p) for p in pieces) + between + chunk(b"IEND", b"") + after


def text(keyword, value):
    return chunk(b"tEXt", keyword + b"\0" + value)


files = {}
for kind, depths in DEPTHS.items():
    for depth in depths:
        for interlaced in [False, True]:
            files[f"type {kind}, {depth} bits{', interlaced' if interlaced else ''}"] = png(19, 11, kind, depth, interlaced)
        files[f"type {kind}, {depth} bits, 1x1"] = png(1, 1, kind, depth, True)
for side in range(1, 10):
    for kind, depth in [(3, 1), (2, 8), (0, 4)]:
        files[f"type {kind}, {depth} bits, {side}x{10 - side}, interlaced"] = png(side, 10 - side, kind, depth, True)
        files[f"type {kind}, {depth} bits, {side}x{side}"] = png(side, side, kind, depth)
for first in range(5):
    files[f"filters from {first} on"] = png(11, 7, 2, 8, seed=first)
files["tRNS of grey, 1 bit"] = png(12, 12, 0, 1, before=chunk(b"tRNS", b"\0\1"))
files["tRNS of grey, 8 bits"] = png(12, 12, 0, 8, before=chunk(b"tRNS", b"\0\x80"))
files["tRNS of grey, 16 bits"] = png(12, 12, 0, 16, before=chunk(b"tRNS", b"\x80\x80"))
files["tRNS of RGB"] = png(12, 12, 2, 8, before=chunk(b"tRNS", b"\0\x10\0\x20\0\x30"))
files["tRNS of RGB, 16 bits"] = png(12, 12, 2, 16, before=chunk(b"tRNS", b"\x10\x10\x20\x20\x30\x30"))
files["tRNS of a palette"] = png(12, 12, 3, 4, before=chunk(b"tRNS", bytes(range(0, 160, 16))))
files["tRNS of a palette, 8 bits, interlaced"] = png(12, 12, 3, 8, True, before=chunk(b"tRNS", bytes(range(256))))
files["palette of 3"] = png(12, 12, 3, 2, entries=3)
files["palette of 200"] = png(12, 12, 3, 8, entries=200)
files["suggested palette"] = png(12, 12, 2, 8, before=chunk(b"PLTE", bytes(range(30))))
for gamma in [35000, 45455, 100000, 250000]:
    files[f"gamma {gamma}"] = png(12, 12, 2, 8, before=chunk(b"gAMA", struct.pack(">I", gamma)))
    files[f"gamma {gamma}, grey, 16 bits"] = png(12, 12, 0, 16, before=chunk(b"gAMA", struct.pack(">I", gamma)))
files["sBIT, bKGD, cHRM, pHYs, tIME"] = png(12, 12, 2, 8, before=chunk(b"sBIT", b"\5\6\5") + chunk(b"bKGD", bytes(6)) + chunk(b"cHRM", bytes(range(32))) + chunk(b"pHYs", bytes(9)), between=chunk(b"tIME", bytes(7)))
files["texts"] = png(12, 12, 2, 8, before=text(b"Title", b"x"), between=text(b"Comment", b"y"))
files["IDAT a byte each"] = png(12, 12, 2, 8, split=1)
files["IDAT of 7 bytes, with an empty one"] = png(12, 12, 6, 8, split=7).replace(chunk(b"IEND", b""), chunk(b"IDAT", b"") + chunk(b"IEND", b""))
for level in [0, 1, 6]:
    files[f"level {level}"] = png(12, 12, 2, 8, level=level)
files["newline after the end"] = png(12, 12, 2, 8, after=b"\n")
files["an older, longer file's rest after the end"] = png(12, 12, 2, 8, after=png(20, 20, 2, 8))
files["zeros behind the compressed data"] = png(12, 12, 2, 8, pad=bytes(16))
files["zeros behind it in IDATs of their own"] = png(12, 12, 2, 8, pad=bytes(300), split=64)

rows = {}
for name, data in files.items():
    image = Image.open(io.BytesIO(data))
    if image.mode == "I;16":
        image = Image.frombytes("L", image.size, image.tobytes()[1::2])
    rgb, grey = image.convert("RGB"), image.convert("L")
    rows[name] = {
        "png": base64.b64encode(data).decode(), "width": image.width, "height": image.height,
        # PIL looks for a transparent colour of 16 bits among values of 8.
        **({} if "tRNS" in name and "16 bits" in name else {"alpha": hashlib.sha256(image.convert("RGBA").getchannel("A").tobytes()).hexdigest()[:16]}),
        "rgb": hashlib.sha256(rgb.tobytes()).hexdigest()[:16], "grey": hashlib.sha256(grey.tobytes()).hexdigest()[:16],
    }
print(json.dumps(rows, indent=0))
