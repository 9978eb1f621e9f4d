"""A Stable Diffusion VAE decoder in plain PyTorch, as a peer to time against and an independent check at real sizes.

    python3 torch_vae.py <vae folder> [--dtype fp32|bf16] [--channels-last] [--threads N]

Its commands are those of torch_peer.py; the input file holds sample, latents that are scaled already. The arithmetic follows diffusers'
AutoencoderKL.decode.
"""
import json
from pathlib import Path

import torch
import torch.nn.functional as F

from torch_peer import read_weights, serve


OLD_NAMES = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def current_name(name):
    if not name.startswith(("decoder.", "post_quant_conv.")):
        return None
    for before, after in OLD_NAMES.items():
        name = name.replace(f"attentions.0.{before}.", f"attentions.0.{after}.")
    return name


class Decoder:
    def __init__(self, folder, dtype, channels_last):
        self.config = json.loads((Path(folder) / "config.json").read_text())
        self.dtype = dtype
        self.channels_last = channels_last
        self.weights = read_weights(folder, dtype, channels_last, current_name)

    def has(self, prefix):
        return f"{prefix}.weight" in self.weights

    def conv(self, x, p, **options):
        return F.conv2d(x, self.weights[f"{p}.weight"], self.weights[f"{p}.bias"], **options)

    def norm(self, x, p):
        return F.group_norm(x, self.config.get("norm_num_groups", 32), self.weights[f"{p}.weight"], self.weights[f"{p}.bias"], 1e-6)

    def resnet(self, x, p):
        h = self.conv(F.silu(self.norm(x, f"{p}.norm1")), f"{p}.conv1", padding=1)
        h = self.conv(F.silu(self.norm(h, f"{p}.norm2")), f"{p}.conv2", padding=1)
        return (self.conv(x, f"{p}.conv_shortcut") if self.has(f"{p}.conv_shortcut") else x) + h

    def attention(self, x, p):
        n, c, h, w = x.shape
        y = self.norm(x, f"{p}.group_norm").permute(0, 2, 3, 1).reshape(n, h * w, c)

        def linear(t, name):
            weight = self.weights[f"{p}.{name}.weight"]
            return F.linear(t, weight.reshape(weight.shape[0], -1), self.weights[f"{p}.{name}.bias"])

        q, k, v = (linear(y, name)[:, None] for name in ("to_q", "to_k", "to_v"))
        y = linear(F.scaled_dot_product_attention(q, k, v)[:, 0], "to_out.0")
        return x + y.reshape(n, h, w, c).permute(0, 3, 1, 2)

    @torch.no_grad()
    def forward(self, sample):
        x = sample.to(self.dtype)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        if self.has("post_quant_conv"):
            x = self.conv(x, "post_quant_conv")
        x = self.conv(x, "decoder.conv_in", padding=1)
        x = self.resnet(x, "decoder.mid_block.resnets.0")
        if self.has("decoder.mid_block.attentions.0.to_q"):
            x = self.attention(x, "decoder.mid_block.attentions.0")
        x = self.resnet(x, "decoder.mid_block.resnets.1")
        for i in range(len(self.config["block_out_channels"])):
            j = 0
            while self.has(f"decoder.up_blocks.{i}.resnets.{j}.norm1"):
                x = self.resnet(x, f"decoder.up_blocks.{i}.resnets.{j}")
                j += 1
            if self.has(f"decoder.up_blocks.{i}.upsamplers.0.conv"):
                x = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"), f"decoder.up_blocks.{i}.upsamplers.0.conv", padding=1)
        return self.conv(F.silu(self.norm(x, "decoder.conv_norm_out")), "decoder.conv_out", padding=1).float()


serve(Decoder, ["sample"])
