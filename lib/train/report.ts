import { style } from '../measure/html/style'
import { escaped, table } from '../measure/html/text'
import type { DistillSettings } from './distill-options'
import type { StepResult } from './stage'

/** The losses at a step. */
export type DistillPoint = StepResult & {
  /** From 1. */
  step: number
}

/** Losses over the steps. */
export interface DistillCurves {
  /** Of training, a point a step. */
  train: DistillPoint[]
  /** On held-out data. */
  validation: DistillPoint[]
}

const [width, height, left, bottom] = [720, 220, 56, 26]
const shownPoints = 400
const number = (value: number): string => (value === 0 ? '0' : value.toPrecision(3))

/** A distillation as one HTML file that needs nothing else: settings, curves, the last contact sheet. */
export function distillPage(settings: DistillSettings, curves: DistillCurves, prompts: readonly string[], sheet: Uint8Array): string {
  const names = Object.keys(curves.train.at(-1)?.losses ?? {})
  const charts = ['loss', ...names].map(name => chart(name, [
    { className: 'k0', points: averaged(pointsOf(curves.train, name)) }, { className: 'k1', points: pointsOf(curves.validation, name) },
  ]))
  const last = curves.validation.at(-1), first = curves.validation[0]
  const rows = names.map(name => [name, ...[first, last].map(point => (point === undefined ? '' : number(valueOf(point, name))))])
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(`asdm distillation of ${settings.teacher}`)}</title>
<style>${style}
.curve { fill: none; stroke-width: 1.5 } .curve.k0 { stroke: #2563eb } .curve.k1 { stroke: #dc2626 } svg text { font: 11px sans-serif; fill: currentColor }
.sheet { max-width: 100%; image-rendering: auto }</style>
</head>
<body>
<main>
<h1>${escaped(`Distillation of ${settings.teacher} into ${settings.recipe ?? settings.student ?? ''}`)}</h1>
<p class="lead">${escaped(`${curves.train.at(-1)?.step ?? 0} steps of ${settings.batch * settings.accumulate} examples, seed ${settings.seed}.`)}</p>
<h2>Images</h2>
<p class="caption">Above the teacher's, below the student's: ${escaped(prompts.join('; '))}</p>
<div class="panel"><img class="sheet" alt="contact sheet" src="data:image/png;base64,${Buffer.from(sheet).toString('base64')}"></div>
<h2>Losses</h2>
<p class="caption">Each loss without its weight, but the sum (loss) with all; blue while training, a mean of neighbouring steps, red on held-out examples.</p>
${charts.map(svg => `<div class="panel">${svg}</div>`).join('\n')}
${rows.length > 0 && first !== undefined && last !== undefined ? `<div class="panel">${table(['held out', `step ${first.step}`, `step ${last.step}`], rows)}</div>` : ''}
<h2>Settings</h2>
<div class="panel"><pre>${escaped(JSON.stringify(settings, undefined, 2))}</pre></div>
</main>
</body>
</html>
`
}

const valueOf = (point: StepResult, name: string): number => (name === 'loss' ? point.loss : point.losses[name] ?? 0)

/** Of the steps that had the loss: stages differ in theirs. */
const pointsOf = (list: DistillCurves['train'], name: string): [number, number][] =>
  list.filter(({ losses }) => name === 'loss' || Object.hasOwn(losses, name)).map(point => [point.step, valueOf(point, name)])

/** At most some hundred points, each the mean of its neighbours. */
function averaged(points: readonly (readonly [number, number])[]): [number, number][] {
  const each = Math.max(1, Math.ceil(points.length / shownPoints))
  return Array.from({ length: Math.ceil(points.length / each) }, (_, i) => {
    const some = points.slice(i * each, (i + 1) * each)
    return [some.at(-1)![0], some.reduce((sum, [, value]) => sum + value, 0) / some.length]
  })
}

interface Line { className: string, points: readonly (readonly [number, number])[] }

function chart(title: string, lines: readonly Line[]): string {
  const all = lines.flatMap(({ points }) => points)
  const most = Math.max(...all.map(([, y]) => y), Number.MIN_VALUE), steps = Math.max(...all.map(([x]) => x), 1)
  const x = (step: number): number => left + step / steps * (width - left - 10)
  const y = (value: number): number => height - bottom - value / most * (height - bottom - 20)
  const path = ({ className, points }: Line): string => (points.length === 0
    ? ''
    : `<path class="curve ${className}" d="${points.map(([a, b], i) => `${i === 0 ? 'M' : 'L'}${x(a).toFixed(1)} ${y(b).toFixed(1)}`).join('')}"/>`)
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}"><text x="${left}" y="13">${escaped(title)}</text>
<text x="4" y="${y(most) + 4}">${number(most)}</text><text x="4" y="${y(0)}">0</text><text x="${left}" y="${height - 6}">0</text>
<text x="${width - 50}" y="${height - 6}">${steps}</text>
<path d="M${left} ${y(most)}V${y(0)}H${width - 10}" fill="none" stroke="currentColor" opacity="0.4"/>${lines.map(path).join('')}</svg>`
}
