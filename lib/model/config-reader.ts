import { AsdmError, shown } from '../base/errors'
import { shownPath } from '../files/files'
import type { JsonObject } from '../files/json'

export interface Range {
  min: number
  max: number
}

/**
 * Checks numbers that may come from a file's shapes rather than from a config.
 * @throws AsdmError `BAD_CONFIG`
 */
export function checkRange(option: string, values: number | readonly number[], { min, max }: Range, where: string): void {
  for (const value of [values].flat()) {
    if (!Number.isInteger(value) || value < min || value > max)
      throw new AsdmError('BAD_CONFIG',
        `Expected ${option} of ${where} to be a whole number from ${min} to ${max} but received ${shown(value)}`)
  }
}

/**
 * Reads the options of a published config one by one, checks type and range, and remembers which were read, so that at the end
 * nothing is left that would be ignored. A default is given where the library that wrote the config has one.
 */
export class ConfigReader {
  private readonly read = new Set<string>()

  /** @param json the parsed file @param file its path, for messages */
  constructor(private readonly json: JsonObject, readonly file: string) {}

  /** The error for a value that no config should hold. */
  bad(option: string, expected: string, value: unknown = this.json[option]): AsdmError {
    return new AsdmError('BAD_CONFIG', `Expected ${option} in ${shownPath(this.file)} to be ${expected} but received ${shown(value)}`)
  }

  /** The error for a value that is legal but asks for something that asdm does not have. */
  unsupported(option: string, supported: string, value: unknown = this.json[option]): AsdmError {
    const received = Array.isArray(value) ? shownArray(value) : shown(value)
    return new AsdmError('UNSUPPORTED_CONFIG',
      `Expected ${option} in ${shownPath(this.file)} to be ${supported} but received ${received}, which is not supported`)
  }

  /** The raw value, marked as read. */
  raw(option: string, absent?: unknown): unknown {
    this.read.add(option)
    return Object.hasOwn(this.json, option) ? this.json[option] : absent
  }

  integer(option: string, absent: number, range: Range): number {
    return this.checkInteger(option, this.raw(option, absent), range)
  }

  /** A finite number. */
  number(option: string, absent: number, range: Range): number {
    const value = this.raw(option, absent)
    if (typeof value !== 'number' || !(value >= range.min && value <= range.max))
      throw this.bad(option, `a number from ${range.min} to ${range.max}`, value)
    return value
  }

  boolean(option: string, absent: boolean): boolean {
    const value = this.raw(option, absent)
    if (typeof value !== 'boolean') throw this.bad(option, 'true or false', value)
    return value
  }

  /** A list of texts; every one must be in `supported`. */
  names(option: string, absent: readonly string[], supported: readonly string[], count: Range): string[] {
    const value = this.raw(option, absent)
    if (!Array.isArray(value) || !value.every(item => typeof item === 'string')) throw this.bad(option, 'a list of texts', value)
    this.checkCount(option, value, count)
    const unknown = value.find(item => !supported.includes(item))
    if (unknown !== undefined) throw this.unsupported(option, `made of ${supported.join(' and ')}`, unknown)
    return value
  }

  integers(option: string, absent: readonly number[], range: Range, count: Range): number[] {
    const value = this.raw(option, absent)
    if (!Array.isArray(value)) throw this.bad(option, 'a list of whole numbers', value)
    this.checkCount(option, value, count)
    return value.map(item => this.checkInteger(option, item, range))
  }

  /** One whole number for all stages, or a list with one for each. */
  perStage(option: string, value: unknown, stages: number, range: Range): number[] {
    if (!Array.isArray(value)) return new Array<number>(stages).fill(this.checkInteger(option, value, range))
    this.checkCount(option, value, { min: stages, max: stages })
    if (value.some(Array.isArray)) throw this.unsupported(option, 'one number for each stage')
    return value.map(item => this.checkInteger(option, item, range))
  }

  /** An option of which only some values are supported. Absence stands for the first of them. */
  only(option: string, ...supported: (string | number | boolean | null)[]): void {
    const value = this.raw(option, supported[0])
    if (!supported.includes(value as string)) throw this.unsupported(option, shownChoice(supported), value)
  }

  /** Options that change nothing here, whatever they hold. */
  without(...options: string[]): void {
    for (const option of options) this.read.add(option)
  }

  /** Refuses what is left: a config option is never ignored, except those that are empty or off, and notes (`_name`). */
  finish(): void {
    for (const [option, value] of Object.entries(this.json)) {
      if (this.read.has(option) || option.startsWith('_') && option !== '__proto__' || value === null || value === false) continue
      throw new AsdmError('UNSUPPORTED_CONFIG',
        `Expected only known options in ${shownPath(this.file)} but received ${shown(option)} with the value ${shown(value)}, which is not `
        + 'supported')
    }
  }

  private checkInteger(option: string, value: unknown, { min, max }: Range): number {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
      throw this.bad(option, `a whole number from ${min} to ${max}`, value)
    return value
  }

  private checkCount(option: string, value: unknown[], { min, max }: Range): void {
    if (value.length >= min && value.length <= max) return
    const expected = min === max ? `a list of ${min}, as long as block_out_channels,` : `a list of ${min} to ${max}`
    throw new AsdmError('BAD_CONFIG', `Expected ${option} in ${shownPath(this.file)} to be ${expected} but received one of ${value.length}`)
  }
}

function shownChoice(supported: readonly (string | number | boolean | null)[]): string {
  return supported.map(value => shown(value)).join(' or ')
}

function shownArray(value: unknown[]): string {
  const text = JSON.stringify(value) ?? ''
  return text.length <= 80 ? text : `an array of ${value.length}`
}
