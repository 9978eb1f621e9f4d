"""A Stable Diffusion UNet in plain PyTorch, as a peer to time against and an independent check at real sizes.

    python3 torch_unet.py <unet folder> [--dtype fp32|bf16] [--channels-last] [--threads N]

Its commands are those of torch_peer.py; the input file holds sample, timesteps, encoder_hidden_states. The arithmetic follows diffusers'
UNet2DConditionModel (SD 1.x, SD 2.x, BK-SDM options).
"""
import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

from torch_peer import read_weights, serve


class UNet:
    def __init__(self, folder, dtype, channels_last):
        self.config = json.loads((Path(folder) / "config.json").read_text())
        self.dtype = dtype
        self.weights = read_weights(folder, dtype, channels_last)
        self.channels_last = channels_last

    def has(self, prefix):
        return f"{prefix}.weight" in self.weights

    def linear(self, x, p):
        return F.linear(x, self.weights[f"{p}.weight"], self.weights.get(f"{p}.bias"))

    def conv(self, x, p, **options):
        return F.conv2d(x, self.weights[f"{p}.weight"], self.weights.get(f"{p}.bias"), **options)

    def group_norm(self, x, p, eps):
        return F.group_norm(x, self.config.get("norm_num_groups", 32), self.weights[f"{p}.weight"], self.weights[f"{p}.bias"], eps)

    def layer_norm(self, x, p):
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{p}.weight"], self.weights[f"{p}.bias"], 1e-5)

    def resnet(self, x, temb, p):
        eps = self.config.get("norm_eps", 1e-5)
        h = self.conv(F.silu(self.group_norm(x, f"{p}.norm1", eps)), f"{p}.conv1", padding=1)
        h = h + self.linear(F.silu(temb), f"{p}.time_emb_proj")[:, :, None, None]
        h = self.conv(F.silu(self.group_norm(h, f"{p}.norm2", eps)), f"{p}.conv2", padding=1)
        return (self.conv(x, f"{p}.conv_shortcut") if self.has(f"{p}.conv_shortcut") else x) + h

    def attention(self, x, context, p, heads):
        def split(t):
            return t.view(t.shape[0], t.shape[1], heads, -1).transpose(1, 2)
        q, k, v = self.linear(x, f"{p}.to_q"), self.linear(context, f"{p}.to_k"), self.linear(context, f"{p}.to_v")
        out = F.scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).reshape(q.shape)
        return self.linear(out, f"{p}.to_out.0")

    def transformer(self, x, context, p, heads):
        n, c, h, w = x.shape
        y = self.group_norm(x, f"{p}.norm", 1e-6)
        by_linear = self.weights[f"{p}.proj_in.weight"].dim() == 2
        if by_linear:
            y = self.linear(y.permute(0, 2, 3, 1).reshape(n, h * w, c), f"{p}.proj_in")
        else:
            y = self.conv(y, f"{p}.proj_in").permute(0, 2, 3, 1).reshape(n, h * w, c)
        i = 0
        while self.has(f"{p}.transformer_blocks.{i}.norm1"):
            b = f"{p}.transformer_blocks.{i}"
            z = self.layer_norm(y, f"{b}.norm1")
            y = y + self.attention(z, z, f"{b}.attn1", heads)
            y = y + self.attention(self.layer_norm(y, f"{b}.norm2"), context, f"{b}.attn2", heads)
            value, gate = self.linear(self.layer_norm(y, f"{b}.norm3"), f"{b}.ff.net.0.proj").chunk(2, -1)
            y = y + self.linear(value * F.gelu(gate), f"{b}.ff.net.2")
            i += 1
        if by_linear:
            y = self.linear(y, f"{p}.proj_out").reshape(n, h, w, c).permute(0, 3, 1, 2)
        else:
            y = self.conv(y.reshape(n, h, w, c).permute(0, 3, 1, 2), f"{p}.proj_out")
        return x + y

    def heads(self, stage):
        heads = self.config.get("num_attention_heads") or self.config.get("attention_head_dim", 8)
        return heads[stage] if isinstance(heads, list) else heads

    @torch.no_grad()
    def forward(self, sample, timesteps, context):
        config = self.config
        widths = config["block_out_channels"]
        half = widths[0] // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half, dtype=torch.float32) / (half - config.get("freq_shift", 0)))
        angles = timesteps[:, None].float() * frequencies[None]
        temb = torch.cat([angles.cos(), angles.sin()] if config.get("flip_sin_to_cos", True) else [angles.sin(), angles.cos()], -1)
        temb = temb.to(self.dtype)
        temb = self.linear(F.silu(self.linear(temb, "time_embedding.linear_1")), "time_embedding.linear_2")
        x, context = sample.to(self.dtype), context.to(self.dtype)
        if self.channels_last:
            x = x.contiguous(memory_format=torch.channels_last)
        x = self.conv(x, "conv_in", padding=1)
        skips = [x]
        stages = len(widths)
        for s in range(stages):
            for j in range(config.get("layers_per_block", 2)):
                p = f"down_blocks.{s}"
                x = self.resnet(x, temb, f"{p}.resnets.{j}")
                if self.has(f"{p}.attentions.{j}.norm"):
                    x = self.transformer(x, context, f"{p}.attentions.{j}", self.heads(s))
                skips.append(x)
            if self.has(f"down_blocks.{s}.downsamplers.0.conv"):
                x = self.conv(x, f"down_blocks.{s}.downsamplers.0.conv", stride=2, padding=1)
                skips.append(x)
        if self.has("mid_block.resnets.0.norm1"):
            x = self.resnet(x, temb, "mid_block.resnets.0")
            x = self.transformer(x, context, "mid_block.attentions.0", self.heads(stages - 1))
            x = self.resnet(x, temb, "mid_block.resnets.1")
        for s in range(stages):
            p = f"up_blocks.{s}"
            j = 0
            while self.has(f"{p}.resnets.{j}.norm1"):
                x = self.resnet(torch.cat([x, skips.pop()], 1), temb, f"{p}.resnets.{j}")
                if self.has(f"{p}.attentions.{j}.norm"):
                    x = self.transformer(x, context, f"{p}.attentions.{j}", self.heads(stages - 1 - s))
                j += 1
            if self.has(f"{p}.upsamplers.0.conv"):
                x = self.conv(F.interpolate(x, size=skips[-1].shape[2:], mode="nearest"), f"{p}.upsamplers.0.conv", padding=1)
        x = F.silu(self.group_norm(x, "conv_norm_out", config.get("norm_eps", 1e-5)))
        return self.conv(x, "conv_out", padding=1).float()


serve(UNet, ["sample", "timesteps", "encoder_hidden_states"])
