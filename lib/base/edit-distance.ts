/**
 * How many typing errors lie between two words: letters left out, added or wrong, or two neighbours swapped. Each place counts once
 * (optimal string alignment; Damerau 1964).
 */
export function editDistance(a: string, b: string): number {
  let before = new Uint16Array(b.length + 1)
  let above = Uint16Array.from({ length: b.length + 1 }, (_, j) => j)
  let row = new Uint16Array(b.length + 1)
  for (let i = 1; i <= a.length; i++) {
    row[0] = i
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      row[j] = Math.min(above[j]! + 1, row[j - 1]! + 1, above[j - 1]! + (same ? 0 : 1))
      if (i > 1 && j > 1 && !same && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) row[j] = Math.min(row[j]!, before[j - 2]! + 1)
    }
    [before, above, row] = [above, row, before]
  }
  return above[b.length]!
}
