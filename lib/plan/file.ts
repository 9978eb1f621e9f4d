import { path as checkPath } from '../base/options'
import { shownPath } from '../files/files'
import { readJsonObject } from '../files/json'
import { writeWhole } from '../files/write'
import { parsePlan } from './parse'
import type { Plan } from './plan'

/**
 * Reads a plan from a JSON file.
 * @throws AsdmError `FILE_NOT_FOUND`, `FILE_READ`, `BAD_JSON`; `INVALID_ARGUMENT` with the place in the file
 */
export async function loadPlan(file: string): Promise<Plan> {
  return parsePlan(await readJsonObject(checkPath(file, 'file')), `plan in ${shownPath(file)}: plan`)
}

/** Writes a plan as JSON, whole or not at all. @throws AsdmError `INVALID_ARGUMENT` for what is no plan, `FILE_NOT_FOUND`, `FILE_WRITE` */
export async function savePlan(plan: Plan, file: string): Promise<void> {
  const target = checkPath(file, 'file')
  await writeWhole(target, Buffer.from(formatPlan(plan)), { folders: true })
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
