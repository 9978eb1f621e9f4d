"""What diffusers and PIL make of images to fit and overlay: python fit.py > fit.json (with diffusers and Pillow installed)"""

import hashlib
import json

import numpy as np
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

MODES = {"cover": "crop", "contain": "fill", "stretch": "default"}
SIZES = [
    ((64, 64), (32, 32)), ((64, 48), (64, 64)), ((48, 64), (64, 64)), ((17, 31), (64, 32)), ((200, 150), (64, 64)), ((100, 37), (40, 88)), ((37, 100), (88, 40)),
    ((1, 1), (8, 8)), ((3, 2), (64, 64)), ((70, 64), (68, 64)), ((640, 480), (512, 512)), ((33, 257), (8, 64)), ((64, 63), (64, 60)),
]


def noise(count, seed):
    """The bytes that the test makes too: high bits of a multiplicative hash, above a slow gradient."""
    i = np.arange(count, dtype=np.uint64)
    mixed = ((i + np.uint64(seed)) * np.uint64(2654435761) % np.uint64(2**32)) >> np.uint64(25)
    return ((mixed + i // np.uint64(7)) % np.uint64(256)).astype(np.uint8)


def digest(image):
    return hashlib.sha256(np.asarray(image).tobytes()).hexdigest()[:16]


def pixels(size, seed, channels=3):
    array = noise(size[0] * size[1] * channels, seed).reshape(size[1], size[0], channels)
    return Image.fromarray(array if channels == 3 else array[:, :, 0])


processor = VaeImageProcessor()
fits = []
for source, target in SIZES:
    for name, mode in MODES.items():
        rgb = processor.resize(pixels(source, 1), target[1], target[0], resize_mode=mode)
        grey = processor.resize(pixels(source, 2, 1), target[1], target[0], resize_mode=mode).convert("L")
        fits.append({"source": source, "target": target, "fit": name, "rgb": digest(rgb), "grey": digest(grey)})
overlays = [
    {"size": size, "result": digest(processor.apply_overlay(pixels(size, 3, 1), pixels(size, 4), pixels(size, 5)))} for size in [(64, 64), (300, 7)]
]
print(json.dumps({"fits": fits, "overlays": overlays}, indent=0))
