"""Scores a model folder in PyTorch with the prompts, seeds and measures of `asdm eval --drawings`, which it checks.

    python evaluate.py --data ../../build/emoji-data --model ../emoji [--count 96] [--json]

top1 and top5: to what share of pictures is the drawing asked for the nearest, or among the five nearest, of its style, by L2 on the
VAE's latents (means, scaled, 2x2 averages). frechet: distance between the normal distributions of pictures and of drawings asked for,
on latents pooled to 4x4.
"""
import argparse
import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from drawings import Drawings, to_pixels
from networks import Pipeline
from sheet import save_sheet


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--styles", type=lambda text: text.split(","), default=["flat", "render"])
    parser.add_argument("--count", type=int, default=96, help="prompts of each set")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=1000, help="seed of the first picture; the next has the next one")
    parser.add_argument("--batch", type=int, default=24)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--png", type=Path, help="write a sheet of the first pictures of each set above their drawings")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(argv)


def features(pipeline: Pipeline, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scaled latents of pictures [N,H,W,3] uint8, pooled by 2x2 and to 4x4, both flattened."""
    near, coarse = [], []
    with torch.no_grad():
        for begin in range(0, len(pixels), 64):
            x = torch.from_numpy(np.array(pixels[begin:begin + 64])).permute(0, 3, 1, 2).float().div(127.5).sub(1).to(pipeline.device)
            latents = pipeline.vae.encode(x).latent_dist.mean * pipeline.vae.config.scaling_factor
            near.append(F.avg_pool2d(latents, 2).flatten(1).cpu())
            coarse.append(F.adaptive_avg_pool2d(latents, 4).flatten(1).cpu())
    return torch.cat(near).double().numpy(), torch.cat(coarse).double().numpy()


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Squared 2-Wasserstein distance between normal distributions fitted to the rows of a and b."""
    one, two = (np.cov(rows, rowvar=False) for rows in (a, b))
    root = np.sqrt(np.maximum(np.linalg.eigvals(one @ two).real, 0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one) + np.trace(two) - 2 * root)


def score(indices: list[int], drawings: Drawings, pictures: np.ndarray, made: tuple, truth: tuple) -> dict:
    """The numbers of one set."""
    ranks = []
    for k, wanted in enumerate(indices):
        style = drawings.records[wanted].style
        candidates = [i for i, record in enumerate(drawings.records) if record.style == style]
        distances = ((truth[0][candidates] - made[0][k]) ** 2).sum(1)
        ranks.append(1 + int((distances < distances[candidates.index(wanted)]).sum()))
    error = ((pictures.astype(np.float64) - drawings.pixels[indices].astype(np.float64)) ** 2).mean()
    return {
        "pictures": len(indices), "top1": float(np.mean([rank <= 1 for rank in ranks])), "top5": float(np.mean([rank <= 5 for rank in ranks])),
        "frechet": frechet(made[1], truth[1][indices]), "psnrToDrawing": float(10 * np.log10(255**2 / error)),
    }


def main(argv: list[str] | None = None) -> dict:
    """Scores the model and prints the numbers, which are also returned."""
    args = parse(argv)
    drawings = Drawings(args.data, args.styles)
    pipeline = Pipeline(args.model, args.device)
    truth = features(pipeline, drawings.pixels)
    results, rows, seed = {}, [], args.seed
    for name in ("seen", "heldOut"):
        indices = drawings.evaluation[name][:args.count]
        captions = [drawings.records[i].caption for i in indices]
        seeds = list(range(seed, seed + len(indices)))
        seed += len(indices)
        pictures = np.concatenate([
            to_pixels(pipeline.generate(captions[i:i + args.batch], seeds[i:i + args.batch], args.steps, args.guidance)) for i in range(0, len(indices), args.batch)
        ])
        results[name] = score(indices, drawings, pictures, features(pipeline, pictures), truth)
        rows += [pictures[:16], drawings.pixels[indices[:16]]]
    if args.png:
        save_sheet(args.png, rows)
    print(json.dumps(results, indent=1) if args.json else "\n".join(f"{name}: " + " ".join(f"{key} {value:.4g}" for key, value in numbers.items()) for name, numbers in results.items()))
    return results


if __name__ == "__main__":
    main()
