import type { BenchGoal, BenchMiss, BenchOps, BenchReport } from './report'
import { pairedRatio } from './statistics'

/** Ratios to reach at the published sizes, by the names of `BenchRatio`. */
const ratioGoals: Record<string, number> = {
  'unet fp32 / onnxruntime fp32': 0.85,
  'unet fp32 / PyTorch fp32': 0.7,
  'unet bf16 / PyTorch bf16': 0.72,
  'unet int8 / PyTorch bf16': 0.45,
  'vae-decoder bf16 / PyTorch bf16': 0.7,
  'unet bf16 / stable-diffusion.cpp f16': 1,
  'vae-decoder bf16 / stable-diffusion.cpp f16': 1,
}

/** The most memory that a process may hold while it makes an image of 512x512. */
const memoryGoals: Record<string, number> = { bf16: 2.6e9, int8: 1.7e9 }

/** Loading may take so many times as long as plainly reading the files into new memory. Exported for tests and scripts. */
export const loadingGoal = 1.5

/** How far a UNet's result may be from fp32's (relative root mean square), at every size. */
const accuracyGoals: Record<string, number> = { bf16: 1e-2, int8: 3e-2 }

/** Kernels that are named where a goal is missed. */
const namedOps = 8

/**
 * Which kernels of a pass take more than their part of a time that is `share` of the pass's.
 * @param share the goal over what was found, below 1
 */
function missOf({ part, dtype, whole, shapes }: BenchOps, share: number): BenchMiss {
  const allowedMs = whole.ms * share
  // The same multiple of the least time for all: who is nearer to the machine's peak than the goal asks makes up for others.
  const multiple = allowedMs / whole.boundMs
  const ops = shapes.map(row => ({ name: row.name, dtype: row.dtype, ms: row.ms, allowedMs: row.boundMs * multiple }))
  return {
    part, dtype, allowedMs, excessMs: whole.ms - allowedMs,
    ops: ops.filter(op => op.ms > op.allowedMs).sort((a, b) => (b.ms - b.allowedMs) - (a.ms - a.allowedMs)).slice(0, namedOps),
  }
}

/** What a report says about the goals that concern it. Those of speed and memory are for models of Stable Diffusion 1.5's size. */
export function goalsOf(
  { shape, ratios, cases, checks, loading, ops }: Pick<BenchReport, 'shape' | 'ratios' | 'cases' | 'checks' | 'loading' | 'ops'>,
): BenchGoal[] {
  const goals: BenchGoal[] = []
  for (const [dtype, limit] of Object.entries(accuracyGoals)) {
    const check = checks.find(({ name }) => name === `unet asdm ${dtype}`)
    if (check !== undefined)
      goals.push({
        name: `difference of a UNet pass from fp32, ${dtype}`, value: check.difference, limit, unit: 'difference',
        met: check.difference <= limit,
      })
  }
  if (shape !== 'sd15') return goals
  for (const { name, value } of ratios) {
    const limit = ratioGoals[name]
    if (limit === undefined) continue
    const met = value.median <= limit
    const pass = ops.find(({ part, dtype }) => name.startsWith(`${part} ${dtype} / `))
    goals.push({
      name, value: value.median, limit, unit: 'ratio', met,
      ...(!met && pass !== undefined && pass.whole.boundMs > 0 && { missedBy: missOf(pass, limit / value.median) }),
    })
  }
  for (const { name, dtype, ours, peakBytes } of cases) {
    if (!ours || name !== 'generate') continue
    const limit = memoryGoals[dtype]
    if (limit !== undefined)
      goals.push({ name: `memory for an image, ${dtype}`, value: peakBytes, limit, unit: 'bytes', met: peakBytes <= limit })
  }
  for (const { dtype, load, fresh } of loading) {
    const { median: value } = pairedRatio(load.values, fresh.values)
    goals.push({ name: `loading / reading into new memory, ${dtype}`, value, limit: loadingGoal, unit: 'ratio', met: value <= loadingGoal })
  }
  return goals
}
