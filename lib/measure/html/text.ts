/** Text as it may stand in HTML, in attributes too. */
export function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;').replaceAll('\'', '&#39;')
}

/** 9.8 ms, 1.24 s. */
export function time(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(ms >= 10_000 ? 1 : 2)} s`
  return `${ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : 2)} ms`
}

/** 12 %, 3.4 %. */
export const percent = (share: number): string => `${(100 * share).toFixed(Math.abs(share) < 0.0995 ? 1 : 0)} %`

/** 1234567 as 1.23 M. */
export function count(value: number): string {
  const units = ['', ' k', ' M', ' G', ' T']
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1]
  return `${unit === 0 ? value.toFixed(0) : value.toPrecision(3)}${units[unit]}`
}

/** 2.6 GB, decimal as memory goals are given. */
export const gigabytes = (bytes: number): string => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(0)} MB`)

/** What goes into a page as it is, made by who escaped its text; anything else is escaped. */
export interface Markup { html: string }

/** A table of texts and markup. */
export function table(header: readonly string[], rows: readonly (readonly (string | Markup)[])[]): string {
  const content = (cell: string | Markup): string => (typeof cell === 'string' ? escaped(cell) : cell.html)
  return `<table><thead><tr>${header.map(text => `<th>${escaped(text)}</th>`).join('')}</tr></thead><tbody>`
    + `${rows.map(row => `<tr>${row.map(cell => `<td>${content(cell)}</td>`).join('')}</tr>`).join('')}</tbody></table>`
}

/** A bar of a share of its cell's width. */
export const barCell = (share: number, className: string): Markup =>
  ({ html: `<span class="bar ${className}" style="width:${Math.max(1, 110 * Math.max(0, Math.min(1, share))).toFixed(1)}px"></span>` })
