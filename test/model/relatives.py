"""Shows which relatives of a Stable Diffusion folder's classes diffusers' StableDiffusionPipeline loads with the same text features.

Needs torch, transformers and diffusers (seen with diffusers at 58eb52c, transformers 5.18): for each folder below it prints `same`, or what
became of it. Run, after `node scripts/fixtures.mjs unpack`: python test/model/relatives.py
"""
import json
import pathlib
import shutil
import tempfile

import diffusers
import torch
import transformers
from safetensors.torch import load_file

transformers.logging.set_verbosity_error()
diffusers.utils.logging.set_verbosity_error()
SOURCE = pathlib.Path(__file__).resolve().parents[2] / "build" / "fixtures" / "sd15-tiny"
IDS = torch.tensor([[5, 6, 7, 8]])
TEXT = "text_encoder/config.json"


def features(folder):
    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    return pipeline.text_encoder(IDS)[0]


def edit(file, **values):
    return lambda folder: (folder / file).write_text(json.dumps({**json.loads((folder / file).read_text()), **values}))


def whole_clip(folder):
    config = json.loads((folder / TEXT).read_text())
    weights = load_file(folder / "text_encoder/model.safetensors")
    text = transformers.CLIPTextConfig(**{k: v for k, v in config.items() if k not in ("architectures", "transformers_version", "torch_dtype")})
    vision = dict(hidden_size=32, intermediate_size=37, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16)
    model = transformers.CLIPModel(transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision, projection_dim=16))
    model.load_state_dict({"text_model." + k.removeprefix("text_model."): v.float() for k, v in weights.items()}, strict=False)
    shutil.rmtree(folder / "text_encoder")
    model.save_pretrained(folder / "text_encoder")


CASES = {
    "CLIPTextModelWithProjection": edit(TEXT, architectures=["CLIPTextModelWithProjection"]),
    "CLIPModel": whole_clip,
    "architectures CLIPModel": edit(TEXT, architectures=["CLIPModel"]),
    "model_type clip": edit(TEXT, model_type="clip"),
    "FlaxUNet2DConditionModel": edit("unet/config.json", _class_name="FlaxUNet2DConditionModel"),
    "FlaxAutoencoderKL": edit("vae/config.json", _class_name="FlaxAutoencoderKL"),
    "FlaxStableDiffusionPipeline": edit("model_index.json", _class_name="FlaxStableDiffusionPipeline"),
    "StableDiffusionPanoramaPipeline": edit("model_index.json", _class_name="StableDiffusionPanoramaPipeline"),
    "controlnet beside": edit("model_index.json", controlnet=["diffusers", "ControlNetModel"]),
    "index names CLIPTextModelWithProjection": edit("model_index.json", text_encoder=["transformers", "CLIPTextModelWithProjection"]),
    "index names CLIPModel": edit("model_index.json", text_encoder=["transformers", "CLIPModel"]),
}

expected = features(SOURCE)
for name, change in CASES.items():
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / "model"
        shutil.copytree(SOURCE, folder)
        change(folder)
        try:
            found = features(folder)
            print(f"{name}: {'same' if found.shape == expected.shape and torch.equal(found, expected) else list(found.shape)}")
        except Exception as error:
            print(f"{name}: {type(error).__name__}")
