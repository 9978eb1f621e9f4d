import type { BenchCase, BenchGoal, BenchOps, BenchReport } from '../report'
import { bandwidth } from '../roofline'
import { pairedRatio, type Measured } from '../statistics'
import { barChart, columnChart, legend, planChart, rooflineChart, stackChart, type Bar } from './charts'
import { dtypeClass, kindClass, kindOrder, style } from './style'
import { barCell, count, escaped, gigabytes, percent, table, time, type Markup } from './text'

const partNames = {
  'unet': 'UNet', 'vae-decoder': 'VAE decoder', 'text-encoder': 'text encoder', 'generate': 'image',
}
const shapeTitles: Record<string, string> = { sd15: 'Stable Diffusion 1.5', sd21: 'Stable Diffusion 2.1', emoji: 'the emoji model' }

const shapeTitle = (shape: string): string => shapeTitles[shape] ?? shape
const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
const contenderOf = ({ contender, dtype }: Pick<BenchCase, 'contender' | 'dtype'>): string => `${contender} ${dtype}`
const classOf = ({ ours, dtype }: Pick<BenchCase, 'ours' | 'dtype'>): string => (ours ? dtypeClass(dtype) : 'peer')
const loadOf = ({ loadMs }: BenchCase): string => (loadMs > 0 ? time(loadMs) : '')
const spreadOf = ({ values, spread }: Measured): string => (values.length > 1 ? `±${percent(spread)}` : '')
const memoryOf = ({ peakBytes }: BenchCase): string => (peakBytes > 0 ? gigabytes(peakBytes) : '')
const verdict = (ok: boolean, good: string, bad: string): Markup =>
  ({ html: `<span class="${ok ? 'good' : 'bad'}">${ok ? good : bad}</span>` })

/** A report as one HTML file that needs nothing else: styles and charts are inside, nothing is loaded, no script runs. */
export function reportPage(report: BenchReport): string {
  const sections = [
    header(report), cards(report), notes(report), passes(report, 'unet'), passes(report, 'vae-decoder'), images(report), loads(report),
    goals(report), ...report.ops.length > 0 ? operations(report) : [], plans(report), checks(report), machine(report),
  ]
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(`asdm benchmark: ${shapeTitle(report.shape)} on ${report.machine.cpu || 'an unknown processor'}`)}</title>
<style>${style}</style>
</head>
<body>
<main>
${sections.filter(section => section !== '').join('\n')}
</main>
</body>
</html>
`
}

function header({ shape, size, machine: { cpu, set }, threads, date }: BenchReport): string {
  return `<h1>${escaped(capital(shapeTitle(shape)))} on ${escaped(cpu || 'an unknown CPU')}</h1>
<p class="lead">Images of ${size}x${size}, ${threads} ${threads === 1 ? 'thread' : 'threads'}, kernel set ${escaped(set)}, measured by asdm bench on ${escaped(date.slice(0, 10))}.</p>`
}

/** The few figures that matter most. */
function cards({ cases, ratios, ops, size }: BenchReport): string {
  const list: { label: string, value: string, more: string }[] = []
  const unets = cases.filter(each => each.ours && each.name === 'unet')
  const fastest = [...unets].sort((a, b) => a.ms.median - b.ms.median)[0]
  if (fastest !== undefined)
    list.push({ label: 'One denoising step', value: time(fastest.ms.median), more: `UNet with guidance, ${fastest.dtype}` })
  // Of our fastest, to whoever is nearest.
  const best = ratios.filter(({ name }) =>
    fastest !== undefined && name.startsWith(`unet ${fastest.dtype} / `)).sort((a, b) => b.value.median - a.value.median)[0]
  if (best !== undefined)
    list.push({
      label: best.name.replace('unet ', 'UNet: asdm '), value: best.value.median.toFixed(2),
      more: ['of the time', spreadOf(best.value)].filter(text => text !== '').join(', '),
    })
  const images = cases.filter(each => each.ours && each.name === 'generate')
  const smallest = [...images].sort((a, b) => a.peakBytes - b.peakBytes)[0]
  if (smallest !== undefined)
    list.push({
      label: `Memory for an image of ${size}x${size}`, value: gigabytes(smallest.peakBytes), more: `the whole process, ${smallest.dtype}`,
    })
  const op = [...ops].filter(({ part }) => part === 'unet').sort((a, b) => a.passMs - b.passMs)[0]
  if (op !== undefined)
    list.push({ label: 'Of what the machine can do', value: percent(op.whole.ofRoofline), more: `UNet in ${op.dtype}, all kernel calls` })
  if (list.length === 0) return ''
  return `<div class="cards">${list.map(({ label, value, more }) => `<div class="card"><div class="label">${escaped(label)}</div><div class="value">${escaped(value)}</div><div class="more">${escaped(more)}</div></div>`).join('')}</div>`
}

function notes({ notes: list, peers }: BenchReport): string {
  const said = [
    ...peers.filter(({ absent }) => absent !== undefined).map(({ name, absent }) => `Not compared with ${name}: ${absent}`), ...list,
  ]
  return said.length === 0 ? '' : `<div class="notes">${said.map(note => `<p>${escaped(note)}</p>`).join('')}</div>`
}

/** One pass of a part by everyone. */
function passes({ cases, ratios, runs }: BenchReport, part: keyof typeof partNames): string {
  const chosen = cases.filter(({ name }) => name === part).sort((a, b) => a.ms.median - b.ms.median)
  if (chosen.length === 0) return ''
  const bars: Bar[] = chosen.map(each =>
    ({
      label: contenderOf(each), value: each.ms.median, least: each.ms.least, most: each.ms.most, className: classOf(each),
      note: time(each.ms.median),
    }))
  const rows = chosen.map(each => [
    contenderOf(each) + (each.version === undefined ? '' : ` (${each.version})`), time(each.ms.median), spreadOf(each.ms), ((2 * each.macs) / each.ms.median / 1e6).toFixed(0), memoryOf(each), loadOf(each),
  ])
  const relevant = ratios.filter(({ name }) => name.startsWith(`${part} `))
  return `<h2>${escaped(partNames[part])}: one pass</h2>
<p class="caption">${part === 'unet' ? 'One denoising step of one image with guidance: a batch of two latents. ' : 'One image\'s latents. '}Median of ${runs} ${runs === 1 ? 'round' : 'rounds'} in which all take turns, each in a process of its own; whiskers show the range. GFLOP/s count convolutions as direct ones.</p>
<div class="panel">${barChart(`${partNames[part]}: time of one pass`, bars)}</div>
<div class="panel">${table(['', 'time', 'spread', 'GFLOP/s', 'peak memory', 'load'], rows)}</div>
${relevant.length === 0 ? '' : `<div class="panel">${table(['ours / theirs, from rounds side by side (less is faster)', 'ratio', 'spread'], relevant.map(({ name, value }) => [name, value.median.toFixed(3), spreadOf(value)]))}</div>`}`
}

/** Whole images: phases, memory. */
function images({ cases, size }: BenchReport): string {
  const chosen = cases.filter(({ name }) => name === 'generate')
  if (chosen.length === 0) return ''
  const phases = ['text', 'denoise', 'decode'] as const
  const colours = { text: 'k2', denoise: 'k0', decode: 'k1' }
  const stacks = chosen.map(each =>
    ({ label: contenderOf(each), note: time(each.ms.median), parts: phases.map(kind => ({ kind, ms: each.phases?.[kind] ?? 0 })) }))
  const rows = chosen.map(each =>
    [
      contenderOf(each), memoryOf(each),
      ...[each.phases?.text, each.phases?.step, each.phases?.decode].map(ms => (ms === undefined ? '' : time(ms))), loadOf(each),
    ])
  return `<h2>A whole image</h2>
<p class="caption">One image of ${size}x${size} from text: the encoder, all denoising steps, the decoder.</p>
<div class="panel">${legend(phases.map(kind => ({ className: colours[kind], label: kind })))}${stackChart('Time of an image by phase', stacks, kind => colours[kind as keyof typeof colours])}</div>
<div class="panel">${table(['', 'peak memory of the process', 'text', 'a step', 'decoding', 'load'], rows)}</div>`
}

/** Loading against reading. */
function loads({ loading, runs }: BenchReport): string {
  if (loading.length === 0) return ''
  const cell = (value: Measured): string => `${time(value.median)}${value.values.length > 1 ? ` ${spreadOf(value)}` : ''}`
  const times = (ours: Measured, theirs: Measured): string => `${pairedRatio(ours.values, theirs.values).median.toFixed(2)}x`
  return `<h2>Loading</h2>
<p class="caption">The whole model, against one thread that reads the same files: into new memory as large as they are, as a program does that wants to have them, and into one small buffer over and over, which keeps nothing. Files are in the system's cache, and so is free memory: every turn comes right after one of its kind. Medians of ${runs} ${runs === 1 ? 'round' : 'rounds'}.</p>
<div class="panel">${table(['', 'load', 'reading into new memory', 'load / reading', 'reading into a small buffer', 'load / reading'], loading.map(({ dtype, load, fresh, small }) => [dtype, cell(load), cell(fresh), times(load, fresh), cell(small), times(load, small)]))}</div>`
}

const kindsLegend = (used: ReadonlySet<string>): string => {
  const known = kindOrder.filter(kind => used.has(kind))
  const others = [...used].filter(kind => !(kindOrder as readonly string[]).includes(kind))
  const [other] = others
  return legend([
    ...known.map(kind => ({ className: kindClass(kind), label: kind })),
    ...other !== undefined ? [{ className: kindClass(other), label: others.join(', ') }] : [],
  ])
}

function operations(report: BenchReport): string[] {
  const { ops, peaks } = report
  const stacks = ops.map(({ part, dtype, kinds, whole }) =>
    ({
      label: `${partNames[part]} ${dtype}`, note: time(whole.ms),
      parts: [...kinds].sort((a, b) => b.ms - a.ms).map(({ name, ms }) => ({ kind: name, ms })),
    }))
  const used = new Set(ops.flatMap(({ kinds }) => kinds.filter(({ share }) => share > 0.002).map(({ name }) => name)))
  const sections = [`<h2>Where the time goes: by op</h2>
<p class="caption">Sums over all kernel calls of one pass, timed one by one.</p>
<div class="panel">${kindsLegend(used)}${stackChart('Time by op', stacks)}</div>`]
  for (const part of ['unet', 'vae-decoder'] as const) {
    const chosen = ops.filter(each => each.part === part)
    if (chosen.length === 0) continue
    sections.push(`<h2>${partNames[part]}: by layer</h2>
<p class="caption">In the order in which they run. The line across each column is the least time by the machine's peaks, with convolutions counted as direct ones; an arrow says that it is further up.</p>
${chosen.map(each => `<h3>${escaped(each.dtype)}: ${time(each.whole.ms)}</h3><div class="panel">${kindsLegend(used)}${columnChart(`${partNames[part]} in ${each.dtype}: time by layer`, each.layers.map(({ name, kinds, boundMs }) => ({ label: name, parts: kinds, boundMs })))}</div>`).join('\n')}`)
  }
  const memory = bandwidth(peaks, Infinity), cache = peaks.copy[0]!.perSecond
  const roofs = Object.entries(peaks.arithmetic).map(([dtype, peak]) => ({ dtype, peak }))
  const points = ops.flatMap(each => each.shapes.filter(({ macs }) => macs > 0).map(row => ({
    x: (2 * row.macs) / row.bytes, y: row.gflops * 1e9, size: row.share, className: dtypeClass(row.dtype),
    title: `${partNames[each.part]} ${each.dtype}: ${row.name}\n${time(row.ms)} in ${row.calls} calls, ${percent(row.share)} of the `
      + `pass\n${row.gflops.toFixed(0)} GFLOP/s, ${percent(row.ofRoofline)} of the roofline`,
  })))
  sections.push(`<h2>Roofline</h2>
<p class="caption">Each dot is a kernel at one size, as large as its share of a pass; colours are number formats. Flat lines are what the cores multiply and add at most, slopes what they copy: solid from memory, dashed within the cache. A dot far below its line could be faster; one above it is a convolution that multiplies less than a direct one.</p>
<div class="panel">${legend(roofs.map(({ dtype }) => ({ className: dtypeClass(dtype), label: dtype })))}${rooflineChart('Roofline of all kernels', points, roofs, memory, cache)}</div>`)
  sections.push(`<h2>What could be faster</h2>
<p class="caption">Kernels by size (N x H x W x C), by what a perfect kernel would save of the pass.</p>
${ops.filter(({ part }) => part !== 'text-encoder').map(shapeTable).join('\n')}`)
  return sections
}

function shapeTable(ops: BenchOps): string {
  const saves = (row: BenchOps['shapes'][number]): number => Math.max(0, row.ms - row.boundMs) / ops.whole.ms
  const sorted = [...ops.shapes].sort((a, b) => saves(b) - saves(a))
  const rows = sorted.map(row =>
    [
      row.name, String(row.calls), row.ms.toFixed(2), percent(row.share), row.macs > 0 ? row.gflops.toFixed(0) : '',
      count(row.bytes) + (row.bytes < 999.5 ? ' B' : 'B'), percent(row.ofRoofline), barCell(row.ofRoofline, kindClass(row.kind)),
      percent(saves(row)),
    ])
  const head = ['kernel and size', 'calls', 'ms', 'share', 'GFLOP/s', 'memory', 'of roofline', '', 'could save']
  const few = 12
  return `<h3>${escaped(partNames[ops.part])} in ${escaped(ops.dtype)}</h3><div `
    + `class="panel">${table(head, rows.slice(0, few))}`
    + `${rows.length > few ? `<details><summary>${rows.length - few} more</summary>${table(head, rows.slice(few))}</details>` : ''}</div>`
}

function plans({ plans: list, shape, dtypes }: BenchReport): string {
  if (list.length === 0) return ''
  const judged = list.filter(({ psnr }) => psnr !== undefined)
  const rows = list.map(({ plan, speedUp, counted, keptBytes, psnr, ssim }) =>
    [plan, `${speedUp.toFixed(2)}x`, `${counted.toFixed(2)}x`, gigabytes(keptBytes), psnr?.toFixed(1) ?? '', ssim?.toFixed(3) ?? ''])
  return `<h2>Plans: speed against quality</h2>
<p class="caption">Speed is that of ${escaped(shapeTitle(shape))}'s UNet in ${escaped(dtypes.at(-1)!)} over 20 steps; likeness is that of the emoji model's images to its own full run (PSNR), since random weights draw nothing. Right and up is better.</p>
${judged.length === 0 ? '' : `<div class="panel">${planChart('Plans: speed against likeness', judged.map(({ plan, speedUp, psnr }) => ({ label: plan, speedUp, psnr: psnr!, title: `${plan}: ${speedUp.toFixed(2)} times as fast, ${psnr!.toFixed(1)} dB` })))}</div>`}
<div class="panel">${table(['plan', 'times as fast', 'by count', 'kept between steps', 'PSNR', 'SSIM'], rows)}</div>`
}

function goals({ goals: list }: BenchReport): string {
  if (list.length === 0) return ''
  const shown = (value: number, unit: string): string =>
    (unit === 'bytes' ? gigabytes(value) : unit === 'difference' ? value.toExponential(1) : value.toFixed(2))
  return `<h2>Goals</h2>
<div class="panel">${table(['', 'found', 'at most', ''], list.map(({ name, value, limit, unit, met }) => [name, shown(value, unit), shown(limit, unit), verdict(met, 'met', 'missed')]))}</div>
${list.map(missed).filter(section => section !== '').join('\n')}`
}

/** Which kernels miss a goal, and by how much. */
function missed({ name, missedBy }: BenchGoal): string {
  if (missedBy === undefined) return ''
  const { part, dtype, allowedMs, excessMs, ops } = missedBy
  const most = Math.max(...ops.map(op => op.ms - op.allowedMs))
  const rows = ops.map(op =>
    [
      op.dtype === dtype ? op.name : `${op.name} (${op.dtype})`, time(op.ms), time(op.allowedMs), time(op.ms - op.allowedMs),
      barCell((op.ms - op.allowedMs) / most, 'over'),
    ])
  return `<h3>Missed: ${escaped(name)}</h3>
<p class="caption">The goal leaves ${time(allowedMs)} for the ${escaped(partNames[part])} in ${escaped(dtype)}, which takes ${time(excessMs)} more. Each kernel may take the same multiple of its least time by the roofline, so that all together just meet the goal; these are furthest above it.</p>
<div class="panel">${table(['kernel and size', 'takes', 'may take', 'over by', ''], rows)}</div>`
}

function checks({ checks: list }: BenchReport): string {
  if (list.length === 0) return ''
  return `<h2>Checked before it was timed</h2>
<p class="caption">Results on the same inputs; relative root mean square of the difference.</p>
<div class="panel">${table(['result', 'against', 'difference', 'allowed', ''], list.map(({ name, against, difference, psnr, limit, ok }) => [name, against, (difference === 0 ? '0' : difference.toExponential(1)) + (psnr === undefined ? '' : ` (${psnr.toFixed(1)} dB)`), limit === 0 ? '0' : limit.toExponential(1), verdict(ok, 'ok', 'wrong')]))}</div>`
}

function machine(
  { machine: { cpu, features, set, cores, memoryBytes, platform, node, load }, peaks, threads, asdm, commit, date, seconds }: BenchReport,
): string {
  const rows = [
    ['Processor', cpu || 'unknown'], [
      'Features', features.join(', ') || 'none that matter',
    ], ['Kernel set', set], ['Threads', `${threads} of ${cores} cores`], ['Memory', gigabytes(memoryBytes)],
    ['System', `${platform}, Node ${node}`], ['Load at the start', load.toFixed(2)], ...Object.entries(peaks.arithmetic).map(([dtype, perSecond]) => [
      `Most arithmetic in ${dtype}`, `${(perSecond / 1e9).toFixed(0)} GFLOP/s`,
    ]),
    ...peaks.copy.map(({ bytes, perSecond }) =>
      [`Copying within ${bytes >= 2 ** 20 ? `${bytes / 2 ** 20} MiB` : `${bytes / 2 ** 10} KiB`}`, `${(perSecond / 1e9).toFixed(1)} GB/s`]),
  ]
  return `<h2>The machine</h2>
<p class="caption">Peaks are measured in the same run: multiply-accumulates on registers, and copying (bytes read and written).</p>
<div class="panel">${table(['', ''], rows)}</div>
<footer>asdm ${escaped(asdm)}${commit === undefined ? '' : `, commit ${escaped(commit)}`}, ${escaped(date)}, ${seconds.toFixed(0)} s. The same figures are in report.json.</footer>`
}
