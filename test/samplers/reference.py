"""Makes reference.json: what diffusers' schedulers compute for options and runs that the larger reference sets do not hold.

Needs torch, scipy, diffusers and torchsde (made with torch 2.13.0 on the CPU, diffusers at 58eb52c, torchsde at eb3a00e).
Run: python test/samplers/reference.py
Each run starts from `initial` times init_noise_sigma, or with a strength from `original` noised by `noises[-1]`; the model output of
step k is `outputs[k]`, whatever its input, and draws take `noises` in turn. Steps count runs of the model, `sigmas` are its inputs' levels.
"""
import json
import pathlib

import diffusers
import numpy as np
import torch
from diffusers.schedulers.scheduling_dpmsolver_sde import DPMSolverSDEScheduler

torch.set_num_threads(1)
SHAPE = (2, 1, 1, 2)
STEPS = 21
random = np.random.default_rng(7)


def tensors(count):
    return torch.tensor(random.standard_normal((count, *SHAPE)).round(4), dtype=torch.float32)


initial, original, outputs, noises = tensors(1)[0], tensors(1)[0], tensors(STEPS), tensors(STEPS)
SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
DDIM, DDPM, PNDM, EULER, ANCESTRAL, DPM, UNIPC, LCM = (
    "DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
    "DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "LCMScheduler")
HEUN, LMS, KDPM2, KDPM2A, SDE, DEIS, SA, TCD = (
    "HeunDiscreteScheduler", "LMSDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler", "DPMSolverSDEScheduler",
    "DEISMultistepScheduler", "SASolverScheduler", "TCDScheduler")
V = dict(prediction_type="v_prediction")
X0 = dict(prediction_type="sample")
ZERO = dict(rescale_betas_zero_snr=True, timestep_spacing="trailing", **V)
trained = [round(0.0005 + 0.0003 * t ** 1.2, 6) for t in range(60)]

runs = []


class Increments:
    """The noise of a Brownian motion over sigma in two halves of a step, from independent draws."""

    def __init__(self, draw):
        self.draw, self.first = draw, None

    def __call__(self, sigma, sigma_next):
        fresh = self.draw()
        if self.first is None:
            self.first = (sigma_next, fresh)
            return fresh
        (middle, before), self.first = self.first, None
        return ((sigma - middle).sqrt() * before + (middle - sigma_next).sqrt() * fresh) / (sigma - sigma_next).sqrt()


def level(scheduler):
    """The noise level of the model's input."""
    index = scheduler.step_index
    if scheduler.order == 1 or scheduler.state_in_first_order or not hasattr(scheduler, "sample"):
        return scheduler.sigmas[index]
    if hasattr(scheduler, "mid_point_sigma"):
        return scheduler.mid_point_sigma
    if hasattr(scheduler, "sigmas_up"):
        return scheduler.sigmas_interpol[index - 1]
    return scheduler.sigmas_interpol[index] if hasattr(scheduler, "sigmas_interpol") else scheduler.sigmas[index]


def run(name, steps=5, strength=None, eta=None, **config):
    scheduler = (DPMSolverSDEScheduler if name == SDE else getattr(diffusers, name))(**config)
    draws = []

    def randn_tensor(shape, **_):
        draws.append(len(draws))
        return noises[draws[-1]]

    module = __import__(type(scheduler).__module__, fromlist=["x"])
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = randn_tensor
    scheduler.set_timesteps(steps)
    if name == SDE and "noise_sampler_seed" not in config:
        scheduler.noise_sampler = Increments(lambda: randn_tensor(SHAPE))
    result = dict(config=dict(_class_name=name, **config), steps=steps)
    timesteps = scheduler.timesteps
    if strength is None:
        # without it some schedulers skip the first of two equal timesteps, and then run past the end
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        sample = initial * scheduler.init_noise_sigma
    else:
        # StableDiffusionImg2ImgPipeline.get_timesteps and prepare_latents
        begin = max(steps - min(int(steps * strength), steps), 0) * getattr(scheduler, "order", 1)
        timesteps = timesteps[begin:]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
        sample = scheduler.add_noise(original, noises[-1], timesteps[:1].repeat(SHAPE[0]))
        result.update(strength=strength, start=sample.flatten().tolist())
    previous, drawn, levels = [], [], []
    for k, t in enumerate(timesteps):
        scheduler.scale_model_input(sample, t)
        if hasattr(scheduler, "sigmas"):
            if scheduler.step_index is None:
                scheduler._init_step_index(t)
            levels.append(float(level(scheduler)))
        before = len(draws)
        arguments = {} if eta is None else dict(eta=eta)
        sample = scheduler.step(outputs[k], t, sample, **arguments).prev_sample
        drawn.append(len(draws) > before)
        previous.append(sample.flatten().tolist())
    if eta is not None:
        result["eta"] = eta
    result.update(timesteps=timesteps.tolist(), init_noise_sigma=float(scheduler.init_noise_sigma), draws=drawn, samples=previous)
    if hasattr(scheduler, "sigmas"):
        result["sigmas"] = levels + [float(scheduler.sigmas[-1])]
    if not np.isfinite(np.array(previous)).all():
        raise SystemExit(f"not finite: {name} {config}")
    runs.append(result)


# defaults of every class, and sample prediction where diffusers has it
for name in (DDIM, DDPM, PNDM, EULER, ANCESTRAL, DPM, UNIPC, LCM):
    run(name, steps=12 if name == PNDM else 5)
for name in (DDIM, DDPM, EULER, DPM, UNIPC, LCM):
    run(name, **SD, **X0)
# spacings, also with numbers of steps that do not divide
for spacing in ("leading", "trailing", "linspace"):
    for name in (DDIM, PNDM, EULER, ANCESTRAL, DPM, UNIPC):
        more = dict(skip_prk_steps=True) if name == PNDM else {}
        run(name, steps=7, **SD, **V, **more, timestep_spacing=spacing, steps_offset=1)
run(DDIM, steps=16, **SD, timestep_spacing="trailing", clip_sample=False)
run(DDPM, steps=3, **SD, timestep_spacing="linspace")
# schedules
run(DDIM, beta_schedule="squaredcos_cap_v2", clip_sample=False)
run(DDIM, num_train_timesteps=60, trained_betas=trained, clip_sample=False)
for name in (DDIM, DDPM, EULER, ANCESTRAL, DPM, UNIPC, LCM):
    run(name, **SD, **ZERO)
run(DDIM, eta=1.0, **SD, **ZERO, clip_sample=False)
run(DDIM, **SD, rescale_betas_zero_snr=True, prediction_type="sample", timestep_spacing="trailing", clip_sample=False)
run(DDIM, **SD, rescale_betas_zero_snr=True, steps_offset=1, clip_sample=False)
# bounds
run(DDIM, eta=0.5, **SD, clip_sample=True, clip_sample_range=0.8)
run(LCM, **V, clip_sample=True, clip_sample_range=0.5)
for name in (DDIM, DDPM, DPM, UNIPC, LCM):
    run(name, **SD, thresholding=True, dynamic_thresholding_ratio=0.7, sample_max_value=1.5)
# variances, ends
run(DDPM, variance_type="fixed_large", clip_sample=False)
run(DDPM, variance_type="fixed_small_log", clip_sample=False)
run(DDIM, set_alpha_to_one=True, clip_sample=False, **SD)
run(PNDM, steps=6, skip_prk_steps=True, set_alpha_to_one=True, **SD)
run(PNDM, steps=9, skip_prk_steps=False, **SD, **V)
run(PNDM, steps=1, skip_prk_steps=True, **SD)
run(PNDM, steps=2, skip_prk_steps=True, **SD)
# noise levels
for kind in ("use_karras_sigmas", "use_exponential_sigmas", "use_lu_lambdas"):
    for name in (EULER, DPM, UNIPC):
        if kind == "use_lu_lambdas" and name != DPM:
            continue
        run(name, **SD, **{kind: True})
        run(name, **SD, **{kind: True}, final_sigmas_type="sigma_min")
run(EULER, **SD, use_karras_sigmas=True, sigma_min=0.1, sigma_max=10.0)
run(EULER, **SD, final_sigmas_type="sigma_min")
run(DPM, beta_schedule="squaredcos_cap_v2", use_karras_sigmas=True)
run(DPM, beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1)
run(DPM, beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1, timestep_spacing="trailing")
run(UNIPC, beta_schedule="squaredcos_cap_v2", use_karras_sigmas=True)
# solvers
for order in (1, 2, 3):
    for kind in ("midpoint", "heun"):
        run(DPM, steps=7, **SD, **V, solver_order=order, solver_type=kind)
    run(DPM, steps=7, **SD, solver_order=order, lower_order_final=False, final_sigmas_type="sigma_min", timestep_spacing="leading")
    for kind in ("bh1", "bh2"):
        run(UNIPC, steps=7, **SD, **V, solver_order=order, solver_type=kind, final_sigmas_type="sigma_min")
        run(UNIPC, steps=7, **SD, predict_x0=False, solver_order=order, solver_type=kind, final_sigmas_type="sigma_min")
    run(UNIPC, steps=7, **SD, solver_order=order, lower_order_final=False, final_sigmas_type="sigma_min")
run(UNIPC, steps=5, **SD, solver_order=3)
run(UNIPC, steps=6, **SD, solver_order=2, disable_corrector=[0, 2])
run(DPM, steps=5, **SD, euler_at_final=True, final_sigmas_type="sigma_min")
run(DPM, steps=16, **SD, solver_order=3)
run(DPM, steps=16, **SD, solver_order=3, solver_type="heun", final_sigmas_type="sigma_min", euler_at_final=True)
for kind in ("midpoint", "heun"):
    run(DPM, steps=6, **SD, algorithm_type="sde-dpmsolver++", solver_type=kind)
# part-way starts
for name in (DDIM, DDPM, EULER, ANCESTRAL, DPM, UNIPC):
    run(name, steps=8, strength=0.6, **SD)
for strength in (0.9, 0.5):
    run(PNDM, steps=8, strength=strength, **SD, skip_prk_steps=True, steps_offset=1)
run(DPM, steps=16, strength=0.3, **SD, solver_order=3)
run(UNIPC, steps=8, strength=0.5, **SD, solver_order=3, disable_corrector=[4])
run(LCM, steps=4, strength=0.75)

# two runs of the model a step
for name in (HEUN, KDPM2, KDPM2A, SDE):
    run(name, steps=4)
    run(name, steps=1, **SD)
    run(name, steps=5, **SD, **V, use_karras_sigmas=True)
    run(name, steps=5, **SD, timestep_spacing="leading", steps_offset=1)
    run(name, steps=6, strength=0.6, **SD, timestep_spacing="trailing")
    run(name, steps=4, **SD, use_beta_sigmas=True)
run(HEUN, **SD, **X0, clip_sample=True, clip_sample_range=0.8)
run(KDPM2, **SD, use_exponential_sigmas=True)
run(SDE, steps=4, **SD, noise_sampler_seed=7)
run(SDE, steps=8, **SD, **V, noise_sampler_seed=2 ** 40 + 3, use_karras_sigmas=True)
# multistep over sigma (part-way starts are left out: diffusers takes the coefficients of outputs that it does not have)
for spacing in ("leading", "trailing", "linspace"):
    run(LMS, steps=7, **SD, **V, timestep_spacing=spacing, steps_offset=1)
run(LMS, **X0, use_karras_sigmas=True)
run(LMS, **SD, use_beta_sigmas=True)
# DEIS
for order in (1, 2, 3):
    run(DEIS, steps=7, **SD, solver_order=order)
    run(DEIS, steps=16, **SD, **V, solver_order=order, timestep_spacing="leading", steps_offset=1)
run(DEIS, steps=5, solver_type="midpoint", algorithm_type="dpmsolver++", lower_order_final=False, solver_order=3, timestep_spacing="trailing", **X0)
run(DEIS, steps=5, **SD, thresholding=True, dynamic_thresholding_ratio=0.7, sample_max_value=1.5)
run(DEIS, steps=8, strength=0.6, **SD)
# SA-Solver
for orders in ((1, 1), (2, 2), (2, 1), (3, 3), (3, 4)):
    for kind in ("data_prediction", "noise_prediction"):
        run(SA, steps=7, **SD, predictor_order=orders[0], corrector_order=orders[1], algorithm_type=kind)
run(SA, steps=6, **SD, **V, timestep_spacing="trailing", lower_order_final=False)
run(SA, steps=6, **SD, thresholding=True, dynamic_thresholding_ratio=0.7, sample_max_value=1.5)
run(SA, steps=6, beta_schedule="squaredcos_cap_v2", lambda_min_clipped=-5.1)
run(SA, steps=8, strength=0.6, **SD)
# DPM-Solver over noise
for kind in ("dpmsolver", "sde-dpmsolver"):
    for order in (1, 2) if kind.startswith("sde") else (1, 2, 3):
        run(DPM, steps=7, **SD, algorithm_type=kind, solver_order=order, final_sigmas_type="sigma_min")
    run(DPM, steps=6, **SD, **V, algorithm_type=kind, solver_type="heun", final_sigmas_type="sigma_min")
run(DPM, steps=6, **SD, algorithm_type="dpmsolver", final_sigmas_type="sigma_min", thresholding=True, dynamic_thresholding_ratio=0.7,
    sample_max_value=1.5)
# beta and other noise levels
for name in (EULER, DPM, UNIPC, DEIS, SA):
    run(name, **SD, use_beta_sigmas=True)
for name in (DEIS, SA):
    run(name, **SD, use_karras_sigmas=True)
    run(name, **SD, use_exponential_sigmas=True)
run(EULER, **SD, use_beta_sigmas=True, sigma_min=0.1, sigma_max=10.0, final_sigmas_type="sigma_min")
# TCD
for eta in (0.0, 0.3, 1.0):
    run(TCD, steps=4, eta=eta)
run(TCD, steps=3, eta=0.5, **V, strength=0.7, original_inference_steps=40)
run(TCD, steps=4, eta=0.2, **X0, rescale_betas_zero_snr=True)


def short(value):
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: short(item) for key, item in value.items()}
    if isinstance(value, list):
        return [short(item) for item in value]
    return value


path = pathlib.Path(__file__).with_name("reference.json")
reference = dict(shape=SHAPE, initial=initial.flatten().tolist(), original=original.flatten().tolist(),
                 outputs=outputs.flatten(1).tolist(), noises=noises.flatten(1).tolist())
lines = [f' {json.dumps(key)}: {json.dumps(short(value), separators=(",", ":"))},' for key, value in reference.items()]
lines += [' "runs": [\n  ' + ",\n  ".join(json.dumps(short(item), separators=(",", ":")) for item in runs) + "\n ]"]
path.write_text("{\n" + "\n".join(lines) + "\n}\n")
print(len(runs), "runs,", path.stat().st_size, "bytes")
