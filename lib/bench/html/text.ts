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

/** A table: the first column is text, a cell that begins with `<` is markup, and so must be escaped by who makes it. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const cell = (tag: string, text: string): string => (text.startsWith('<td') ? text : `<${tag}>${text.startsWith('<') ? text : escaped(text)}</${tag}>`)
  return `<table><thead><tr>${header.map(text => cell('th', text)).join('')}</tr></thead><tbody>${rows.map(row => `<tr>${row.map(text => cell('td', text)).join('')}</tr>`).join('')}</tbody></table>`
}

/** A cell with a bar of a share of its width. */
export const barCell = (share: number, className: string): string => `<td class="bar"><span class="${className}" style="width:${(100 * Math.max(0, Math.min(1, share))).toFixed(1)}%"></span></td>`
