import type { BenchGoal, BenchReport } from './report'

/** Ratios to reach at the published sizes, by the names of `BenchRatio`. */
const ratioGoals: Record<string, number> = {
  'unet fp32 / onnxruntime fp32': 0.85,
  'unet fp32 / PyTorch fp32': 0.7,
  'unet bf16 / PyTorch bf16': 0.72,
  'unet int8 / PyTorch bf16': 0.45,
  'vae-decoder bf16 / PyTorch bf16': 0.7,
}

/** The most memory that a process may hold while it makes a picture of 512x512. */
const memoryGoals: Record<string, number> = { bf16: 2.6e9, int8: 1.7e9 }

/** Loading may take so much longer than plainly reading the files. */
const loadGoal = 1.5

/** How far a UNet's result may be from fp32's (relative root mean square), at every size. */
const accuracyGoals: Record<string, number> = { bf16: 1e-2, int8: 3e-2 }

/** What a report says about the goals that concern it. Those of speed and memory are for models of Stable Diffusion 1.5's size. */
export function goalsOf({ shape, ratios, cases, checks }: Pick<BenchReport, 'shape' | 'ratios' | 'cases' | 'checks'>): BenchGoal[] {
  const goals: BenchGoal[] = []
  for (const [dtype, limit] of Object.entries(accuracyGoals)) {
    const check = checks.find(({ name }) => name === `unet asdm ${dtype}`)
    if (check !== undefined) goals.push({ name: `difference of a UNet pass from fp32, ${dtype}`, value: check.difference, limit, unit: 'difference', met: check.difference <= limit })
  }
  if (shape !== 'sd15') return goals
  for (const { name, value } of ratios)
    if (name in ratioGoals) goals.push({ name, value: value.median, limit: ratioGoals[name], unit: 'ratio', met: value.median <= ratioGoals[name] })
  for (const { name, dtype, ours, peakBytes, loadMs, readMs } of cases) {
    if (!ours || name !== 'generate') continue
    if (dtype in memoryGoals) goals.push({ name: `memory for a picture, ${dtype}`, value: peakBytes, limit: memoryGoals[dtype], unit: 'bytes', met: peakBytes <= memoryGoals[dtype] })
    if (readMs !== undefined) goals.push({ name: `loading / reading, ${dtype}`, value: loadMs / readMs, limit: loadGoal, unit: 'ratio', met: loadMs / readMs <= loadGoal })
  }
  return goals
}
