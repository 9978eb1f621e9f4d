"""Makes long-prompts.json: features that diffusers' lpw_stable_diffusion community pipeline gives for prompts beyond the window.

Needs torch, transformers and diffusers' repository (made with transformers 5.18 and diffusers at 58eb52c), and the unpacked fixtures.
Run: python test/text/long-prompts.py <diffusers>/examples/community build/fixtures/sd15-tiny
Of each prompt's features [L,D] some rows are kept.
"""
import importlib.util
import json
import pathlib
import sys
import types

import torch
import transformers

spec = importlib.util.spec_from_file_location("lpw", pathlib.Path(sys.argv[1]) / "lpw_stable_diffusion.py")
lpw = importlib.util.module_from_spec(spec)
spec.loader.exec_module(lpw)
model = pathlib.Path(sys.argv[2])
pipe = types.SimpleNamespace(
    tokenizer=transformers.CLIPTokenizer.from_pretrained(model / "tokenizer"),
    text_encoder=transformers.CLIPTextModel.from_pretrained(model / "text_encoder", dtype=torch.float32).eval(), device="cpu")

# transformers 5.18 has no inner model any more; the pipeline asks it for its last norm.
object.__setattr__(pipe.text_encoder, "text_model", types.SimpleNamespace(final_layer_norm=pipe.text_encoder.final_layer_norm))

words = "a photo of an astronaut riding a horse on mars, highly detailed, dramatic light, "
cases = [
    dict(prompt=words * 6, negative="blurry", weighting=False),
    dict(prompt="a cat", negative=words * 4, weighting=False),
    dict(prompt="a (cat:1.4) " + words * 5 + "[dog] ((bird)) \\(literal\\)", negative="(ugly:0.6), " + words * 3, weighting=True),
    dict(prompt="a (cat:1.3)", negative="", weighting=True),
    dict(prompt=words * 6, negative="blurry", weighting=False, clip_skip=1),
]
for case in cases:
    with torch.no_grad():
        both = lpw.get_weighted_text_embeddings(
            pipe, case["prompt"], case["negative"], max_embeddings_multiples=32, skip_parsing=not case["weighting"],
            skip_weighting=not case["weighting"], clip_skip=case.get("clip_skip"))
    rows = list(range(0, both[0].shape[1], 19))
    case["length"] = both[0].shape[1]
    case["rows"] = rows
    for name, features in zip(("features", "negative_features"), both):
        case[name] = [[round(value, 6) for value in features[0, row, :8].tolist()] for row in rows]
pathlib.Path(__file__).with_suffix(".json").write_text("[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n")
