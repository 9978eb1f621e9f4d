/** Charts as SVG: plain marks, colours by class (style.ts), and a title on each mark for who points at it. */
import { dtypeClass, kindClass } from './style'
import { escaped, time } from './text'

const f = (value: number): string => value.toFixed(1)

function svg(width: number, height: number, title: string, marks: readonly string[]): string {
  return `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">${marks.join('')}</svg>`
}

const text = (x: number, y: number, content: string, attributes = ''): string =>
  `<text x="${f(x)}" y="${f(y)}" ${attributes}>${escaped(content)}</text>`
const line = (x1: number, y1: number, x2: number, y2: number, className: string): string =>
  `<line x1="${f(x1)}" y1="${f(y1)}" x2="${f(x2)}" y2="${f(y2)}" class="${className}"/>`
const rect = (x: number, y: number, width: number, height: number, className: string, title: string): string =>
  `<rect x="${f(x)}" y="${f(y)}" width="${f(Math.max(0.5, width))}" height="${f(height)}" rx="2" `
  + `class="${className}"><title>${escaped(title)}</title></rect>`

/** A round step so that `most` takes four to eight of them. Exported for tests and scripts. */
export function niceStep(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most / 4))
  return power * ([1, 2, 2.5, 5, 10].find(factor => most / (power * factor) <= 8) ?? 10)
}

export interface Bar { label: string, value: number, least?: number, most?: number, className: string, note: string }

/** Horizontal bars of times, shortest best; whiskers are the range. */
export function barChart(title: string, bars: readonly Bar[]): string {
  const width = 1000, left = 190, right = 150, rowHeight = 34
  const most = Math.max(...bars.map(({ value, most: end }) => end ?? value))
  const step = niceStep(most)
  const x = (value: number): number => left + (value / most) * (width - left - right)
  const bottom = bars.length * rowHeight + 6
  const marks: string[] = []
  for (let value = 0; value <= most * 1.0001; value += step)
    marks.push(
      line(x(value), 0, x(value), bottom, 'grid'),
      text(x(value), bottom + 16, value === 0 ? '0' : time(value), 'class="soft" text-anchor="middle"'),
    )
  bars.forEach(({ label, value, least, most: end, className, note }, i) => {
    const y = i * rowHeight + 6
    marks.push(text(left - 12, y + 15, label, 'text-anchor="end"'), rect(left, y, x(value) - left, 22, className, `${label}: ${note}`))
    if (least !== undefined && end !== undefined && end > least)
      marks.push(
        line(x(least), y + 11, x(end), y + 11, 'whisker'), line(x(least), y + 7, x(least), y + 15, 'whisker'),
        line(x(end), y + 7, x(end), y + 15, 'whisker'),
      )
    marks.push(text(x(end ?? value) + 10, y + 15, note))
  })
  return svg(width, bottom + 24, title, marks)
}

interface Stack { label: string, parts: { kind: string, ms: number }[], note: string }

/** One horizontal bar for each stack, its parts by kind. */
export function stackChart(title: string, stacks: readonly Stack[], className: (kind: string) => string = kindClass): string {
  const width = 1000, left = 190, right = 150, rowHeight = 34
  const most = Math.max(...stacks.map(({ parts }) => parts.reduce((sum, { ms }) => sum + ms, 0)))
  const scale = (width - left - right) / most
  const marks = stacks.flatMap(({ label, parts, note }, i) => {
    const y = i * rowHeight + 4
    let at = left
    const rows = parts.map(({ kind, ms }) => {
      const mark = rect(at, y, ms * scale, 24, className(kind), `${label}, ${kind}: ${time(ms)}`)
      const inside = ms * scale > 74 ? text(at + (ms * scale) / 2, y + 16, kind, 'text-anchor="middle" style="fill:#fff"') : ''
      at += ms * scale
      return mark + inside
    })
    return [text(left - 12, y + 16, label, 'text-anchor="end"'), ...rows, text(at + 10, y + 16, note)]
  })
  return svg(width, stacks.length * rowHeight + 8, title, marks)
}

interface Column { label: string, parts: Record<string, number>, boundMs: number }

/**
 * Layers from left to right, in the order in which they run; each column's parts by kind, and a mark at what the machine could do at best.
 */
export function columnChart(title: string, columns: readonly Column[]): string {
  const width = 1000, left = 62, top = 8, height = 250, labels = 156
  const whole = columns.map(({ parts }) => Object.values(parts).reduce((a, b) => a + b, 0))
  // Room for bounds above their columns, but not for any: the columns are what is to be seen.
  const most = Math.min(1.5 * Math.max(...whole), Math.max(...whole, ...columns.map(({ boundMs }) => boundMs)))
  const step = niceStep(most)
  const y = (ms: number): number => top + height - (ms / most) * height
  const marks: string[] = []
  for (let value = 0; value <= most * 1.0001; value += step)
    marks.push(
      line(left, y(value), width, y(value), 'grid'),
      text(left - 8, y(value) + 4, value === 0 ? '0' : time(value), 'class="soft" text-anchor="end"'),
    )
  const slot = (width - left) / columns.length
  columns.forEach(({ label: name, parts, boundMs }, i) => {
    const label = name.replace(/^(encoder|decoder)\./, '').replace(/samplers\.0$/, 'sampler')
    const x = left + i * slot
    let at = 0
    for (const [kind, ms] of Object.entries(parts)) {
      marks.push(rect(
        x + slot * 0.12, y(at + ms), slot * 0.76, y(at) - y(at + ms), kindClass(kind),
        `${label}, ${kind}: ${time(ms)} of ${time(whole[i]!)}`,
      ))
      at += ms
    }
    const [from, to] = [x + slot * 0.04, x + slot * 0.96]
    const title = `${label}: least time ${time(boundMs)}`
    if (boundMs <= most) marks.push(`<g>${line(from, y(boundMs), to, y(boundMs), 'mark')}<title>${escaped(title)}</title></g>`)
    else marks.push(
      `<path d="M${f(from)} ${f(top + 7)}L${f((from + to) / 2)} ${f(top - 1)}L${f(to)} ${f(top + 7)}" class="line `
      + `arrow"><title>${escaped(title)}</title></path>`,
    )
    const [tx, ty] = [x + slot / 2 + 4, top + height + 12]
    marks.push(text(tx, ty, label, `class="soft" text-anchor="end" transform="rotate(-52 ${f(tx)} ${f(ty)})"`))
  })
  return svg(width, top + height + labels, title, marks)
}

interface Point { x: number, y: number, size: number, className: string, title: string, label?: string }
interface Roof { dtype: string, peak: number }

/**
 * A roofline: operations per byte against operations per second, both by logarithms.
 * @param roofs flat parts, by number format @param bandwidth bytes per second of the slope @param cache the same in the cache
 */
export function rooflineChart(title: string, points: readonly Point[], roofs: readonly Roof[], bandwidth: number, cache: number): string {
  const width = 1000, left = 76, right = 150, top = 26, height = 400
  const top10 = Math.ceil(Math.log10(Math.max(...roofs.map(({ peak }) => peak), ...points.map(point => point.y))) * 4) / 4
  const low10 = Math.max(top10 - 5, Math.floor(Math.log10(Math.min(...points.map(point => point.y)))))
  const [from, to] = [
    Math.floor(Math.log10(Math.min(...points.map(point => point.x)))),
    Math.ceil(Math.log10(Math.max(...points.map(point => point.x), 100))),
  ]
  const x = (value: number): number => left + ((Math.log10(value) - from) / (to - from)) * (width - left - right)
  const y = (value: number): number => top + height - ((Math.max(low10, Math.log10(value)) - low10) / (top10 - low10)) * height
  const marks: string[] = []
  for (let power = from; power <= to; power++)
    marks.push(
      line(x(10 ** power), top, x(10 ** power), top + height, 'grid'),
      text(
        x(10 ** power), top + height + 18, power < 0 ? String(10 ** power) : (10 ** power).toLocaleString('en'),
        'class="soft" text-anchor="middle"',
      ),
    )
  for (let power = Math.ceil(low10); power <= top10; power++)
    marks.push(
      line(left, y(10 ** power), width - right, y(10 ** power), 'grid'),
      text(left - 8, y(10 ** power) + 4, (10 ** power / 1e9).toLocaleString('en'), 'class="soft" text-anchor="end"'),
    )
  marks.push(
    text(left, top + height + 38, 'operations per byte (weights, values read and written)', 'class="soft"'),
    text(left, 12, 'GFLOP/s', 'class="soft" text-anchor="end"'),
  )
  const best = Math.max(...roofs.map(({ peak }) => peak))
  const slope = (perSecond: number, className: string, label: string): void => {
    const start = Math.max(10 ** from, 10 ** low10 / perSecond), end = Math.min(best / perSecond, 10 ** to)
    marks.push(
      `<path d="M${f(x(start))} ${f(y(start * perSecond))}L${f(x(end))} ${f(y(end * perSecond))}" class="line" `
      + `${className}><title>${escaped(label)}</title></path>`,
    )
  }
  slope(bandwidth, '', `memory: ${(bandwidth / 1e9).toFixed(0)} GB/s`)
  slope(cache, 'stroke-dasharray="5 4"', `cache: ${(cache / 1e9).toFixed(0)} GB/s`)
  for (const { dtype, peak } of roofs) {
    const start = Math.max(10 ** from, peak / cache)
    marks.push(
      `<path d="M${f(x(start))} ${f(y(peak))}H${f(width - right)}" class="${dtypeClass(dtype)}" `
      + `stroke-width="2"><title>${escaped(`${dtype}: ${(peak / 1e9).toFixed(0)} GFLOP/s`)}</title></path>`,
    )
    marks.push(text(width - right + 8, y(peak) + 4, `${dtype} ${(peak / 1e9).toFixed(0)} GFLOP/s`))
  }
  for (const point of [...points].sort((a, b) => b.size - a.size))
    marks.push(
      `<circle cx="${f(x(point.x))}" cy="${f(y(point.y))}" r="${f(3 + 22 * Math.sqrt(point.size))}" class="dot `
      + `${point.className}"><title>${escaped(point.title)}</title></circle>`,
    )
  return svg(width, top + height + 46, title, marks)
}

/** Speed to the right, likeness upwards: the upper right is best. */
export function planChart(title: string, points: readonly { label: string, speedUp: number, psnr: number, title: string }[]): string {
  const width = 1000, left = 76, right = 40, top = 16, height = 300
  const [fastest, best, worst] = [
    Math.max(...points.map(p => p.speedUp)) * 1.08, Math.ceil(Math.max(...points.map(p => p.psnr)) / 5) * 5,
    Math.floor(Math.min(...points.map(p => p.psnr)) / 5) * 5 - 5,
  ]
  const from = Math.min(1, ...points.map(p => p.speedUp))
  const x = (value: number): number => left + ((value - from) / Math.max(0.1, fastest - from)) * (width - left - right)
  const y = (value: number): number => top + height - ((value - worst) / (best - worst)) * height
  const marks: string[] = []
  for (let value = Math.ceil(from * 2) / 2; value <= fastest; value += 0.5)
    marks.push(
      line(x(value), top, x(value), top + height, 'grid'),
      text(x(value), top + height + 18, `${value.toFixed(1)}x`, 'class="soft" text-anchor="middle"'),
    )
  for (let value = worst; value <= best; value += 5)
    marks.push(
      line(left, y(value), width - right, y(value), 'grid'), text(left - 8, y(value) + 4, `${value} dB`, 'class="soft" text-anchor="end"'),
    )
  marks.push(text(left, top + height + 38, 'times as fast as the full run (UNet)', 'class="soft"'))
  for (const point of points) {
    const end = x(point.speedUp) > width - 220
    marks.push(
      `<circle cx="${f(x(point.speedUp))}" cy="${f(y(point.psnr))}" r="7" class="dot k0"><title>${escaped(point.title)}</title></circle>`,
      text(x(point.speedUp) + (end ? -12 : 12), y(point.psnr) + 4, point.label, `class="halo" text-anchor="${end ? 'end' : 'start'}"`),
    )
  }
  return svg(width, top + height + 46, title, marks)
}

/** Colours and what they stand for. */
export function legend(items: readonly { className: string, label: string }[]): string {
  return '<div class="legend">'
    + `${items.map(({ className, label }) => `<span><i class="${className}"></i>${escaped(label)}</span>`).join('')}</div>`
}
