"""Makes embeddings.json: text features of prompts with textual inversion embeddings, as diffusers gives them.

Needs torch, diffusers, transformers, safetensors (made with torch 2.13.0 on the CPU, diffusers at 58eb52c, transformers 5.18.0). Run in the
root, with the fixtures unpacked: python test/text/embeddings.py
Row r of an embedding with the salt s is sin(0.7 (r D + i) + 1.3 s) / 2 in float32, rounded to float16 where the file has that. The base is
the fixture sd15-tiny. Of each prompt's features a few elements are kept, evenly spread.
"""
import json
import pathlib
import tempfile

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file

torch.set_num_threads(1)
pipe = StableDiffusionPipeline.from_pretrained(
    "build/fixtures/sd15-tiny", safety_checker=None, feature_extractor=None, requires_safety_checker=False)
WIDTH = pipe.text_encoder.config.hidden_size


def make(rows, salt, dtype):
    values = np.sin(0.7 * np.arange((rows or 1) * WIDTH) + 1.3 * salt) / 2
    return torch.from_numpy(values.astype(np.float32).reshape([rows, WIDTH] if rows else [WIDTH])).to(dtype)


# With transformers 5 diffusers expands only words in lower case. The tensor's name, rows (0 for a vector without them), salt, number format, and the word that the caller gives.
FILES = [
    ["<Cat-Toy>", 0, 1, "F32", None],
    ["<midjourney-style>", 3, 2, "F16", None],
    ["emb_params", 4, 3, "F32", "easynegative"],
]
with tempfile.TemporaryDirectory() as folder:
    for i, (name, rows, salt, dtype, token) in enumerate(FILES):
        file = f"{folder}/{i}.safetensors"
        save_file({name: make(rows, salt, torch.float16 if dtype == "F16" else torch.float32)}, file)
        pipe.load_textual_inversion(file, token=token)

PROMPTS = [
    "a photo of a <cat-toy>", "<Cat-Toy>", "two <cat-toy> <CAT-TOY>, in <midjourney-style>", "easynegative, blurry", "a dog",
    "bad<cat-toy>art easynegative", "a " * 73 + "<midjourney-style> end", "a " * 75 + "<cat-toy>",
]
cases = []
for prompt in PROMPTS:
    with torch.no_grad():
        features = pipe.encode_prompt(prompt, "cpu", 1, False)[0]
    ids = pipe.tokenizer(pipe.maybe_convert_prompt(prompt, pipe.tokenizer), padding="max_length", max_length=77, truncation=True).input_ids
    flat = features.flatten()
    at = np.linspace(0, len(flat) - 1, 24).astype(int).tolist()
    cases.append(dict(prompt=prompt, added=[i for i, token in enumerate(ids) if token >= len(pipe.tokenizer) - 8], at=at,
                      values=[float(f"{flat[i]:.9g}") for i in at]))

path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(json.dumps(dict(files=FILES, cases=[])).replace('"cases": []}', '"cases": [\n ')
                + ",\n ".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]}\n")
print(len(cases), "cases,", path.stat().st_size, "bytes")
