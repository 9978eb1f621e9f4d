"""Makes lcm-reference.json: diffusers' guidance embedding, and what the tiny UNet of SD 1.5's kind gives with one.

  python test/golden/lcm-reference.py    (from the repository's root, after node scripts/fixtures.mjs unpack)

The UNet gets `time_cond_proj_dim` 32 and a weight by formula; so are the inputs, so that only results are stored. Made with PyTorch 2.13 and
diffusers 0.40 on the CPU, in float32.
"""
import json
import math
import torch
from diffusers import LatentConsistencyModelPipeline, UNet2DConditionModel
from safetensors.torch import load_file

FOLDER = "build/fixtures/sd15-tiny/unet"
DIM = 32


def wave(shape, step, start):
    """sin(start + i * step), each in double precision, as float32."""
    count = math.prod(shape)
    return torch.tensor([math.sin(start + i * step) for i in range(count)], dtype=torch.float64).to(torch.float32).reshape(shape)


def embedding(scale, dim, count):
    w = torch.tensor(scale - 1).repeat(count)
    return LatentConsistencyModelPipeline.get_guidance_scale_embedding(None, w, embedding_dim=dim)


config = UNet2DConditionModel.load_config(FOLDER)
config["time_cond_proj_dim"] = DIM
unet = UNet2DConditionModel.from_config(config).eval()
weights = load_file(FOLDER + "/diffusion_pytorch_model.safetensors")
width = config["block_out_channels"][0]
weights["time_embedding.cond_proj.weight"] = 0.3 * wave([width, DIM], 0.7, 0.2)
unet.load_state_dict(weights, strict=True)
sample = wave([2, 4, 8, 8], 0.37, 1.0)
text = wave([2, 7, config["cross_attention_dim"]], 0.61, 2.0)
with torch.no_grad():
    outputs = {str(scale): unet(sample, 601, text, timestep_cond=embedding(scale, DIM, 2)).sample.flatten().tolist() for scale in (1.5, 8.0)}
embeddings = [{"scale": s, "dim": d, "values": embedding(s, d, 1)[0].tolist()} for s, d in ((8.5, 256), (7.5, 256), (1.0, 33), (0.0, 32), (3.3, 512), (1.5, DIM), (8.0, DIM))]
print(json.dumps({"embeddings": embeddings, "outputs": outputs}))
