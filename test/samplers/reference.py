"""Makes reference.json: what diffusers' schedulers compute for options and runs that the larger reference sets do not hold.

Needs torch and diffusers (made with torch 2.13.0 on the CPU and diffusers at 58eb52c). Run: python test/samplers/reference.py
Each run starts from `initial` times init_noise_sigma, or with a strength from `original` noised by `noises[-1]`; the model output of
step k is `outputs[k]`, whatever its input, and draws take `noises` in turn.
"""
import json
import pathlib

import diffusers
import numpy as np
import torch

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
V = dict(prediction_type="v_prediction")
X0 = dict(prediction_type="sample")
ZERO = dict(rescale_betas_zero_snr=True, timestep_spacing="trailing", **V)
trained = [round(0.0005 + 0.0003 * t ** 1.2, 6) for t in range(60)]

runs = []


def run(name, steps=5, strength=None, eta=None, **config):
    scheduler = getattr(diffusers, name)(**config)
    draws = []

    def randn_tensor(shape, **_):
        draws.append(len(draws))
        return noises[draws[-1]]

    module = __import__(type(scheduler).__module__, fromlist=["x"])
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = randn_tensor
    scheduler.set_timesteps(steps)
    result = dict(config=dict(_class_name=name, **config), steps=steps)
    timesteps = scheduler.timesteps
    if strength is None:
        # without it some schedulers skip the first of two equal timesteps, and then run past the end
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(0)
        sample = initial * scheduler.init_noise_sigma
    else:
        # StableDiffusionImg2ImgPipeline.get_timesteps and prepare_latents
        begin = max(steps - min(int(steps * strength), steps), 0)
        timesteps = timesteps[begin:]
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
        sample = scheduler.add_noise(original, noises[-1], timesteps[:1].repeat(SHAPE[0]))
        result.update(strength=strength, start=sample.flatten().tolist())
    previous, drawn = [], []
    for k, t in enumerate(timesteps):
        scheduler.scale_model_input(sample, t)
        before = len(draws)
        arguments = {} if eta is None else dict(eta=eta)
        sample = scheduler.step(outputs[k], t, sample, **arguments).prev_sample
        drawn.append(len(draws) > before)
        previous.append(sample.flatten().tolist())
    if eta is not None:
        result["eta"] = eta
    result.update(timesteps=timesteps.tolist(), init_noise_sigma=float(scheduler.init_noise_sigma), draws=drawn, samples=previous)
    if hasattr(scheduler, "sigmas"):
        result["sigmas"] = scheduler.sigmas.tolist()
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
