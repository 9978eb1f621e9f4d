/** Numbers for people. */
const units = ['', 'K', 'M', 'G', 'T', 'P']

/** `1.23 G` for 1.23e9. */
export function count(value: number): string {
  let power = 0
  let rest = value
  while (rest >= 999.5 && power < units.length - 1) {
    rest /= 1000
    power++
  }
  return `${rest >= 100 || power === 0 ? Math.round(rest) : rest.toPrecision(3)}${power === 0 ? '' : ` ${units[power]}`}`
}

export function bytes(value: number): string {
  if (value < 1024) return `${value} B`
  const names = ['KiB', 'MiB', 'GiB', 'TiB']
  let rest = value / 1024
  let power = 0
  while (rest >= 1023.5 && power < names.length - 1) {
    rest /= 1024
    power++
  }
  return `${rest >= 100 ? Math.round(rest) : rest.toPrecision(3)} ${names[power]}`
}

export function duration(ms: number): string {
  if (ms < 1000) return `${ms < 1 ? ms.toFixed(2) : ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms`
  const seconds = ms / 1000
  if (seconds < 100) return `${seconds.toFixed(1)} s`
  const minutes = Math.floor(seconds / 60)
  return minutes < 100 ? `${minutes} min ${Math.round(seconds % 60)} s` : `${(minutes / 60).toFixed(1)} h`
}

export const percent = (share: number): string => `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`
