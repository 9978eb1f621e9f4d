import { parseSamplerName, samplerNamed, trailing, type PlainSamplerName, type SigmaScheduleName } from '../samplers/names'
import type { SamplerName, SchedulerConfig } from '../samplers'
import type { GenerationSettings, ReadSettings } from './generation-settings'

/** AUTOMATIC1111's names of the samplers; where it has none, its manner. */
const labels: Readonly<Record<PlainSamplerName, string>> = {
  'ddim': 'DDIM', 'ddpm': 'DDPM', 'pndm': 'PLMS', 'euler': 'Euler', 'euler-ancestral': 'Euler a', 'heun': 'Heun', 'lms': 'LMS', 'dpm2': 'DPM2',
  'dpm2-ancestral': 'DPM2 a', 'dpmpp-2m': 'DPM++ 2M', 'dpmpp-2m-sde': 'DPM++ 2M SDE', 'dpmpp-3m-sde': 'DPM++ 3M SDE',
  'dpmpp-2s-ancestral': 'DPM++ 2S a', 'dpmpp-sde': 'DPM++ SDE', 'deis': 'DEIS', 'ipndm': 'iPNDM', 'unipc': 'UniPC', 'sa-solver': 'SA-Solver',
  'lcm': 'LCM', 'tcd': 'TCD',
}

/** AUTOMATIC1111's names of the noise schedules; it has none for trailing timesteps. */
const scheduleLabels: Readonly<Record<SigmaScheduleName | typeof trailing, string>> = {
  'karras': 'Karras', 'exponential': 'Exponential', 'beta': 'Beta', 'sgm-uniform': 'SGM Uniform', 'align-your-steps': 'Align Your Steps',
  [trailing]: 'Trailing',
}

/** Longest text that is read: prompts and one line of settings. */
const maxLength = 1 << 20

/**
 * Settings as AUTOMATIC1111's web UI writes them into the text chunk `parameters` (its `create_infotext`), for the many readers of that:
 * prompt, negative prompt, and a line `Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512`.
 */
export function formatParameters(settings: GenerationSettings): string {
  const { prompt, negativePrompt, steps, guidanceScale, seed, width, height, strength, clipSkip, count, index } = settings
  const [sampler, schedule] = labelOf(settings.sampler)
  const fields: [string, string | number | bigint | undefined][] = [
    ['Steps', steps], ['Sampler', sampler], ['Schedule type', schedule], ['CFG scale', guidanceScale], ['Seed', seed],
    ['Size', `${width}x${height}`], ['Denoising strength', strength], ['Clip skip', clipSkip > 0 ? clipSkip + 1 : undefined],
    ['Batch size', count > 1 ? count : undefined], ['Batch pos', count > 1 ? index : undefined], ['Version', 'asdm'],
  ]
  const line = fields.filter(([, value]) => value !== undefined).map(([name, value]) => `${name}: ${quoted(String(value))}`).join(', ')
  return `${prompt}${negativePrompt === '' ? '' : `\nNegative prompt: ${negativePrompt}`}\n${line}`.trim()
}

/**
 * Reads what {@link formatParameters}, AUTOMATIC1111's web UI and its relatives write. What asdm has no option for is passed over.
 * @returns `undefined` where the text is none of theirs
 */
export function parseParameters(text: string): ReadSettings | undefined {
  if (text.length > maxLength) return undefined
  const lines = text.trim().split('\n')
  const fields = parseFields(lines.pop() ?? '')
  if (fields.size < 3 || !fields.has('Steps')) return undefined
  const at = lines.findIndex(line => line.trim().startsWith('Negative prompt:'))
  const prompt = (at < 0 ? lines : lines.slice(0, at)).map(line => line.trim()).join('\n')
  const negativePrompt = at < 0
    ? ''
    : lines.slice(at).map((line, i) => (i === 0 ? line.trim().slice('Negative prompt:'.length) : line).trim()).join('\n')

  const number = (name: string): number | undefined => {
    const value = fields.get(name)
    return value !== undefined && /^-?\d{1,15}(\.\d{1,15})?$/.test(value) ? Number(value) : undefined
  }
  const seed = fields.get('Seed')
  const size = /^(\d{1,5})x(\d{1,5})$/.exec(fields.get('Size') ?? '')
  const clipSkip = number('Clip skip')
  const found: { [K in keyof ReadSettings]: ReadSettings[K] | undefined } = {
    prompt, negativePrompt, steps: number('Steps'), guidanceScale: number('CFG scale'),
    sampler: samplerOf(fields.get('Sampler'), fields.get('Schedule type')),
    seed: seed !== undefined && /^\d{1,20}$/.test(seed) ? smallest(BigInt(seed)) : undefined,
    width: size === null ? undefined : Number(size[1]), height: size === null ? undefined : Number(size[2]),
    strength: number('Denoising strength'), clipSkip: clipSkip === undefined ? 0 : Math.max(0, clipSkip - 1),
  }
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined))
}

/** A seed as a number where that holds it. */
function smallest(seed: bigint): number | bigint {
  return seed <= 2n ** 53n ? Number(seed) : seed
}

function labelOf(sampler: SamplerName | SchedulerConfig): readonly [sampler: string, schedule?: string | undefined] {
  if (typeof sampler !== 'string') return configLabel(sampler)
  const { plain, schedule } = parseSamplerName(sampler)!
  return [labels[plain], schedule && scheduleLabels[schedule]]
}

function configLabel(config: SchedulerConfig): readonly [sampler: string, schedule?: string | undefined] {
  const className = String(config._class_name)
  const karras = config.use_karras_sigmas === true ? 'Karras' : undefined
  if (className === 'DPMSolverMultistepScheduler' && config.solver_order === 2) {
    if (config.algorithm_type === 'dpmsolver++') return ['DPM++ 2M', karras]
    if (config.algorithm_type === 'sde-dpmsolver++') return ['DPM++ 2M SDE', karras]
  }
  const name = parseSamplerName(className)?.plain
  return [name === undefined ? className : labels[name], karras]
}

function samplerOf(sampler: string | undefined, schedule: string | undefined): string | undefined {
  if (sampler === undefined) return undefined
  return (schedule === undefined ? undefined : samplerNamed(`${sampler} ${schedule}`)) ?? samplerNamed(sampler) ?? sampler
}

/** `Name: value, Name: "quoted, value"` as fields; a scan, since a regular expression would take time that a hostile text chooses. */
function parseFields(line: string): Map<string, string> {
  const fields = new Map<string, string>()
  for (let at = 0; at < line.length;) {
    const colon = line.indexOf(':', at)
    if (colon < 0) break
    const name = line.slice(at, colon).trim()
    let start = colon + 1
    while (line[start] === ' ') start++
    let end = start
    if (line[start] === '"') {
      for (end++; end < line.length && line[end] !== '"'; end++) if (line[end] === '\\') end++
      end = line.indexOf(',', end)
    } else {
      end = line.indexOf(',', start)
    }
    if (end < 0) end = line.length
    if (/^\w[\w /-]{0,60}$/.test(name) && !fields.has(name)) fields.set(name, unquoted(line.slice(start, end).trim()))
    at = end + 1
  }
  return fields
}

function quoted(text: string): string {
  return /[,:\n]/.test(text) ? JSON.stringify(text) : text
}

function unquoted(text: string): string {
  if (!text.startsWith('"')) return text
  try {
    return String(JSON.parse(text))
  } catch {
    return text
  }
}
