"""Trains the UNet and the text encoder together, on latents of a VAE that is finished.

    python train_unet.py --data ../../build/emoji-data --vae runs/vae/vae --out runs/emoji --bf16

Writes a diffusers folder with the moving average of the weights, and sample.png: prompts, then held-out captions above their drawings.
"""
import argparse
import copy
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

from drawings import Drawings, to_pixels
from networks import Pipeline, make_scheduler, make_text_encoder, make_unet, save_pipeline
from sheet import save_sheet
from tokenizer import token_ids, train_tokenizer
from training import Run, common_arguments, numbers, words

PROMPTS = [
    "a flat emoji of red apple", "a 3d emoji of red apple", "a flat emoji of grinning face", "a 3d emoji of grinning face", "a flat emoji of cat face",
    "a 3d emoji of octopus", "a flat emoji of rocket", "a 3d emoji of pizza", "a flat emoji of crown", "a 3d emoji of evergreen tree",
    "a flat emoji of fish", "a 3d emoji of blue heart",
]


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common_arguments(parser)
    parser.add_argument("--vae", type=Path, required=True, help="folder of the VAE")
    parser.add_argument("--styles", type=words, default=["flat", "render"])
    parser.add_argument("--widths", type=numbers, default=[48, 96, 144, 192])
    parser.add_argument("--text-width", type=int, default=128)
    parser.add_argument("--text-layers", type=int, default=3)
    parser.add_argument("--window", type=int, default=32, help="longest text in tokens")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--total", type=int, default=30000, help="steps of the whole training, to which the learning rate falls")
    parser.add_argument("--lr", type=float, default=8e-4)
    parser.add_argument("--ema", type=float, default=0.9995, help="share of the old in each step of the moving average")
    parser.add_argument("--no-text", type=float, default=0.1, help="share of drawings shown without a caption, for classifier-free guidance")
    parser.add_argument("--compile", action="store_true")
    return parser.parse_args(argv)


def encode_all(vae: AutoencoderKL, drawings: Drawings, device: str) -> torch.Tensor:
    """Means of all drawings' latents, [N,4,h,w], unscaled."""
    with torch.no_grad():
        indices = list(range(len(drawings.records)))
        return torch.cat([vae.encode(drawings.tensor(indices[i:i + 64]).to(device)).latent_dist.mean for i in range(0, len(indices), 64)])


def learning_rate(args: argparse.Namespace, step: int) -> float:
    """Grows for 500 steps, then falls in a line to 3 %."""
    return args.lr * min(1, (step + 1) / 500) * (1 - 0.97 * step / args.total)


def main(argv: list[str] | None = None) -> None:
    """Trains until the end, the time, or the step that was asked for."""
    args = parse(argv)
    drawings = Drawings(args.data, args.styles)
    run = Run(args)
    tokenizer = train_tokenizer(args.out / "tokenizer", drawings, args.window)
    vae = AutoencoderKL.from_pretrained(args.vae, low_cpu_mem_usage=False).float().eval().to(args.device)
    latents = encode_all(vae, drawings, args.device)
    scale = 1 / latents[drawings.train].std().item()
    vae.register_to_config(scaling_factor=scale)
    latents = latents * scale
    unet = make_unet(latents.shape[-1], args.widths, args.text_width).to(args.device)
    text_encoder = make_text_encoder(tokenizer, args.text_width, args.text_layers).to(args.device)
    scheduler = make_scheduler()
    alphas = scheduler.alphas_cumprod.to(args.device)
    parameters = [*unet.parameters(), *text_encoder.parameters()]
    average = [parameter.detach().clone() for parameter in parameters]
    optimizer = torch.optim.AdamW(parameters, lr=args.lr, betas=(0.9, 0.99), weight_decay=0.01)
    parts = {"unet": unet, "text_encoder": text_encoder, "optimizer": optimizer, "average": average}
    run.resume(parts)
    millions = [sum(p.numel() for p in module.parameters()) / 1e6 for module in (unet, text_encoder, vae)]
    print("{:.2f} M parameters in the UNet, {:.2f} M in the text encoder, {:.2f} M in the VAE;".format(*millions),
          f"{len(tokenizer)} tokens, {len(drawings.train)} drawings, {len(drawings.held_out)} held out")

    def save() -> None:
        run.save(parts)
        averaged = copy.deepcopy((unet, text_encoder))
        with torch.no_grad():
            for parameter, value in zip([p for module in averaged for p in module.parameters()], average, strict=True):
                parameter.copy_(value)
        save_pipeline(args.out, *averaged, vae, scheduler)
        held = drawings.evaluation["heldOut"][:len(PROMPTS)]
        captions = PROMPTS + [drawings.records[i].caption for i in held]
        pictures = to_pixels(Pipeline(args.out, args.device).generate(captions, list(range(len(captions))), steps=20, guidance=3.0))
        save_sheet(args.out / "sample.png", [pictures[:len(PROMPTS)], pictures[len(PROMPTS):], drawings.pixels[held]])

    predict = torch.compile(unet) if args.compile else unet
    losses: list[float] = []
    while run.goes_on():
        rate = learning_rate(args, run.step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = run.indices(drawings.train)
        captions = ["" if run.rng.random() < args.no_text else drawings.records[i].random_caption(run.rng) for i in batch]
        ids = token_ids(tokenizer, captions).to(args.device)
        x = latents[batch]
        noise = run.randn(*x.shape)
        timesteps = torch.randint(len(alphas), (args.batch,), generator=run.generator).to(args.device)
        alpha = alphas[timesteps].view(-1, 1, 1, 1)
        noisy = alpha.sqrt() * x + (1 - alpha).sqrt() * noise
        velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * x
        with run.autocast():
            output = predict(noisy, timesteps, text_encoder(ids).last_hidden_state).sample
        loss = F.mse_loss(output.float(), velocity)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        run.step += 1
        # Early on a long memory would hold on to the first values.
        kept = min(args.ema, (1 + run.step) / (10 + run.step))
        with torch.no_grad():
            torch._foreach_lerp_(average, [parameter.detach() for parameter in parameters], 1 - kept)
        losses.append(loss.item())
        if run.is_due(50):
            run.report(lr=rate, loss=sum(losses) / len(losses))
            losses.clear()
        if run.is_due(args.save_every):
            save()
    save()


if __name__ == "__main__":
    main()
