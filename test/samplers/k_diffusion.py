"""Makes k_diffusion.json: what k-diffusion's samplers compute that diffusers does not have, and torchsde's Brownian trees.

Needs torch, numpy, scipy and torchsde, and the code of k-diffusion and of diff-sampler's folder diff-solvers-main, whose other
dependencies stay out (made with torch 2.13.0 on the CPU, k-diffusion at 4601bf0, diff-sampler at 68d5ce4, torchsde at eb3a00e).
Run: python test/samplers/k_diffusion.py <k-diffusion> <diff-solvers-main>
Runs are as in reference.json, whose tensors they use; the model predicts epsilon. Levels are k-diffusion's own; sgm_uniform's and those of
Align Your Steps are computed here from their definitions: evenly spaced timesteps, one more than steps, less the last
(Stability's generative-models, AUTOMATIC1111's web UI), and the published levels, linear in log sigma (diffusers' AysSchedules).
"""
import importlib.util
import json
import pathlib
import sys
import types

import numpy as np
import torch
import torchsde

torch.set_num_threads(1)
here = pathlib.Path(__file__).parent
shared = json.loads((here / "reference.json").read_text())
SHAPE = shared["shape"]
initial = torch.tensor(shared["initial"]).reshape(SHAPE)
outputs = torch.tensor(shared["outputs"]).reshape(-1, *SHAPE)
noises = torch.tensor(shared["noises"]).reshape(-1, *SHAPE)


def load(name, path, package=None):
    spec = importlib.util.spec_from_file_location(f"{package}.{name}" if package else name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def stand_in(name, **members):
    sys.modules[name] = types.ModuleType(name)
    vars(sys.modules[name]).update(members)


stand_in("torchdiffeq", odeint=None)
stand_in("k_diffusion", __path__=[])
stand_in("k_diffusion.utils", append_dims=lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)])
sampling = load("sampling", f"{sys.argv[1]}/k_diffusion/sampling.py", "k_diffusion")
external = load("external", f"{sys.argv[1]}/k_diffusion/external.py", "k_diffusion")
stand_in("solver_utils")
solvers = load("solvers", f"{sys.argv[2]}/solvers.py")

betas = torch.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000, dtype=torch.float32) ** 2
alphas_cumprod = torch.cumprod(1 - betas, dim=0)
schedule = external.DiscreteEpsDDPMDenoiser(torch.nn.Identity(), alphas_cumprod, quantize=False)


def levels(kind, steps):
    low, high = schedule.sigma_min, schedule.sigma_max
    if kind == "karras":
        return sampling.get_sigmas_karras(steps, low, high)
    if kind == "exponential":
        return sampling.get_sigmas_exponential(steps, low, high)
    if kind == "sgm_uniform":
        start, end = schedule.sigma_to_t(high), schedule.sigma_to_t(low)
        return sampling.append_zero(schedule.t_to_sigma(torch.linspace(start, end, steps + 1)[:-1]))
    if kind == "align_your_steps":
        table = np.log([14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029])
        chosen = np.exp(np.interp(np.linspace(0, 1, steps + 1), np.linspace(0, 1, 11), table))
        chosen[-1] = 0
        return torch.tensor(chosen, dtype=torch.float32)
    return schedule.get_sigmas(steps)


runs = []


def run(name, steps, kind=None):
    sigmas = levels(kind, steps)
    inputs, seen, drawn = [], [], []

    def model(x, sigma, **_):
        sigma = sigma.flatten()[0]
        inputs.append(x.flatten().tolist())
        seen.append(sigma)
        return x - sigma * outputs[len(seen) - 1]

    def noise_sampler(*_):
        drawn.append(len(seen) - 1)
        return noises[len(drawn) - 1]

    start = initial * sigmas.max()
    if name == "sample_ipndm":
        end = solvers.ipndm_sampler(model, initial, t_steps=sigmas)
    else:
        end = getattr(sampling, name)(model, start, sigmas, disable=True, noise_sampler=noise_sampler)
    config = dict(_class_name=name, **({f"use_{kind}_sigmas": True} if kind else {}))
    runs.append(dict(
        config=config, steps=steps, timesteps=[float(schedule.sigma_to_t(sigma[None])[0]) for sigma in seen],
        init_noise_sigma=float(sigmas.max()), draws=[k in drawn for k in range(len(seen))],
        samples=inputs[1:] + [end.flatten().tolist()], sigmas=[float(sigma) for sigma in seen] + [0.0]))


for name in ("sample_dpmpp_2s_ancestral", "sample_dpmpp_3m_sde", "sample_ipndm", "sample_euler_ancestral"):
    run(name, 6)
    if name != "sample_dpmpp_3m_sde":  # which fails with one step
        run(name, 1)
    run(name, 7, "karras")
for kind in ("exponential", "sgm_uniform", "align_your_steps"):
    run("sample_euler_ancestral", 5, kind)
    run("sample_ipndm", 10, kind)

trees = []
for entropy, ends, shape in ((0, (0.029167, 14.614647), [1, 4, 3, 3]), (7, (0.0291, 14.6146), [2, 3]), (2 ** 40 + 3, (0.25, 2.0), [5])):
    tree = torchsde.BrownianInterval(
        t0=torch.tensor(ends[0]), t1=torch.tensor(ends[1]), size=shape, dtype=torch.float32, device="cpu", entropy=entropy, tol=1e-6,
        pool_size=24, halfway_tree=True)
    queries = [(5.5, 14.6), (1.23456789, 5.5), (1.23456789, 14.6), (0.4, 0.5078125), ends] if ends[1] > 5 else [(0.3, 0.5), (0.5, 1.7), ends]
    trees.append(dict(entropy=str(entropy), ends=[float(torch.tensor(end)) for end in ends], shape=shape, queries=[
        dict(at=[float(torch.tensor(time)) for time in at], values=tree(*map(torch.tensor, at)).flatten().tolist()) for at in queries]))
seeds = [dict(entropy=str(entropy), key=[str(part) for part in key], pool=pool, state=np.random.SeedSequence(
    entropy=entropy, spawn_key=key, pool_size=pool).generate_state(6).tolist())
    for entropy, key, pool in ((0, (), 4), (7, (0, 0), 24), (2 ** 40 + 3, (2 ** 35 + 5, 36), 24), (2 ** 200 + 1, (1,), 4))]


def short(value):
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: short(item) for key, item in value.items()}
    return [short(item) for item in value] if isinstance(value, list) else value


path = pathlib.Path(__file__).with_suffix(".json")
lines = [f' "{key}": [\n  ' + ",\n  ".join(json.dumps(short(item), separators=(",", ":")) for item in items) + "\n ]"
         for key, items in dict(runs=runs, trees=trees, seeds=seeds).items()]
path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
print(len(runs), "runs,", path.stat().st_size, "bytes")
