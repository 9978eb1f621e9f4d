"""Makes the reference set sd15-tiny-train: one loss of the tiny UNet with its gradients, then ten steps of AdamW, without and with experts.

Needs torch, safetensors and diffusers (made with torch 2.13.0 on the CPU, one thread, and diffusers at 58eb52c). The inputs (noise, noisy,
encoder_hidden_states, and the experts' first values) are those that the set has already, so a run shows whether it still follows:

    node scripts/fixtures.mjs unpack
    python test/graph/training_reference.py build/fixtures [--write folder]

It prints the largest difference from each kind of stored tensor and from the numbers in expected.json, and with --write makes the set anew.
"""
import argparse
import json
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file, save_file

STEPS, CLIP, KEEP = 10, 0.8, 0.9
ADAMW = {"lr": 1e-3, "betas": (0.9, 0.99), "eps": 1e-8, "weight_decay": 0.05}


class CondConv(torch.nn.Module):
    """A convolution whose kernel is a mixture of experts, by the mean of its input (arXiv 1904.04971)."""

    def __init__(self, conv: torch.nn.Conv2d, start: dict[str, torch.Tensor], router: str):
        """Takes the parameters of `start`, by their names in the checkpoint."""
        super().__init__()
        self.experts, self.router = torch.nn.Module(), torch.nn.Module()
        for name, value in start.items():
            part, leaf = name.split(".")
            setattr(getattr(self, part), leaf, torch.nn.Parameter(value.clone()))
        self.softmax, self.padding = router == "softmax", conv.padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,I,H,W] -> [N,O,H,W]."""
        rating = x.mean((2, 3)) @ self.router.weight.T + self.router.bias
        shares = rating.softmax(-1) if self.softmax else rating.sigmoid()
        mixed = [
            F.conv2d(x[n:n + 1], torch.einsum("k,koihw->oihw", shares[n], self.experts.weight), shares[n] @ self.experts.bias, padding=self.padding)
            for n in range(len(x))
        ]
        return torch.cat(mixed)


def train(unet: UNet2DConditionModel, inputs: dict[str, torch.Tensor], timesteps: torch.Tensor) -> dict:
    """Ten clipped steps on one batch; the average follows each."""
    parameters = dict(unet.named_parameters())
    optimizer = torch.optim.AdamW(parameters.values(), **ADAMW, foreach=False)
    average = {name: value.detach().clone() for name, value in parameters.items()}
    losses, norms = [], []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = F.mse_loss(unet(inputs["noisy"], timesteps, encoder_hidden_states=inputs["encoder_hidden_states"]).sample, inputs["noise"])
        loss.backward()
        if not losses:
            first = {name: float(value.grad.norm()) for name, value in parameters.items()}
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP)))
        optimizer.step()
        losses.append(float(loss))
        with torch.no_grad():
            for name, value in parameters.items():
                average[name].mul_(KEEP).add_(value, alpha=1 - KEEP)
    return {"losses": losses, "norms": norms, "first": first, "weights": parameters, "average": average}


def gradients(unet: UNet2DConditionModel, inputs: dict[str, torch.Tensor], timesteps: torch.Tensor) -> tuple[float, dict[str, torch.Tensor]]:
    """The loss and its gradients, that of the text features under their own name."""
    text = inputs["encoder_hidden_states"].clone().requires_grad_(True)
    loss = F.mse_loss(unet(inputs["noisy"], timesteps, encoder_hidden_states=text).sample, inputs["noise"])
    loss.backward()
    found = {name: value.grad.clone() for name, value in unet.named_parameters()}
    unet.zero_grad()
    return float(loss), {**found, "encoder_hidden_states": text.grad}


def main() -> None:
    """Computes everything, compares, and writes if asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fixtures", type=Path)
    parser.add_argument("--write", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(1)
    stored = load_file(args.fixtures / "sd15-tiny-train" / "expected.safetensors")
    document = json.loads((args.fixtures / "sd15-tiny-train" / "expected.json").read_text())
    timesteps = torch.tensor(document["timesteps"])

    def fresh() -> UNet2DConditionModel:
        unet = UNet2DConditionModel.from_pretrained(args.fixtures / "sd15-tiny" / "unet", low_cpu_mem_usage=False)
        return unet.float().eval().requires_grad_(True)

    unet = fresh()
    loss, grads = gradients(unet, stored, timesteps)
    plain = train(unet, stored, timesteps)
    mixed_unet = fresh()
    for conv in document["experts"]["conditional"]:
        prefix = conv["prefix"]
        parent, leaf = mixed_unet.get_submodule(prefix.rpartition(".")[0]), prefix.rpartition(".")[2]
        head = f"experts/start/{prefix}."
        start = {name[len(head):]: value for name, value in stored.items() if name.startswith(head)}
        setattr(parent, leaf, CondConv(getattr(parent, leaf), start, conv["router"]))
    mixed = train(mixed_unet, stored, timesteps)

    kinds = {"grad": grads, "weight": plain["weights"], "average": plain["average"], "experts/end": mixed["weights"]}
    made = {}
    for name, value in stored.items():
        kind = next((kind for kind in kinds if name.startswith(f"{kind}/")), None)
        made[name] = value if kind is None else kinds[kind][name[len(kind) + 1:]].detach().contiguous()
    for kind in kinds:
        difference = max(float((made[name] - stored[name]).abs().max()) for name in stored if name.startswith(f"{kind}/"))
        print(f"{kind}: {difference:.3g} at most from what is stored")
    new = json.loads(json.dumps(document))
    new.update(loss=loss, gradient_norms={name: float(grads[name].norm()) for name in sorted(document["gradient_norms"])})
    new["adamw"].update(losses=plain["losses"], norms=plain["norms"], weight_norms={name: float(value.norm()) for name, value in sorted(plain["weights"].items())})
    new["experts"].update(losses=mixed["losses"], norms=mixed["norms"], gradient_norms=dict(sorted(mixed["first"].items())))
    print("loss", loss - document["loss"], "losses", max(abs(a - b) for a, b in zip(plain["losses"], document["adamw"]["losses"], strict=True)),
          "with experts", max(abs(a - b) for a, b in zip(mixed["losses"], document["experts"]["losses"], strict=True)))
    if args.write is not None:
        args.write.mkdir(parents=True, exist_ok=True)
        save_file(made, args.write / "expected.safetensors")
        (args.write / "expected.json").write_text(json.dumps(new))


if __name__ == "__main__":
    main()
