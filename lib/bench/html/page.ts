import type { BenchReport } from '../report'

export function reportPage(report: BenchReport): string {
  return JSON.stringify(report)
}
