"""Makes reference.json: weights with LoRAs merged into them, as diffusers and PEFT fuse them, and for what diffusers does not read as LyCORIS does.

Needs torch, diffusers, transformers, peft (made with torch 2.13.0 on the CPU, diffusers at 58eb52c, peft 0.21.0) and the folder lycoris of
LyCORIS at f49d30d. Run in the root, with the fixtures unpacked: python test/lora/reference.py <LyCORIS>
A matrix of a LoRA is not stored but made: element i of one with the salt s is sin(0.7 i + 1.3 s) / 20 in float32, plus an offset where it has
one; alphas are their salts. The base is the fixture sd15-tiny. Of each changed weight a few elements are kept, evenly spread.
"""
import importlib.util
import json
import pathlib
import sys
import types

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

torch.set_num_threads(1)
BASE = "build/fixtures/sd15-tiny"
sys.modules["lycoris"] = types.ModuleType("lycoris")
sys.modules["lycoris"].__path__ = []
sys.modules["lycoris.functional"] = types.ModuleType("lycoris.functional")
sys.modules["lycoris.functional"].__path__ = [f"{sys.argv[1]}/lycoris/functional"]
general, locon, loha, lokr = (importlib.import_module(f"lycoris.functional.{name}") for name in ("general", "locon", "loha", "lokr"))

ATTN = "down_blocks.0.attentions.0.transformer_blocks.0."
Q, OUT, FF, PROJ, CONV, MID = (
    ATTN + "attn1.to_q", ATTN + "attn2.to_out.0", ATTN + "ff.net.0.proj", "down_blocks.0.attentions.0.proj_in", "down_blocks.1.resnets.0.conv1",
    "mid_block.attentions.0.transformer_blocks.0.attn2.to_k")
TEXT = "encoder.layers.0."
TQ, TOUT, TFC = TEXT + "self_attn.q_proj", TEXT + "self_attn.out_proj", TEXT + "mlp.fc1"


def make(shape, salt, offset=0.0):
    count = int(np.prod(shape))
    return torch.from_numpy((np.sin(0.7 * np.arange(count) + 1.3 * salt) / 20 + offset).astype(np.float32).reshape(shape))


class File:
    """A LoRA file: what its tensors are made of."""

    def __init__(self, **metadata):
        self.rows, self.tensors, self.metadata = [], {}, metadata

    def add(self, name, shape, offset=0.0, alpha=None):
        salt = len(self.rows) + 1 if alpha is None else alpha
        self.rows.append([name, list(shape), salt] + ([offset] if offset else []))
        self.tensors[name] = torch.tensor(float(alpha)) if alpha is not None else make(shape, salt, offset)
        return self.tensors[name]


def base_weights():
    pipe = StableDiffusionPipeline.from_pretrained(BASE, safety_checker=None, feature_extractor=None, requires_safety_checker=False)
    return pipe, {"unet": dict(pipe.unet.named_parameters()),
                  "text_encoder": {name.removeprefix("text_model."): value for name, value in pipe.text_encoder.named_parameters()}}


def sizes(weights, part, layer):
    shape = weights[part][layer + ".weight"].shape
    return shape[0], list(shape[1:])


cases = []


def keep(name, files, amounts, changed):
    expected = {}
    for (part, weight), value in changed.items():
        flat = value.detach().flatten()
        at = np.linspace(0, len(flat) - 1, 9).astype(int).tolist()
        expected.setdefault(part, {})[weight] = dict(at=at, values=[float(f"{flat[i]:.9g}") for i in at])
    cases.append(dict(name=name, files=[dict(tensors=file.rows, **({"metadata": file.metadata} if file.metadata else {})) for file in files],
                      amounts=amounts, expected=expected))


def fuse(name, files, amounts):
    """As diffusers fuses files that it reads; text encoders, whose layers it does not find in this transformers, as LyCORIS merges them."""
    pipe, before = base_weights()
    before = {(part, weight): value.detach().clone() for part, all_of in before.items() for weight, value in all_of.items()}
    after = dict(before)
    for i, (file, amount) in enumerate(zip(files, amounts)):
        of_text = {key: value for key, value in file.tensors.items() if key.startswith(("text_encoder.", "lora_te_"))}
        pipe.load_lora_weights({key: value for key, value in file.tensors.items() if key not in of_text}, adapter_name=f"a{i}")
        for key, up in of_text.items():
            ending = next((end for end in (".lora_B.weight", ".lora_linear_layer.up.weight", ".lora_up.weight") if key.endswith(end)), None)
            if ending is None:
                continue
            down = of_text[key.removesuffix(ending) + ending.replace("lora_B", "lora_A").replace("up", "down")]
            alpha = of_text.get(key.removesuffix(ending) + ".alpha", down.shape[0])
            layer = next(layer for layer in (TQ, TOUT, TFC) if key.removesuffix(ending).replace("_", ".").endswith(layer.replace("_", ".")))
            after["text_encoder", layer + ".weight"] = after["text_encoder", layer + ".weight"] + amount * locon.diff_weight(
                down, up, None, gamma=float(alpha) / down.shape[0])
    names = [f"a{i}" for i in range(len(files))]
    pipe.set_adapters(names, adapter_weights=amounts)
    for i, file in enumerate(files):
        if file.metadata:
            config = json.loads(file.metadata["lora_adapter_metadata"])
            for layer, module in pipe.unet.named_modules():
                if hasattr(module, "lora_A") and f"a{i}" in module.lora_A:
                    patterns = config["unet.alpha_pattern"]
                    alpha = next((patterns[key] for key in patterns if layer.endswith("." + key)), config["unet.lora_alpha"])
                    module.scaling[f"a{i}"] *= alpha / config["unet.r"]
    pipe.fuse_lora(components=["unet"], adapter_names=names)
    pipe.unload_lora_weights()
    after.update({("unet", weight): value for weight, value in pipe.unet.named_parameters()})
    keep(name, files, amounts, {key: value for key, value in after.items() if not torch.equal(value, before[key])})


_, W = base_weights()


def lora(file, part, layer, down, up, rank=2):
    out, rest = sizes(W, part, layer)
    file.add(down, [rank, *rest])
    file.add(up, [out, rank, *[1] * (len(rest) - 1)])


def peft(layers=(Q, FF, PROJ, CONV), text=(TQ, TFC), prefix="unet.", **more):
    file = File(**more)
    for layer in layers:
        lora(file, "unet", layer, f"{prefix}{layer}.lora_A.weight", f"{prefix}{layer}.lora_B.weight")
    for layer in text:
        lora(file, "text_encoder", layer, f"text_encoder.text_model.{layer}.lora_A.weight", f"text_encoder.text_model.{layer}.lora_B.weight")
    return file


fuse("PEFT", [peft()], [0.7])
fuse("PEFT, taken away", [peft(text=())], [-1.3])
fuse("PEFT, alphas in the metadata", [peft(layers=(Q, FF), text=(), lora_adapter_metadata=json.dumps({
    "unet.r": 2, "unet.lora_alpha": 3, "unet.alpha_pattern": {"ff.net.0.proj": 5}, "unet.rank_pattern": {}, "unet.use_rslora": False,
    "unet.target_modules": ["to_q", "proj"]}))], [1.0])

old = File()
for layer in (Q, OUT, MID):
    attention, projection = layer.removesuffix(".0").rsplit(".", 1)
    lora(old, "unet", layer, f"unet.{attention}.processor.{projection}_lora.down.weight", f"unet.{attention}.processor.{projection}_lora.up.weight")
for layer in (TQ, TOUT):
    key = f"text_encoder.text_model.{layer}.lora_linear_layer"
    lora(old, "text_encoder", layer, key + ".down.weight", key + ".up.weight")
fuse("old diffusers", [old], [0.9])


def kohya_name(part, layer):
    return ("lora_unet_" if part == "unet" else "lora_te_text_model_") + layer.replace(".", "_")


kohya = File()
for part, layer in (("unet", Q), ("unet", OUT), ("unet", CONV), ("text_encoder", TFC), ("text_encoder", TOUT)):
    key = kohya_name(part, layer)
    lora(kohya, part, layer, key + ".lora_down.weight", key + ".lora_up.weight", rank=4)
    kohya.add(key + ".alpha", [], alpha=2)
fuse("kohya", [kohya], [0.8])
fuse("two at once", [peft(), kohya], [0.5, -0.25])

dora = File()
for layer in (Q, FF):
    lora(dora, "unet", layer, f"unet.{layer}.lora_A.weight", f"unet.{layer}.lora_B.weight")
    dora.add(f"unet.{layer}.lora_magnitude_vector", [sizes(W, "unet", layer)[0]], offset=0.9)
for amount in (1.0, 0.6):
    fuse(f"DoRA at {amount}", [dora], [amount])


def lycoris(name, rows, amount=1.0):
    """rows: layer, matrices, function of them that gives the difference, alpha over rank in it."""
    file, changed = File(), {}
    for layer, matrices, difference, alpha, dora_shape in rows:
        key = kohya_name("unet", layer)
        made = [file.add(f"{key}.{piece}", shape) for piece, shape in matrices]
        if alpha is not None:
            file.add(key + ".alpha", [], alpha=alpha)
        weight = W["unet"][layer + ".weight"].detach()
        merged = weight + amount * difference(*made).reshape(weight.shape)
        if dora_shape is not None:
            scale = file.add(key + ".dora_scale", dora_shape, offset=0.9)
            norm = merged.transpose(0, 1).reshape(merged.shape[1], -1).norm(dim=1).reshape(1, -1, *[1] * (merged.ndim - 2))
            merged = merged * (scale / norm)
        changed["unet", layer + ".weight"] = merged
    keep(name, [file], [amount], changed)


n, [m] = sizes(W, "unet", Q)
c, [d, *k] = sizes(W, "unet", CONV)
f, [g] = sizes(W, "unet", FF)
lycoris("LoCon with mid", [(CONV, [("lora_down.weight", [3, d, 1, 1]), ("lora_up.weight", [c, 3, 1, 1]), ("lora_mid.weight", [3, 3, *k])],
                            lambda down, up, mid: locon.diff_weight(down, up, mid, gamma=1 / 3), 1, None)], 0.75)
lycoris("LoHa", [
    (Q, [("hada_w1_a", [n, 2]), ("hada_w1_b", [2, m]), ("hada_w2_a", [n, 2]), ("hada_w2_b", [2, m])],
     lambda a, b, x, y: loha.diff_weight(b, a, y, x, None, None, gamma=3 / 2), 3, None),
    (CONV, [("hada_t1", [2, 2, *k]), ("hada_w1_a", [2, c]), ("hada_w1_b", [2, d]), ("hada_t2", [2, 2, *k]), ("hada_w2_a", [2, c]),
            ("hada_w2_b", [2, d])],
     lambda s, a, b, t, x, y: loha.diff_weight(b, a, y, x, s, t, gamma=1.0).reshape(c, d, *k), None, None)], 1.5)
lycoris("LoKr", [
    (Q, [("lokr_w1", [4, 2]), ("lokr_w2", [n // 4, m // 2])], lambda a, b: lokr.diff_weight(a, None, None, b, None, None, None, gamma=1), 7, None),
    (FF, [("lokr_w1", [2, 4]), ("lokr_w2_a", [f // 2, 3]), ("lokr_w2_b", [3, g // 4])],
     lambda a, x, y: lokr.diff_weight(a, None, None, None, x, y, None, gamma=2), 2, None),
    (OUT, [("lokr_w1_a", [4, 2]), ("lokr_w1_b", [2, 4]), ("lokr_w2_a", [8, 2]), ("lokr_w2_b", [2, 8])],
     lambda a, b, x, y: lokr.diff_weight(None, a, b, None, x, y, None, gamma=1), 1, None),
    (CONV, [("lokr_w1", [2, 2]), ("lokr_t2", [3, 3, *k]), ("lokr_w2_a", [3, c // 2]), ("lokr_w2_b", [3, d // 2])],
     lambda a, t, x, y: lokr.make_kron(a, general.rebuild_tucker(t, x, y), 1.5 / 3), 1.5, None)], 0.5)
lycoris("differences, and DoRA by inputs", [
    (Q, [("diff", [n, m])], lambda a: a, None, None),
    (FF, [("lora_down.weight", [2, g]), ("lora_up.weight", [f, 2])], lambda down, up: locon.diff_weight(down, up, None, gamma=1 / 2), 1, [1, g])])

path = pathlib.Path(__file__).with_name("reference.json")
path.write_text("[\n " + ",\n ".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]\n")
print(len(cases), "cases,", path.stat().st_size, "bytes")
