import type { CallRow } from '../native/binding'
import { callBound, type Peaks } from './roofline'
import { median } from './statistics'

/** Kernel calls taken together, or one. */
export interface ProfileRow {
  /** The prefix or op that they share. */
  name: string
  /** Number of kernel calls. */
  calls: number
  ms: number
  /** Of the time of all calls. */
  share: number
  /** Multiply-accumulates. */
  macs: number
  /** 10^9 operations per second, two for each multiply-accumulate. */
  gflops: number
  /** Weights and values that are read and written. */
  bytes: number
  /** The least time by the machine's peaks. */
  boundMs: number
  /** `boundMs` of `ms`: 1 is as fast as the machine can. */
  ofRoofline: number
}

/** A kernel call of a profile, with its bound. */
export interface ProfiledCall extends CallRow {
  boundMs: number
  boundBy: 'arithmetic' | 'memory'
}

/**
 * Several profiles of the same pass as one: each call's median time.
 * @param passes at least one; the calls of a pass are those of the others
 */
export function mergePasses(passes: readonly (readonly CallRow[])[], peaks: Peaks): ProfiledCall[] {
  const calls = passes[0]!
  const weightBytes = calls.reduce((sum, call) => sum + call.weightBytes, 0)
  return calls.map((call, i) => {
    const bound = callBound(call, peaks, weightBytes)
    return { ...call, ms: median(passes.map(pass => pass[i]!.ms)), boundMs: bound.ms, boundBy: bound.by }
  })
}

/** Calls with the same key as one row, in order of first appearance. The rows add up to the calls. */
export function rollUp(calls: readonly ProfiledCall[], key: (call: ProfiledCall) => string): ProfileRow[] {
  const groups = new Map<string, ProfiledCall[]>()
  for (const call of calls) {
    const name = key(call)
    const group = groups.get(name)
    if (group === undefined) groups.set(name, [call])
    else group.push(call)
  }
  const whole = calls.reduce((sum, { ms }) => sum + ms, 0)
  return [...groups].map(([name, group]) => {
    const sum = (of: (call: ProfiledCall) => number): number => group.reduce((total, call) => total + of(call), 0)
    const ms = sum(call => call.ms), macs = sum(call => call.macs), boundMs = sum(call => call.boundMs)
    return {
      name, calls: group.length, ms, share: whole > 0 ? ms / whole : 0, macs, gflops: ms > 0 ? (2 * macs) / ms / 1e6 : 0,
      bytes: sum(call => call.weightBytes + call.valueBytes), boundMs, ofRoofline: ms > 0 ? boundMs / ms : 0,
    }
  })
}

/** All calls as one row. */
export const wholeOf = (calls: readonly ProfiledCall[]): ProfileRow => rollUp(calls, () => 'all')[0]!

/** `down_blocks.0` of `down_blocks.0.resnets.1.conv1`; `decoder.mid_block`; `encoder.layers.3`. */
export function blockOf(name: string): string {
  return /^(?:(?:encoder|decoder)\.)?(?:(?:down_blocks|up_blocks|layers)\.\d+|[^.]+)/.exec(name)?.[0] ?? name
}

/**
 * `up_blocks.1.0` of a call in `up_blocks.1.resnets.0` or `up_blocks.1.attentions.0`, as plans name layers; else the module below the
 * block.
 */
export function layerOf(name: string): string {
  const block = blockOf(name)
  const rest = name.slice(block.length)
  return block + (/^\.(?:resnets|attentions)(\.\d+)/.exec(rest)?.[1] ?? /^\.[^.\d]+\.\d+/.exec(rest)?.[0] ?? '')
}

/** The unit that a call belongs to: the longest of the model's own names (`tapNames`) that is its prefix at a dot, else the call's name. */
export function unitOf(name: string, names: ReadonlySet<string>): string {
  for (let prefix = name; prefix !== ''; prefix = prefix.slice(0, Math.max(0, prefix.lastIndexOf('.'))))
    if (names.has(prefix)) return prefix
  return name
}

/** What kind of arithmetic a call is, for people: `conv 3x3`, `linear`, `attention`, `group norm`, … */
export function kindOf({ op, input, macs, shape }: Pick<CallRow, 'op' | 'input' | 'macs' | 'shape'>): string {
  if (op === 'Conv2d') {
    // Multiply-accumulates are output elements times input channels times the kernel's area.
    const side = Math.round(Math.sqrt(macs / shape.reduce((a, b) => a * b, 1) / (input[input.length - 1] ?? 1)))
    return `conv ${side}x${side}`
  }
  const names: Record<string, string> = {
    CondConv: 'conditional conv', GroupNorm: 'group norm', LayerNorm: 'layer norm', ToChannelsLast: 'layout', ToChannelsFirst: 'layout',
  }
  return names[op] ?? op.toLowerCase()
}

/** The same for every call that runs the same kernel on the same sizes: `conv 3x3 2x64x64x320 -> 320`. */
export function shapeOf(call: Pick<CallRow, 'op' | 'input' | 'macs' | 'shape'>): string {
  const { input, shape } = call
  if (input.length === 0) return `${kindOf(call)} ${shape.join('x')}`
  const same = input.length === shape.length && input.every((size, i) => size === shape[i])
  const inside = input.length === shape.length && input.slice(0, -1).every((size, i) => size === shape[i])
  return `${kindOf(call)} ${input.join('x')}${same && call.macs === 0 ? '' : ` -> ${inside ? shape[shape.length - 1] : shape.join('x')}`}`
}
