"""The parts of the model, as diffusers and transformers build them, and the pipeline folder they make up."""
import json
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

HEAD_WIDTH = 16


def make_vae(size: int, widths: list[int]) -> AutoencoderKL:
    """An autoencoder whose latents are 2^(len(widths) - 1) times smaller than its pictures of `size` pixels."""
    stages = len(widths)
    return AutoencoderKL(
        in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * stages, up_block_types=("UpDecoderBlock2D",) * stages,
        block_out_channels=tuple(widths), layers_per_block=1, latent_channels=4, norm_num_groups=8, sample_size=size, scaling_factor=1.0,
    )


def make_unet(latent_size: int, widths: list[int], text_width: int) -> UNet2DConditionModel:
    """A UNet of Stable Diffusion's topology: four stages, two layers, cross-attention in the first three."""
    return UNet2DConditionModel(
        sample_size=latent_size, in_channels=4, out_channels=4, block_out_channels=tuple(widths), layers_per_block=2,
        # diffusers reads this as the number of heads.
        attention_head_dim=[max(1, width // HEAD_WIDTH) for width in widths],
        cross_attention_dim=text_width, norm_num_groups=16, use_linear_projection=True,
    )


def make_text_encoder(tokenizer: CLIPTokenizer, width: int, layers: int) -> CLIPTextModel:
    """A text encoder of CLIP's form."""
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=4 * width, num_hidden_layers=layers, num_attention_heads=4,
        max_position_embeddings=tokenizer.model_max_length, hidden_act="quick_gelu", projection_dim=width,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    ))


def make_scheduler() -> DDIMScheduler:
    """DDIM for v-prediction, its betas rescaled to zero terminal SNR: the last training step sees noise alone, as generation does."""
    return DDIMScheduler(
        num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=False, steps_offset=1,
    )


class Pipeline:
    """A model folder that was saved, ready to generate."""

    def __init__(self, folder: Path, device: str):
        """Reads a diffusers folder."""
        self.device = device
        self.vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", low_cpu_mem_usage=False).float().eval().to(device)
        self.unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", low_cpu_mem_usage=False).float().eval().to(device)
        self.text_encoder = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder").float().eval().to(device)
        self.tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
        self.scheduler = DDIMScheduler.from_pretrained(folder, subfolder="scheduler")

    @torch.no_grad()
    def generate(self, captions: list[str], seeds: list[int], steps: int, guidance: float) -> torch.Tensor:
        """Pictures [N,3,H,W] in about [-1, 1]. Each has noise of its own seed, so a batch changes none of them."""
        side = self.unet.config.sample_size
        tokens = self.tokenizer(
            [""] * len(captions) + captions, padding="max_length", max_length=self.tokenizer.model_max_length, truncation=True, return_tensors="pt",
        ).input_ids.to(self.device)
        text = self.text_encoder(tokens).last_hidden_state
        noise = [torch.randn(1, 4, side, side, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        latents = torch.cat(noise).to(self.device)
        self.scheduler.set_timesteps(steps)
        for timestep in self.scheduler.timesteps:
            without, with_text = self.unet(torch.cat([latents, latents]), timestep, text).sample.chunk(2)
            latents = self.scheduler.step(without + guidance * (with_text - without), timestep, latents).prev_sample
        return self.vae.decode(latents / self.vae.config.scaling_factor).sample


def save_pipeline(folder: Path, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, vae: AutoencoderKL, scheduler: DDIMScheduler) -> None:
    """Writes a diffusers folder; the tokenizer is there already."""
    unet.save_pretrained(folder / "unet")
    text_encoder.save_pretrained(folder / "text_encoder")
    vae.save_pretrained(folder / "vae")
    scheduler.save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": diffusers.__version__,
        "_asdm": {"version": 1, "defaults": {"guidanceScale": 3, "steps": 20}},
        "feature_extractor": [None, None], "image_encoder": [None, None], "requires_safety_checker": False, "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"], "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf8")
