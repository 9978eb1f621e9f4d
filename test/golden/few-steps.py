"""Makes few-steps.json: latents that diffusers' pipelines end with where checkpoints or LoRAs are made for few steps.

  python test/golden/few-steps.py    (from the repository's root, after node scripts/fixtures.mjs unpack)

The model is the fixture sd15-tiny. A matrix of the LoRA is made by formula: element i of one with the salt s is sin(0.7 i + 1.3 s) / 20; its
names are kohya's, as LCM-LoRA's, its alpha is 1. The weight of the guidance embedding is lcm-reference.py's. Made with PyTorch 2.13, diffusers
0.40 and peft 0.21 on the CPU, in float32.
"""
import json
import math
import numpy as np
import torch
from diffusers import (DDIMScheduler, EulerDiscreteScheduler, LatentConsistencyModelPipeline, LCMScheduler, StableDiffusionPipeline, TCDScheduler,
                       UNet2DConditionModel)
from safetensors.torch import load_file

torch.set_num_threads(1)
FOLDER = "build/fixtures/sd15-tiny"
BARE = dict(safety_checker=None, feature_extractor=None, requires_safety_checker=False)
ATTN = "down_blocks.0.attentions.0.transformer_blocks.0."
LAYERS = [ATTN + "attn1.to_q", ATTN + "attn2.to_out.0", ATTN + "ff.net.0.proj", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k"]
REQUEST = dict(prompt="a lighthouse at dusk", width=64, height=64)
DIM = 32


def make(shape, salt):
    count = int(np.prod(shape))
    return torch.from_numpy((np.sin(0.7 * np.arange(count) + 1.3 * salt) / 20).astype(np.float32).reshape(shape))


def lora(unet):
    """Rows [name, shape, salt] and what they make; an alpha is its salt."""
    rows, weights = [], dict(unet.named_parameters())
    for layer in LAYERS:
        out, features = weights[layer + ".weight"].shape
        key = "lora_unet_" + layer.replace(".", "_")
        for name, shape in ((".lora_down.weight", [2, features]), (".lora_up.weight", [out, 2])):
            rows.append([key + name, shape, len(rows) + 1])
        rows.append([key + ".alpha", [], 1])
    return rows, {name: torch.tensor(float(salt)) if name.endswith(".alpha") else make(shape, salt) for name, shape, salt in rows}


def rounded(latents):
    return [float(f"{value:.8g}") for value in latents.flatten().tolist()]


def run(scheduler, with_lora, **options):
    pipe = StableDiffusionPipeline.from_pretrained(FOLDER, **BARE)
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = scheduler(pipe.scheduler.config)
    if with_lora:
        pipe.load_lora_weights(lora(pipe.unet)[1])
        pipe.fuse_lora()
    return rounded(pipe(**REQUEST, **options, generator=torch.Generator().manual_seed(7), output_type="latent").images)


def guided(**options):
    pipe = StableDiffusionPipeline.from_pretrained(FOLDER, **BARE)
    config = UNet2DConditionModel.load_config(FOLDER + "/unet")
    config["time_cond_proj_dim"] = DIM
    unet = UNet2DConditionModel.from_config(config).eval()
    weights = load_file(FOLDER + "/unet/diffusion_pytorch_model.safetensors")
    count = config["block_out_channels"][0] * DIM
    wave = torch.tensor([math.sin(0.2 + i * 0.7) for i in range(count)], dtype=torch.float64).to(torch.float32)
    weights["time_embedding.cond_proj.weight"] = 0.3 * wave.reshape(-1, DIM)
    unet.load_state_dict(weights, strict=True)
    pipe = LatentConsistencyModelPipeline(vae=pipe.vae, text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer, unet=unet,
                                          scheduler=LCMScheduler.from_config(pipe.scheduler.config), **BARE, image_encoder=None)
    pipe.set_progress_bar_config(disable=True)
    return rounded(pipe(**REQUEST, **options, generator=torch.Generator().manual_seed(7), output_type="latent").images)


rows, _ = lora(UNet2DConditionModel.from_pretrained(FOLDER, subfolder="unet"))
few = dict(num_inference_steps=4, guidance_scale=1.0)
cases = {
    "lcm-lora": run(LCMScheduler.from_config, True, **few),
    "tcd-lora": run(TCDScheduler.from_config, True, **few, eta=0.3),
    "hyper-sd": run(lambda config: DDIMScheduler.from_config(config, timestep_spacing="trailing"), True, num_inference_steps=2, guidance_scale=0.0),
    "sd-turbo": run(lambda config: EulerDiscreteScheduler.from_config(config, timestep_spacing="trailing"), False, num_inference_steps=1,
                    guidance_scale=0.0),
    "lcm": guided(),
}
print(json.dumps({"lora": rows, "latents": cases}))
