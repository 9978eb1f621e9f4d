"""Copies a trained model folder without what is not needed to generate, its weights rounded to fp16.

    python ship.py --model runs/emoji --out ../emoji
"""
import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = {"unet": "diffusion_pytorch_model.safetensors", "vae": "diffusion_pytorch_model.safetensors", "text_encoder": "model.safetensors"}
OTHERS = ["model_index.json", "scheduler/scheduler_config.json", *(f"tokenizer/{name}" for name in ("vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"))]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    return parser.parse_args(argv)


def halved(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor as fp16; whole numbers stay.

    Raises:
        ValueError: where a value is too large for fp16.
    """
    if not tensor.is_floating_point():
        return tensor.contiguous()
    half = tensor.half()
    if not torch.isfinite(half).all():
        raise ValueError(f"Expected {name} to fit into fp16 but it holds {tensor.abs().max().item():g}")
    return half.contiguous()


def main(argv: list[str] | None = None) -> None:
    """Writes the folder."""
    args = parse(argv)
    total = 0
    for part, file in WEIGHTS.items():
        (args.out / part).mkdir(parents=True, exist_ok=True)
        tensors = {name: halved(f"{part}/{name}", tensor) for name, tensor in load_file(args.model / part / file).items()}
        save_file(tensors, args.out / part / file, metadata={"format": "pt"})
        # It names a folder of the machine that trained.
        config = json.loads((args.model / part / "config.json").read_text(encoding="utf8"))
        config.pop("_name_or_path", None)
        (args.out / part / "config.json").write_text(json.dumps(config, indent=2), encoding="utf8")
        total += sum(tensor.numel() for tensor in tensors.values())
    for file in OTHERS:
        (args.out / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(args.model / file, args.out / file)
    print(f"{args.out}: {total / 1e6:.1f} M parameters as fp16")


if __name__ == "__main__":
    main()
