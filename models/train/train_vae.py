"""Trains the autoencoder (diffusers' AutoencoderKL) on the drawings that are not held out.

    python train_vae.py --data ../../build/emoji-data --out runs/vae --bf16

Loss: L1 of the pixels, half the L1 of their differences to the right and downwards (sharp edges), and a little of the KL divergence.
"""
import argparse
import math

import torch

from drawings import Drawings
from networks import make_vae
from training import Run, common_arguments, numbers, words


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_arguments(parser)
    parser.add_argument("--styles", type=words, default=["flat", "render", "noto", "twemoji"])
    parser.add_argument("--widths", type=numbers, default=[24, 48, 96])
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--total", type=int, default=6000, help="steps of the whole training")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    return parser.parse_args(argv)


def learning_rate(args: argparse.Namespace, step: int) -> float:
    """Grows for 200 steps, then falls along half a cosine to 3 %."""
    return args.lr * min(1, (step + 1) / 200) * (0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1, step / args.total))))


def held_out_psnr(vae: torch.nn.Module, drawings: Drawings, device: str) -> float:
    """PSNR in decibels of held-out drawings after encoding and decoding, over all their pixels."""
    squares = []
    with torch.no_grad():
        for begin in range(0, len(drawings.held_out), 64):
            x = drawings.tensor(drawings.held_out[begin:begin + 64]).to(device)
            squares.append((vae.decode(vae.encode(x).latent_dist.mean).sample.clamp(-1, 1) - x).pow(2).flatten(1).mean(1).cpu())
    return 10 * math.log10(4 / torch.cat(squares).mean().item()) if squares else float("nan")


def main(argv: list[str] | None = None) -> None:
    """Trains until the end, the time, or the step that was asked for."""
    args = parse(argv)
    drawings = Drawings(args.data, args.styles)
    run = Run(args)
    vae = make_vae(drawings.size[0], args.widths).to(args.device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=args.lr, betas=(0.9, 0.99), weight_decay=1e-4)
    parts = {"vae": vae, "optimizer": optimizer}
    run.resume(parts)
    print(f"{sum(p.numel() for p in vae.parameters()) / 1e6:.2f} M parameters, {len(drawings.train)} drawings, {len(drawings.held_out)} held out")

    def save() -> None:
        run.save(parts)
        vae.save_pretrained(args.out / "vae")

    while run.goes_on():
        rate = learning_rate(args, run.step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        x = drawings.tensor(run.indices(drawings.train)).to(args.device, memory_format=torch.channels_last)
        if torch.rand(1, generator=run.generator).item() < 0.5:
            x = x.flip(3)
        with run.autocast():
            posterior = vae.encode(x).latent_dist
            latents = posterior.mean + posterior.std * run.randn(*posterior.mean.shape)
            y = vae.decode(latents).sample
        error = y.float() - x
        edges = (error[..., 1:] - error[..., :-1]).abs().mean() + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
        divergence = posterior.kl().float().mean()
        loss = error.abs().mean() + 0.5 * edges + 2e-4 * divergence / latents[0].numel()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        run.step += 1
        if run.is_due(50):
            run.report(lr=rate, loss=loss.item(), psnr=-10 * math.log10(error.detach().pow(2).mean().item() / 4), kl=divergence.item())
        if run.is_due(args.save_every):
            save()
    save()
    print(f"PSNR of held-out drawings: {held_out_psnr(vae, drawings, args.device):.2f} dB")


if __name__ == "__main__":
    main()
