import { parseRecipe, type Recipe } from '../assembly/recipe'
import { AsdmError, shown } from '../base/errors'
import { number } from '../base/options'
import { fieldsOf, listOf } from '../base/reading'
import type { ScoreReport } from './score'

/** Do two prefixes stand for units of which one is inside the other? A layer is its ResNet and its transformer. */
function overlap(a: string, b: string): boolean {
  const spelled = (prefix: string): string[] => {
    const layer = /^((?:down|up)_blocks\.\d+|mid_block)\.(\d+)$/.exec(prefix)
    return layer === null ? [prefix] : [`${layer[1]}.resnets.${layer[2]}`, `${layer[1]}.attentions.${layer[2]}`]
  }
  const inside = (x: string, y: string): boolean => x === y || x.startsWith(`${y}.`)
  return spelled(a).some(x => spelled(b).some(y => inside(x, y) || inside(y, x)))
}

/**
 * A recipe that drops the units that are cheapest to do without, in a report's order, until they take at least `share` of a pass's
 * multiply-accumulates. What dropping several at once does was not measured: look at its images.
 * @param share above 0 to below 1
 * @throws AsdmError `INVALID_ARGUMENT` where the report's units together do not take as much
 */
export function dropRecipe(report: ScoreReport, share: number): Recipe {
  number(share, 'share', Number.MIN_VALUE, 1)
  const units = listOf(fieldsOf(report, 'report', ['units']).units, 'report.units', 100_000).map(unit => {
    const { prefix, share: own } = fieldsOf(unit, 'report.units', ['prefix', 'share'])
    if (typeof prefix !== 'string' || typeof own !== 'number')
      throw new AsdmError('INVALID_ARGUMENT', `Expected report to be what scoreUnits gives but received ${shown(report)}`)
    return { prefix, share: own }
  })
  const dropped: string[] = []
  let sum = 0
  for (const { prefix, share: own } of units) {
    if (sum >= share) break
    if (own <= 0 || dropped.some(other => overlap(prefix, other))) continue
    dropped.push(prefix)
    sum += own
  }
  if (sum < share)
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected units that take ${share} of the multiply-accumulates but all that were scored take ${sum.toFixed(3)}`)
  return parseRecipe({
    version: 1, name: 'scored', description: `Leaves out what changes the latents least for what it takes, ${(100 * sum).toFixed(1)} % of `
      + 'the multiply-accumulates, each unit scored by itself.',
    checkpoints: { sd: null }, target: { from: 'sd' }, rest: 'sd', units: Object.fromEntries(dropped.map(prefix => [prefix, { drop: true as const }])),
  })
}
