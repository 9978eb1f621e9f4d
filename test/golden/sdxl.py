"""Makes sdxl.json: what diffusers' UNet2DConditionModel gives for a tiny UNet of Stable Diffusion XL's kind.

  python test/golden/sdxl.py > test/golden/sdxl.json

Three stages, transformers of 2 and 3 layers in the last two, linear projections, and pooled text and sizes beside the time step. Weights
are made by formula, in the order of their names: element i of tensor number s is sin(0.7 i + 1.3 s) / 8, of norms' weights 1 more. Made with
PyTorch 2.13 and diffusers 0.40 on the CPU, in float32.
"""
import json
import numpy as np
import torch
from diffusers import UNet2DConditionModel

torch.set_num_threads(1)
CONFIG = dict(sample_size=16, block_out_channels=[32, 64, 64], down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
              up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"], layers_per_block=1, transformer_layers_per_block=[1, 2, 3],
              attention_head_dim=[2, 4, 4], cross_attention_dim=64, norm_num_groups=8, use_linear_projection=True,
              addition_embed_type="text_time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=80)
TAPS = ["time_embedding", "add_embedding", "down_blocks.1", "mid_block", "up_blocks.0.attentions.1", "up_blocks.2"]


def wave(shape, step, start, scale=1.0):
    return torch.from_numpy((np.sin(start + step * np.arange(int(np.prod(shape)))) * scale).astype(np.float32).reshape(shape))


unet = UNet2DConditionModel(**CONFIG).eval()
state = {}
names = sorted(unet.state_dict())
for salt, name in enumerate(names):
    shape = list(unet.state_dict()[name].shape)
    state[name] = wave(shape, 0.7, 1.3 * salt, 0.125) + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
unet.load_state_dict(state, strict=True)
found = {}
for tap in TAPS:
    def hook(_module, _inputs, output, tap=tap):
        found[tap] = output[0] if isinstance(output, tuple) else output
    unet.get_submodule(tap).register_forward_hook(hook)
ids = torch.tensor([[1024.0, 768, 0, 16, 512, 640], [512.0, 512, 8, 0, 512, 512]])
with torch.no_grad():
    sample = unet(wave([2, 4, 8, 8], 0.37, 1.0), 601, wave([2, 7, 64], 0.61, 2.0),
                  added_cond_kwargs=dict(text_embeds=wave([2, 32], 0.43, 3.0), time_ids=ids)).sample


def few(tensor):
    """64 values, evenly spread."""
    flat = tensor.flatten()
    return [float(f"{flat[i].item():.9g}") for i in np.linspace(0, len(flat) - 1, min(64, len(flat))).astype(int)]


print(json.dumps({"config": {"_class_name": "UNet2DConditionModel", **CONFIG}, "weights": [[n, list(state[n].shape)] for n in names], "timeIds": ids.flatten().tolist(),
                  "sample": few(sample), "taps": {tap: few(value) for tap, value in found.items()}}))
