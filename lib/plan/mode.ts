/** Every `every`-th step is full, from the first on. */
export interface UniformMode { mode: 'uniform', every: number }
/**
 * As many full steps as `uniform`, but closer together around `center`, a fraction of the run; with power 1 evenly spaced, with more ever
 * denser.
 */
export interface QuadraticMode { mode: 'quadratic', every: number, center: number, power: number }
/** The full steps by number, counted from 0; those that the run does not have do not count. */
export interface ListMode { mode: 'list', full: number[] }
/** Every step is full but those from the fraction `from` of the run up to, without it, `to`. */
export interface WindowMode { mode: 'window', from: number, to: number }
/** `uniform` with `early` up to the fraction `split` of the run, and from there on anew with `late`. */
export interface PhasesMode { mode: 'phases', split: number, early: number, late: number }
/** The first `steps` steps are full. */
export interface WarmupMode { mode: 'warmup', steps: number }
/** The last `steps` steps are full. */
export interface FinalMode { mode: 'final', steps: number }
/**
 * Full or not is decided when a step comes. At every step the UNet runs as far as `probe`, an early unit's output, first; how far that is
 * from what it was at the rule's last full step is the estimate: the sum of absolute differences over the sum of absolute values. The
 * step inherits while the estimate is at most `threshold`, but no more than `most` steps in a row.
 */
export interface AdaptiveMode {
  /** Which mode it is. */
  mode: 'adaptive'
  /** The estimate up to which a step inherits. */
  threshold: number
  /** Inheriting steps in a row at most. */
  most: number
  /** Prefix of the unit that is compared. */
  probe: string
}

/** Says which steps of a run are full. */
export type Mode = UniformMode | QuadraticMode | ListMode | WindowMode | PhasesMode | WarmupMode | FinalMode | AdaptiveMode

/** The most steps a run has. */
export const maxSteps = 1000

/** What each mode's numbers may be: [least, most, whole]. */
export const modeFields: Readonly<Record<Mode['mode'], Readonly<Record<string,
  | readonly [number, number, boolean]
  | 'steps'
  | 'prefix'>>>> = {
  uniform: { every: [1, maxSteps, true] },
  quadratic: { every: [1, maxSteps, true], center: [0, 1, false], power: [1, 8, false] },
  list: { full: 'steps' },
  window: { from: [0, 1, false], to: [0, 1, false] },
  phases: { split: [0, 1, false], early: [1, maxSteps, true], late: [1, maxSteps, true] },
  warmup: { steps: [0, maxSteps, true] },
  final: { steps: [0, maxSteps, true] },
  adaptive: { threshold: [0, 1000, false], most: [1, maxSteps, true], probe: 'prefix' },
}

/** Which of `count` steps one mode makes full. Exported for tests and scripts. */
export function fullSteps(mode: Mode, count: number): boolean[] {
  const steps = Array.from({ length: count }, (_, i) => i)
  switch (mode.mode) {
    case 'uniform': return steps.map(i => i % mode.every === 0)
    case 'quadratic': return quadratic(mode, count)
    case 'list': return steps.map(i => mode.full.includes(i))
    case 'window': return steps.map(i => !(i / count >= mode.from && i / count < mode.to))
    case 'phases': {
      const begin = Math.ceil(mode.split * count)
      return steps.map(i => (i < begin ? i % mode.early === 0 : (i - begin) % mode.late === 0))
    }
    case 'warmup': return steps.map(i => i < mode.steps)
    case 'final': return steps.map(i => i >= count - mode.steps)
    // None for sure.
    case 'adaptive': return steps.map(() => false)
  }
}

/**
 * Evenly spaced points, drawn towards the center by the power; no two on one step. The idea is DeepCache's non-uniform 1:N (arXiv
 * 2312.00858, section 3.3).
 */
function quadratic({ every, center, power }: QuadraticMode, count: number): boolean[] {
  const wanted = Math.ceil(count / every)
  const middle = center * (count - 1)
  const root = (distance: number): number => Math.sign(distance) * Math.abs(distance) ** (1 / power)
  const [first, last] = [root(-middle), root(count - 1 - middle)]
  const at = Array.from({ length: wanted }, (_, k) => {
    const x = wanted === 1 ? first : first + ((last - first) * k) / (wanted - 1)
    return Math.min(count - 1, Math.max(0, Math.round(middle + Math.sign(x) * Math.abs(x) ** power)))
  })
  for (let k = 1; k < wanted; k++) at[k] = Math.max(at[k]!, at[k - 1]! + 1)
  for (let k = wanted - 1, most = count - 1; k >= 0; k--, most--) at[k] = Math.min(at[k]!, most)
  const full = new Array<boolean>(count).fill(false)
  for (const step of at) full[step] = true
  return full
}

/** Which steps several modes make full: each adds its own. */
export function anyFull(when: Mode | readonly Mode[], count: number): boolean[] {
  const lists = (Array.isArray(when) ? when as readonly Mode[] : [when as Mode]).map(mode => fullSteps(mode, count))
  return Array.from({ length: count }, (_, i) => lists.some(list => list[i]))
}

/** The one of several modes that decides when a step comes. */
export function adaptiveOf(when: Mode | readonly Mode[]): AdaptiveMode | undefined {
  return (Array.isArray(when) ? when as readonly Mode[] : [when as Mode]).find(mode => mode.mode === 'adaptive')
}
