"""Makes tiling.json: what diffusers' AutoencoderKL decodes and encodes tile by tile.

Needs torch and diffusers (made with torch 2.13.0 on the CPU, diffusers at 58eb52c). Run in the root, with the fixtures unpacked:
python test/golden/tiling.py
Element i of what goes in is sin(0.37 i) for latents, sin(0.0137 i) for images, in float32. A few elements of what comes out are kept, evenly
spread. The VAE is the fixture sd15-tiny's, whose sample_size is 128: tiles of 16 latent pixels.
"""
import json
import pathlib

import numpy as np
import torch
from diffusers import AutoencoderKL

torch.set_num_threads(1)
vae = AutoencoderKL.from_pretrained("build/fixtures/sd15-tiny/vae")
vae.enable_tiling()
cases = []
for kind, shape in (("decode", [1, 4, 40, 21]), ("decode", [2, 4, 16, 17]), ("encode", [1, 3, 136, 312])):
    step = 0.37 if kind == "decode" else 0.0137
    sample = torch.from_numpy(np.sin(step * np.arange(np.prod(shape))).astype(np.float32).reshape(shape))
    with torch.no_grad():
        made = vae.decode(sample).sample if kind == "decode" else vae.encode(sample).latent_dist.mean
        plain = vae.decoder(vae.post_quant_conv(sample)) if kind == "decode" else vae.quant_conv(vae.encoder(sample)).chunk(2, dim=1)[0]
    flat = made.flatten()
    at = np.linspace(0, len(flat) - 1, 400).astype(int).tolist()
    cases.append(dict(kind=kind, input=shape, output=list(made.shape), apart=float((made - plain).abs().max()), at=at,
                      values=[float(f"{flat[i]:.8g}") for i in at]))
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text("[\n " + ",\n ".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")
print([(case["output"], case["apart"], max(map(abs, case["values"]))) for case in cases], path.stat().st_size, "bytes")
