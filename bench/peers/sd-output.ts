/** What stable-diffusion.cpp's command line says, read. */

/** Seconds that a run spent, as it printed them. */
export interface SdTimes {
  /** Reading weights, all of it. */
  load: number
  /** Both prompts through the text encoder. */
  text: number
  /** Each denoising step: with guidance two passes of the UNet, one after the other. */
  steps: number[]
  /** All steps and what lies between them. */
  sampling: number
  decode: number
}

/**
 * `stable-diffusion.cpp version master-827-97d2990, commit 97d2990`: what stands for the version, or `undefined` where another program
 * speaks.
 */
export function sdVersion(text: string): string | undefined {
  return /^stable-diffusion\.cpp version (\S+), commit \S+/m.exec(text)?.[1]
}

/** Does this help text belong to stable-diffusion.cpp? For builds from before it told its version. */
export function isSdHelp(text: string): boolean {
  return ['--sampling-method', '--cfg-scale', '--vae-tiling', '--rng'].every(option => text.includes(option))
}

/** Sum of what a pattern's first group finds in all places; `undefined` where it finds nothing. */
function sum(text: string, pattern: RegExp): number | undefined {
  const found = [...text.matchAll(pattern)]
  return found.length === 0 ? undefined : found.reduce((total, [, value]) => total + Number(value), 0)
}

/**
 * Reads the times out of what a run printed.
 * @param steps as asked for
 * @returns the times, or what is missing
 */
export function parseSdOutput(text: string, steps: number): SdTimes | string {
  // Its bars overwrite themselves, and colours may be in between.
  const plain = text.replace(/\x1b\[[0-9;]*[A-Za-z]/g, '').replaceAll('\r', '\n')
  const from = plain.search(/generating image: \d+\/\d+/), to = plain.search(/\bsampling completed, taking/)
  if (from === -1 || to < from) return 'no sampling'
  // Loading shows bars too, therefore only those in between.
  const perStep = [...plain.slice(from, to).matchAll(/\| (\d+)\/(\d+) - ([\d.]+)(s\/it|it\/s)/g)]
    .filter(([, , of]) => Number(of) === steps).map(([, at, , value, unit]) =>
      ({ at: Number(at), seconds: unit === 's/it' ? Number(value) : 1 / Number(value) }))
  if (perStep.length !== steps || perStep.some(({ at, seconds }, i) => at !== i + 1 || !(seconds > 0) || !Number.isFinite(seconds)))
    return `no time for each of ${steps} steps`
  const sampling = sum(plain, /\bsampling completed, taking ([\d.]+)s/g)
  const text_ = sum(plain, /get_learned_condition completed, taking ([\d.]+) ?s/g)
  const decode = sum(plain, /decode_first_stage completed, taking ([\d.]+)s/g)
  if (text_ === undefined) return 'no time of the text encoder'
  if (decode === undefined) return 'no time of the decoder'
  return {
    load: sum(plain, /loading tensors completed, taking ([\d.]+)s/g) ?? 0, text: text_, steps: perStep.map(({ seconds }) => seconds),
    sampling: sampling!, decode,
  }
}
