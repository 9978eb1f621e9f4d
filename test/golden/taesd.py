"""Makes taesd.json: what diffusers' AutoencoderTiny decodes and encodes, whole and tiled, and what a pipeline makes of an image with it.

  python test/golden/taesd.py    (from the repository's root, after node scripts/fixtures.mjs unpack)

Weights are made by formula (element i of tensor number n, in the order of their names, is (31 i² + 7 i + 127 n mod 2003) / 1001 - 1, times
1.2 / sqrt(inputs)), and inputs are waves, so only the results are stored, of large ones a few, evenly spread. Made with PyTorch 2.13 and diffusers 0.40 on the CPU, in float32.
"""
import json
import math
import numpy as np
import torch
from diffusers import AutoencoderTiny, DDIMScheduler, StableDiffusionImg2ImgPipeline

torch.set_num_threads(1)
CONFIG = dict(encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(12, 12, 12, 12), num_encoder_blocks=(1, 1, 0, 2),
              num_decoder_blocks=(2, 1, 0, 1))
BARE = dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def wave(shape, step, start, scale=1.0):
    count = math.prod(shape)
    return torch.from_numpy((np.sin(start + step * np.arange(count)) * scale).astype(np.float32).reshape(shape))


def make(config):
    vae = AutoencoderTiny(**config).eval()
    weights = {}
    for number, name in enumerate(sorted(vae.state_dict())):
        shape = tuple(vae.state_dict()[name].shape)
        fan = math.prod(shape[1:]) if len(shape) > 1 else 16
        i = np.arange(math.prod(shape))
        values = ((31 * i * i + 7 * i + 127 * number) % 2003 / 1001 - 1) * 1.2 / math.sqrt(fan)
        weights[name] = torch.from_numpy(values.astype(np.float32).reshape(shape))
    vae.load_state_dict(weights, strict=True)
    return vae, [[name, list(value.shape)] for name, value in sorted(weights.items())]


def few(tensor, count=64):
    flat = tensor.flatten()
    at = np.linspace(0, len(flat) - 1, min(count, len(flat))).astype(int).tolist()
    return dict(shape=list(tensor.shape), at=at, values=[float(f"{flat[i]:.9g}") for i in at])


vae, rows = make(CONFIG)
out = dict(weights=rows, config=CONFIG)
with torch.no_grad():
    latents, image = wave([2, 4, 7, 9], 0.37, 1.0, 4.0), wave([2, 3, 56, 72], 0.61, 2.0)
    out["decode"], out["encode"] = few(vae.decode(latents).sample, 512), few(vae.encode(image).latents, 512)
    large, wide = wave([1, 4, 61, 120], 0.37, 1.0, 4.0), wave([1, 3, 488, 960], 0.61, 2.0)
    vae.enable_tiling()
    out["decodeTiled"], out["encodeTiled"] = few(vae.decode(large).sample, 512), few(vae.encode(wide).latents, 512)
    vae.disable_tiling()
pipe = StableDiffusionImg2ImgPipeline.from_pretrained("build/fixtures/sd15-tiny", **BARE)
pipe.vae, pipe.scheduler = vae, DDIMScheduler.from_config(pipe.scheduler.config)
pipe.set_progress_bar_config(disable=True)
start = wave([1, 3, 64, 64], 0.61, 2.0)
out["img2img"] = few(pipe("a lighthouse", image=start, strength=0.5, num_inference_steps=4, guidance_scale=1.0,
                          generator=torch.Generator().manual_seed(7), output_type="latent").images, 512)
print(json.dumps(out))
