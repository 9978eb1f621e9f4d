import { mkdir, rename, unlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { path as checkPath } from '../base/options'
import { fileError, shownPath } from '../files/files'
import { readJsonObject } from '../files/json'
import { parsePlan } from './parse'
import type { Plan } from './plan'

/** Longest plan file that is read. */
const maxPlanBytes = 8 * 1024 * 1024

/**
 * Reads a plan from a JSON file.
 * @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `BAD_JSON`; `INVALID_ARGUMENT` with the place in the file
 */
export async function loadPlan(file: string): Promise<Plan> {
  return parsePlan(await readJsonObject(checkPath(file, 'file'), maxPlanBytes), `plan in ${shownPath(file)}: plan`)
}

/** Writes a plan as JSON, whole or not at all. @throws AsdmError as {@link loadPlan} */
export async function savePlan(plan: Plan, file: string): Promise<void> {
  const target = path.resolve(checkPath(file, 'file'))
  const text = formatPlan(plan)
  const aside = `${target}.${process.pid}.tmp`
  try {
    await mkdir(path.dirname(target), { recursive: true })
    await writeFile(aside, text)
    await rename(aside, target)
  } catch (error) {
    await unlink(aside).catch(() => {})
    throw fileError(error, target)
  }
}

/** A plan as JSON text that people can read: one rule or step a line. @throws AsdmError `INVALID_ARGUMENT` for what is no plan */
export function formatPlan(plan: Plan): string {
  const checked = parsePlan(plan)
  const lines = Object.entries(checked).map(([key, value]) => {
    const items = Array.isArray(value) && value.length > 0
      ? `[\n${value.map(item => `    ${JSON.stringify(item)}`).join(',\n')}\n  ]`
      : JSON.stringify(value)
    return `  ${JSON.stringify(key)}: ${items}`
  })
  return `{\n${lines.join(',\n')}\n}\n`
}
