/**
 * How anything of a caller's is read: its getters and proxies may throw, give something else each time, or never end. So it is read once,
 * here, into values of our own, which everything behind works with.
 */
import { AsdmError, shown } from './errors'

/**
 * What `read` gives, which may run code of the caller's.
 * @param name how what it reads is called, for the message
 * @throws AsdmError `INVALID_ARGUMENT`, with what was thrown as its cause
 */
export function reading<T>(name: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof AsdmError) throw error
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be readable but reading it throws ${reasonOf(error)}`, { cause: error })
  }
}

function reasonOf(error: unknown): string {
  try {
    return error instanceof Error ? shown(error.message) : shown(error)
  } catch {
    return shown(undefined)
  }
}

/** An object's values under these names, each read once. Of an object without them, or of none, they are `undefined`. */
export function fieldsOf<Name extends string>(value: unknown, name: string, fields: readonly Name[]): Record<Name, unknown> {
  return reading(name, () => {
    const from = (value ?? {}) as Record<string, unknown>
    return Object.fromEntries(fields.map(field => [field, from[field]])) as Record<Name, unknown>
  })
}

/** Is this an object of a class? `instanceof` asks the object, which may throw. */
export function isInstance<T>(value: unknown, Class: { prototype: T }): value is T {
  try {
    return value instanceof (Class as abstract new () => T)
  } catch {
    return false
  }
}

/**
 * A copy of a list, its holes filled with `undefined`.
 * @param most items
 * @throws AsdmError `INVALID_ARGUMENT` when it is none, longer, or not readable
 */
export function listOf(value: unknown, name: string, most: number): unknown[] {
  return reading(name, () => {
    if (!Array.isArray(value) || value.length > most)
      throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be an array of at most ${most} but received ${shown(value)}`)
    return Array.from(value as unknown[])
  })
}

/**
 * Sizes under these names, as `describe` takes them; the addon says which ones a model can have.
 * @throws AsdmError `INVALID_ARGUMENT` when one is no number
 */
export function sizesOf<Name extends string>(value: unknown, fields: readonly Name[]): Record<Name, number> {
  const sizes = fieldsOf(value, 'a shape', fields)
  for (const field of fields)
    if (typeof sizes[field] !== 'number')
      throw new AsdmError('INVALID_ARGUMENT',
        `Expected a shape with the numbers ${fields.join(', ')} but received ${shown(sizes[field])} for ${field}`)
  return sizes as Record<Name, number>
}

/** Deepest and largest that {@link plain} takes. */
const maxDepth = 64
const maxValues = 2_000_000

/**
 * A copy of plain data, as JSON has it: objects and lists anew, what is in them as it is. Holes become `undefined`.
 * @throws AsdmError `INVALID_ARGUMENT` for data that contains itself or a function, is too deep or too much, or is not readable
 */
export function plain(value: unknown, name: string): unknown {
  let count = 0
  const copy = (from: unknown, depth: number, at: string): unknown => {
    if (typeof from === 'function' && depth > 0) throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${at} to be plain data but received a function`)
    if (from === null || typeof from !== 'object' || ArrayBuffer.isView(from)) return from
    if (depth > maxDepth) throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${name} to be at most ${maxDepth} levels deep but it is deeper; does it contain itself?`)
    const keys = Array.isArray(from) ? undefined : Object.keys(from)
    count += keys === undefined ? (from as unknown[]).length : keys.length
    if (count > maxValues) throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${name} to hold at most ${maxValues} values but with ${at} it holds more`)
    if (keys === undefined) return Array.from(from as unknown[], (item, i) => copy(item, depth + 1, `${at}[${i}]`))
    const item = (key: string): unknown => copy((from as Record<string, unknown>)[key], depth + 1, `${at}.${key.slice(0, 60)}`)
    return Object.fromEntries(keys.map(key => [key, item(key)]))
  }
  return reading(name, () => copy(value, 0, name))
}
