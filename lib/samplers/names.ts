/** Samplers' names: asdm's own, and other programs' for the same. */

const plainNames = [
  'ddim', 'ddpm', 'pndm', 'euler', 'euler-ancestral', 'heun', 'lms', 'dpm2', 'dpm2-ancestral', 'dpmpp-2m', 'dpmpp-2m-sde', 'dpmpp-3m-sde',
  'dpmpp-2s-ancestral', 'dpmpp-sde', 'deis', 'ipndm', 'unipc', 'sa-solver', 'lcm', 'tcd',
] as const

/** Samplers whose timesteps are all there is to choose of their noise levels. */
const withoutSchedule = ['ddim', 'ddpm', 'pndm', 'lcm', 'tcd'] as const satisfies readonly PlainSamplerName[]

/** A sampler's algorithm alone. */
export type PlainSamplerName = typeof plainNames[number]

/** A rule by which noise levels are chosen, as it stands at the end of a sampler's name. */
export type SigmaScheduleName = 'karras' | 'exponential' | 'beta' | 'sgm-uniform' | 'align-your-steps'

/** The rules that may stand at the end of a sampler's name. */
export const sigmaScheduleNames: readonly SigmaScheduleName[] = Object.freeze([
  'karras', 'exponential', 'beta', 'sgm-uniform', 'align-your-steps',
])

/** Samplers whose timesteps are those of the distillation, however a config spaces them. */
const withoutSpacing = ['lcm', 'tcd'] as const satisfies readonly PlainSamplerName[]

/** The end of a name that spaces the timesteps back from the last one, whatever the checkpoint's config says. */
export const trailing = 'trailing'

/** Short names, as pipelines and the command line take them: an algorithm, behind which a noise schedule or `trailing` may stand. */
export type SamplerName = PlainSamplerName
  | `${Exclude<PlainSamplerName, typeof withoutSchedule[number]>}-${SigmaScheduleName}`
  | `${Exclude<PlainSamplerName, 'lcm' | 'tcd'>}-trailing`

/** The short names without a noise schedule behind them, for help texts. */
export const samplerNames: readonly PlainSamplerName[] = Object.freeze([...plainNames])

/** What asdm's names are, for help texts and messages. @param names those that a checkpoint can be sampled by */
export function samplerUsage(names: readonly PlainSamplerName[]): string {
  const without = withoutSchedule.filter(name => names.includes(name)).join(', ')
  const schedules = sigmaScheduleNames.map(schedule => `-${schedule}`).join(', ')
  return `${names.join(', ')}; all but ${without} also with a noise schedule behind the name: ${schedules}; `
    + `all but ${withoutSpacing.join(', ')} also with -${trailing}`
}

/**
 * Other programs' names: diffusers' class names, AUTOMATIC1111's labels ("DPM++ 2M Karras"), k-diffusion's functions ("sample_dpmpp_2m"),
 * InvokeAI's and ComfyUI's keys ("k_euler_a", "dpmpp_2m"). Most differ from asdm's only in letter case, punctuation and "++" for "pp",
 * which do not count; the table holds the others.
 */
const aliases: ReadonlyMap<string, PlainSamplerName> = new Map((Object.entries({
  'plms': 'pndm',
  'euler a': 'euler-ancestral',
  'dpm2 a': 'dpm2-ancestral',
  'dpm++ 2s a': 'dpmpp-2s-ancestral',
  'dpmpp_sde_gpu': 'dpmpp-sde',
  'dpmpp_2m_sde_gpu': 'dpmpp-2m-sde',
  'dpmpp_3m_sde_gpu': 'dpmpp-3m-sde',
  'uni_pc': 'unipc',
  'uni_pc_bh2': 'unipc',
  'DDIMScheduler': 'ddim',
  'DDPMScheduler': 'ddpm',
  'PNDMScheduler': 'pndm',
  'EulerDiscreteScheduler': 'euler',
  'EulerAncestralDiscreteScheduler': 'euler-ancestral',
  'HeunDiscreteScheduler': 'heun',
  'LMSDiscreteScheduler': 'lms',
  'KDPM2DiscreteScheduler': 'dpm2',
  'KDPM2AncestralDiscreteScheduler': 'dpm2-ancestral',
  'DPMSolverSDEScheduler': 'dpmpp-sde',
  'DEISMultistepScheduler': 'deis',
  'UniPCMultistepScheduler': 'unipc',
  'SASolverScheduler': 'sa-solver',
  'LCMScheduler': 'lcm',
  'TCDScheduler': 'tcd',
}) as [string, PlainSamplerName][]).map(([alias, name]) => [folded(alias), name]))

/** What of a name counts: letters and digits, lower case, `++` as `pp`, without k-diffusion's `sample_` and `k_`. */
function folded(name: string): string {
  return name.slice(0, 100).toLowerCase().replace(/^(?:sample_|k_)/, '').replaceAll('++', 'pp').replace(/[^a-z\d]/g, '')
}

const foldedSchedules = new Map<string, SigmaScheduleName | typeof trailing>([
  ...sigmaScheduleNames.map(name => [folded(name), name] as const), ['ays', 'align-your-steps'], [trailing, trailing],
])

function plainNamed(wanted: string): PlainSamplerName | undefined {
  return aliases.get(wanted) ?? plainNames.find(each => folded(each) === wanted)
}

/** What a sampler's name, in any program's words, is made of: algorithm, schedule or `trailing`; `undefined` for what none names. */
export function parseSamplerName(
  text: string,
): { plain: PlainSamplerName, schedule?: SigmaScheduleName | typeof trailing } | undefined {
  const wanted = folded(text)
  const plain = plainNamed(wanted)
  if (plain !== undefined) return { plain }
  for (const [ending, schedule] of foldedSchedules) {
    const rest = wanted.endsWith(ending) ? plainNamed(wanted.slice(0, -ending.length)) : undefined
    const without: readonly string[] = schedule === trailing ? withoutSpacing : withoutSchedule
    if (rest !== undefined && !without.includes(rest)) return { plain: rest, schedule }
  }
  return undefined
}

/** asdm's name for a sampler that any of these programs names, `undefined` for what none does. */
export function samplerNamed(text: string): SamplerName | undefined {
  const parsed = parseSamplerName(text)
  if (parsed?.schedule === undefined) return parsed?.plain
  return `${parsed.plain}-${parsed.schedule}` as SamplerName
}
