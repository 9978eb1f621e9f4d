"""Makes reference.json: what scikit-image and SciPy give for the images and vectors of references.ts. Needs numpy, scipy, scikit-image.

    python test/eval/reference.py > test/eval/reference.json
"""
import json
import sys

import numpy as np
import scipy
import scipy.linalg
import skimage
from skimage.metrics import peak_signal_noise_ratio, structural_similarity


def image(kind, width, height):
    """The images of references.ts, [H,W,3] uint8."""
    y, x, c = np.meshgrid(np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    base = (x * 7 + y * 13 + c * 50 + ((x * x + 3 * x * y + y * y) % 31) * 5) % 256
    if kind == "base":
        out = base
    elif kind == "noisy":
        out = np.clip(base + (x * 17 + y * 29 + c * 11) % 21 - 10, 0, 255)
    elif kind == "inverted":
        out = 255 - base
    elif kind == "flat":
        out = np.full_like(base, 128) + c
    else:
        out = base // 2 + 64
    return out.astype(np.uint8)


def luma(rgb):
    return rgb.astype(np.float64) @ np.array([0.299, 0.587, 0.114])


def vectors(count, size, seed):
    """The vectors of references.ts, [count, size]."""
    i, j = np.meshgrid(np.arange(count), np.arange(size), indexing="ij")
    return ((i * i * 7 + i * j * (13 + seed) + j * j * 29 + seed) % 101) / 101 - 0.5 + 0.1 * seed


def frechet(a, b, root):
    """Fréchet distance; `root` says how the trace of the matrix root is found."""
    c1, c2 = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    if root == "sqrtm":
        trace = np.trace(scipy.linalg.sqrtm(c1 @ c2)).real
    else:
        trace = np.sqrt(np.maximum(np.linalg.eigvals(c1 @ c2).real, 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * trace)


def main():
    pairs = []
    for width, height in [(11, 11), (16, 12), (37, 23), (64, 64)]:
        for kind in ["noisy", "inverted", "flat", "faint"]:
            one, two = image("base", width, height), image(kind, width, height)
            similarity = structural_similarity(luma(one), luma(two), data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False)
            pairs.append({"width": width, "height": height, "kind": kind, "psnr": float(peak_signal_noise_ratio(one, two, data_range=255)), "ssim": float(similarity)})
    distances = []
    for counts, size, root in [((40, 40), 8, "sqrtm"), ((60, 31), 16, "sqrtm"), ((5, 7), 8, "eigenvalues"), ((96, 96), 64, "sqrtm"), ((20, 30), 64, "eigenvalues")]:
        distances.append({"counts": counts, "size": size, "distance": frechet(vectors(counts[0], size, 0), vectors(counts[1], size, 1), root)})
    json.dump({"about": f"scikit-image {skimage.__version__}, SciPy {scipy.__version__}, NumPy {np.__version__}", "pairs": pairs, "distances": distances}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
