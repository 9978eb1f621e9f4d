import { editDistance } from './edit-distance'
import { AsdmError, shown } from './errors'
import { guarded, type Listener } from './listener'
import { reading } from './reading'

/** Anything an options object may be before it is checked. */
export type Unchecked = Record<string, unknown>

/**
 * Checks that `value` is a plain options object that holds known keys only, and copies it; `undefined` is read as no options.
 * @param where the call, for messages: `StableDiffusion.load`
 * @throws AsdmError `INVALID_ARGUMENT`; an unknown key is answered with the nearest known one
 */
export function checkOptions(value: unknown, known: readonly string[], where: string): Unchecked {
  if (value === undefined) return {}
  if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value))
    throw new AsdmError('INVALID_ARGUMENT', `Expected the options of ${where} to be an object but received ${shown(value)}`)
  return reading(`the options of ${where}`, () => {
    if (Array.isArray(value))
      throw new AsdmError('INVALID_ARGUMENT', `Expected the options of ${where} to be an object but received ${shown(value)}`)
    for (const key of Object.keys(value))
      if (!known.includes(key))
        throw new AsdmError('INVALID_ARGUMENT',
          `Expected only known options in ${where} but received ${shown(key)}; ${nearestOf(key, known)}`)
    return Object.fromEntries(known.map(key => [key, (value as Unchecked)[key]]))
  })
}

/** `did you mean "steps"?`, or all that are known where nothing is near. */
export function nearestOf(word: string, known: readonly string[]): string {
  const nearest = nearestName(word, known)
  return nearest === undefined ? `known are ${known.join(', ')}` : `did you mean ${JSON.stringify(nearest)}?`
}

/** The known name most like `word`, or `undefined` where none is like it. Letter case and punctuation do not count. */
export function nearestName(word: string, known: readonly string[]): string | undefined {
  const plain = (text: string): string => text.slice(0, 64).toLowerCase().replace(/[^a-z0-9]/g, '')
  const wanted = plain(word)
  let best: string | undefined
  let least = Infinity
  for (const name of known) {
    const away = editDistance(wanted, plain(name))
    if (away < least) [best, least] = [name, away]
  }
  return least <= Math.max(1, Math.floor(wanted.length / 3)) ? best : undefined
}

/** A whole number in [min, max]. */
export function integer(value: unknown, name: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be a whole number from ${min} to ${max} but received ${shown(value)}`)
  return value
}

/** A finite number in [min, max]. */
export function number(value: unknown, name: string, min: number, max: number): number {
  if (typeof value !== 'number' || !(value >= min && value <= max) || !Number.isFinite(value))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be a number from ${min} to ${max} but received ${shown(value)}`)
  return value
}

export function boolean(value: unknown, name: string): boolean {
  if (typeof value !== 'boolean')
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be true or false but received ${shown(value)}`)
  return value
}

/** A non-empty string without NUL, which no path may hold. */
export function path(value: unknown, name: string): string {
  if (typeof value !== 'string' || value === '' || value.includes('\0'))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be a path but received ${shown(value)}`)
  return value
}

export function oneOf<T extends string>(value: unknown, name: string, allowed: readonly T[]): T {
  if (typeof value !== 'string' || !(allowed as readonly string[]).includes(value))
    throw new AsdmError('INVALID_ARGUMENT',
      `Expected ${name} to be ${allowed.map(item => JSON.stringify(item)).join(' or ')} but received ${shown(value)}`)
  return value as T
}

/** A listener. One that is async and rejects hands the reason to `failed`; see {@link guarded}. */
// eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- what it is called with cannot be checked, only told
export function callback<F extends Listener>(value: unknown, name: string, failed?: (reason: unknown) => void): F {
  if (typeof value !== 'function') throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be a function but received ${shown(value)}`)
  return guarded(value as F, failed)
}

/** An `AbortSignal`, also one of another realm or a library's own: whatever has its three members. */
export function abortSignal(value: unknown, name: string): AbortSignal {
  const signal = value as AbortSignal | null
  const isSignal = reading(name, () => signal !== null && typeof signal === 'object' && typeof signal.aborted === 'boolean'
    && typeof signal.addEventListener === 'function' && typeof signal.removeEventListener === 'function')
  if (!isSignal)
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be an AbortSignal but received ${shown(value)}`)
  return signal!
}

/** How a caller calls what is parsed, for messages. */
export function checkWhere(value: unknown): string {
  if (typeof value !== 'string' || value.length > 10_000)
    throw new AsdmError('INVALID_ARGUMENT', `Expected the name for messages to be a short text but received ${shown(value)}`)
  return value
}

/**
 * Refuses a constructor's call by anyone but asdm itself, for classes that are loaded from files.
 * @param looks whether the first arguments are what asdm hands over
 */
export function checkLoaded(looks: () => boolean, name: string, load: string): void {
  if (!reading(`the arguments of ${name}`, looks))
    throw new AsdmError('INVALID_ARGUMENT', `Expected ${name} to be made by ${load} but its constructor was called`)
}

/** Applies a check to an option that may be left out. */
export function optional<T>(value: unknown, check: (value: unknown) => T): T | undefined {
  return value === undefined ? undefined : check(value)
}
