import { AsdmError } from '../base/errors'
import { nearestName } from '../base/options'
import type { Part } from '../model/checkpoint'
import type { WeightRequest } from '../native/binding'
import type { ConditionalConv, UNetConfig } from '../native/configs'
import { behind, spelledOut, unitPlace, type ExpertsLine, type Recipe } from './recipe'

/**
 * Which convolutions of the target hold experts: those that a line gives experts, and those whose weights come from a convolution that
 * already holds some.
 * @param plain the target's weights, were all its convolutions plain ones @param parts the checkpoints' UNets
 * @throws AsdmError `INVALID_ARGUMENT` for a line that gives experts to something else
 */
export function conditionalConvs(
  recipe: Recipe, plain: readonly WeightRequest[], parts: ReadonlyMap<string, Part<UNetConfig>>,
): ConditionalConv[] {
  const convolutions = plain.filter(({ name, shape }) =>
    name.endsWith('.weight') && shape.length === 4).map(({ name }) => name.slice(0, -'.weight'.length))
  const known = new Set(convolutions)
  const lines = Object.entries(recipe.units)
  for (const [prefix, line] of lines) {
    if (!('experts' in line) || known.has(prefix)) continue
    const near = nearestName(prefix, convolutions)
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${unitPlace(prefix)} to give experts to a convolution of the target but it has none of that `
      + `name${near === undefined ? '' : `; did you mean ${JSON.stringify(near)}?`}`)
  }
  return convolutions.flatMap((prefix): ConditionalConv[] => {
    const [at, line] = lines.find(([at]) => behind(at, prefix) !== undefined) ?? []
    if (line !== undefined && 'experts' in line)
      return [{ prefix, experts: line.experts.length, router: line.router?.activation ?? 'sigmoid' }]
    const source = line === undefined ? { checkpoint: recipe.rest } : 'average' in line ? line.average[0] : 'checkpoint' in line ? line : {}
    const { checkpoint, prefix: from } = source as { checkpoint?: string, prefix?: string }
    if (checkpoint === undefined) return []
    const { index = 0, rest = '' } = at === undefined ? {} : behind(at, prefix)!
    const name = at === undefined ? prefix : `${spelledOut(from ?? at)[index]}${rest}`
    const given = parts.get(checkpoint)!.config.conditional?.find(conv => conv.prefix === name)
    return given === undefined ? [] : [{ ...given, prefix }]
  })
}

/** Far enough out that float32 rounds the sigmoid to exactly 1 or 0, and exact in every stored format. */
const certain = 128

/** The router's biases that give the rates where its matrix is zero. */
export function routerBias({ experts, router: { activation = 'sigmoid', start = 'mean' } = {} }: ExpertsLine): Float32Array {
  const rates = start === 'mean'
    ? experts.map(() => 1 / experts.length)
    : start === 'first'
      ? experts.map((_, i) => (i === 0 ? 1 : 0))
      : start
  return Float32Array.from(rates, rate => {
    if (rate === 0) return -certain
    if (activation === 'softmax') return Math.log(rate)
    return rate === 1 ? certain : Math.log(rate / (1 - rate))
  })
}
