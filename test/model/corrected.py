"""Makes corrected.json: what diffusers' pipelines make of scheduler and UNet configs in their constructors.

Needs torch, transformers and diffusers (made with diffusers at 58eb52c). Run: python test/model/corrected.py
"""
import itertools
import json
import pathlib

import diffusers
import transformers
from diffusers.configuration_utils import FrozenDict

diffusers.utils.logging.set_verbosity_error()
UNET = dict(block_out_channels=[32, 64], layers_per_block=1, sample_size=8, in_channels=4, out_channels=4, cross_attention_dim=32,
            down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"], up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"], attention_head_dim=8)
VAE = dict(block_out_channels=[32, 64], in_channels=3, out_channels=3, down_block_types=["DownEncoderBlock2D"] * 2,
           up_block_types=["UpDecoderBlock2D"] * 2, latent_channels=4)
TEXT = dict(vocab_size=100, hidden_size=32, intermediate_size=37, num_hidden_layers=1, num_attention_heads=4)
PIPELINES = ["StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline", "LatentConsistencyModelPipeline"]
parts = dict(vae=diffusers.AutoencoderKL(**VAE), text_encoder=transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT)), tokenizer=None,
             safety_checker=None, feature_extractor=None, requires_safety_checker=False)


def pipeline(name, scheduler, version=None, size=8):
    unet = diffusers.UNet2DConditionModel(**{**UNET, "sample_size": size})
    if version is not None:
        unet._internal_dict = FrozenDict({**unet.config, "_diffusers_version": version})
    return getattr(diffusers, name)(unet=unet, scheduler=scheduler, **parts)


schedulers = []
for name in PIPELINES:
    for cls, clip, offset, prk in itertools.product(
            ["DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "LCMScheduler"], [None, True, False], [None, 2], [None, True, False]):
        if prk is not None and cls != "PNDMScheduler" or clip is not None and cls in ("PNDMScheduler", "EulerDiscreteScheduler"):
            continue
        config = {k: v for k, v in dict(clip_sample=clip, steps_offset=offset, skip_prk_steps=prk).items() if v is not None}
        made = pipeline(name, getattr(diffusers, cls)(**config)).scheduler.config
        after = {k: made[k] for k in ("clip_sample", "steps_offset", "skip_prk_steps") if k in made}
        schedulers.append(dict(pipeline=name, config=dict(_class_name=cls, **config), after=after))

sizes = []
for name, version, size in itertools.product(PIPELINES, [None, "0.6.0", "0.8.0.dev0", "0.9.0.dev0", "0.10.2", "1.0.0"], [32, 96]):
    sizes.append(dict(pipeline=name, version=version, size=size, after=pipeline(name, diffusers.DDIMScheduler(), version, size).unet.config.sample_size))

lines = lambda rows: "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"
pathlib.Path(__file__).with_suffix(".json").write_text(f'{{"schedulers": {lines(schedulers)},\n"sizes": {lines(sizes)}}}\n')
