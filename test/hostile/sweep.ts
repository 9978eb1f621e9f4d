/**
 * Calls what `subjects.ts` lists with hostile values, as a program of its own: `node sweep.js functions|classes`. Prints what was wrong
 * as JSON: names that are not listed, and calls that did not end as they should.
 */
import fs from 'node:fs'
import * as asdm from '../../lib/index'
import { repoPath } from '../support/fixtures'
import { classes, functions, surroundings, type Call, type Subject } from './subjects'
import { hostileValues, Trap } from './values'

/** Documented in lib/base/errors.ts, where the type's comment lists them. */
const codes = new Set([...fs.readFileSync(repoPath('lib/base/errors.ts'), 'utf8').matchAll(/`([A-Z][A-Z_]+)`/g)].map(([, code]) => code))
codes.delete('INTERNAL') // a bug in asdm

/** Names that options and data have, for objects whose every property is hostile. */
const names = [
  'prompt', 'steps', 'seed', 'data', 'shape', 'rgba', 'width', 'height', 'settings', 'version', 'rules', 'inherit', 'every', 'signal',
  'onProgress', 'sample', 'timestep', 'encoderHiddenStates', 'batch', 'length', 'config', 'download', 'checkpoints', 'target', 'rest',
  'units', 'report', 'images', 'full', 'early', 'late', 'threshold', 'prefix', 'folder', '_class_name', 'num_train_timesteps', 'noise',
  'eta', 'strength', 'padToken', 'specialTokens', 'part', 'unets', 'stochastic', 'mutual', 'from', 'to', 'quality', 'format',
]

const patience = 30_000

/** What is wrong with how a call ended; undefined where all is well. */
async function verdict(run: () => unknown): Promise<string | undefined> {
  const wrong = (error: unknown): string | undefined => {
    if (error instanceof asdm.AsdmError) return codes.has(error.code) ? undefined : `code ${error.code}: ${error.message}`
    if ((error as Error | null)?.name === 'AbortError') return undefined
    if (error instanceof Trap) return 'what a getter threw'
    const text = error instanceof Error ? error.stack ?? error.message : 'something that is no error'
    return text.split('\n').slice(0, 3).map(line => line.trim().slice(0, 150)).join(' ')
  }
  let timer: NodeJS.Timeout | undefined
  try {
    const result = run()
    const ended = (async () => {
      const given: any = await result
      if (given !== null && typeof given === 'object' && Symbol.asyncIterator in given) for await (const _ of given) { /* to its end */ }
      if (typeof given?.dispose === 'function') await given.dispose()
    })()
    return await Promise.race([
      ended.then(() => undefined, wrong),
      new Promise<string>(resolve => { timer = setTimeout(() => resolve('nothing, for half a minute'), patience) }),
    ])
  } catch (error) {
    return wrong(error)
  } finally {
    clearTimeout(timer)
  }
}

const isPlain = (value: unknown): value is Record<string, unknown> =>
  value !== null && typeof value === 'object' && Object.getPrototypeOf(value) === Object.prototype

/** Paths into arguments: of each argument, and of each property of plain objects and lists in it. */
function places(value: unknown, depth: number, at: readonly (string | number)[] = []): (string | number)[][] {
  const keys = depth > 0 && (Array.isArray(value) || isPlain(value)) ? Object.keys(value) : []
  return [...(at.length > 0 ? [[...at]] : []), ...keys.flatMap(key =>
    places((value as any)[key], depth - 1, [...at, Array.isArray(value) ? Number(key) : key]))]
}

/** The same arguments with another value at a place. */
function replaced(value: any, [key, ...rest]: readonly (string | number)[], by: unknown): any {
  const copy = Array.isArray(value) ? [...value] : { ...value }
  copy[key!] = rest.length === 0 ? by : replaced(value[key!], rest, by)
  return copy
}

const values = hostileValues(names)

/** Runs a subject with every hostile value at every place, and with too few arguments; gives what was wrong. */
async function sweep(name: string, { call, args, construct = false }: Subject): Promise<string[]> {
  const found: string[] = []
  const invoke = async (what: string, list: unknown[]): Promise<void> => {
    const wrong = await verdict(() => (construct ? Reflect.construct(call, list) : call(...list)))
    if (wrong !== undefined) found.push(`${name}, ${what}: ${wrong}`)
  }
  const usual = args()
  for (let count = 0; count < Math.max(1, usual.length); count++) await invoke(`${count} arguments`, args().slice(0, count))
  for (const place of places(usual, 3))
    for (const [label, make] of values) await invoke(`${place.join('.')} is ${label}`, replaced(args(), place, make()))
  return found
}

/** Sweeps only what has this in its name, to look into one. */
const wanted = (name: string): boolean => name.includes(process.argv[3] ?? '')

const isClass = (value: unknown): boolean => typeof value === 'function' && /^class/.test(Function.prototype.toString.call(value))

async function sweepFunctions(): Promise<{ unknown: string[], found: string[] }> {
  const subjects = functions(await surroundings(process.cwd()))
  const exported = Object.entries(asdm).filter(([, value]) => typeof value === 'function' && !isClass(value))
  const found: string[] = []
  for (const [name, subject] of Object.entries(subjects)) if (wanted(name)) found.push(...await sweep(name, subject))
  return { unknown: exported.map(([name]) => name).filter(name => !Object.hasOwn(subjects, name)), found }
}

async function sweepClasses(): Promise<{ unknown: string[], found: string[] }> {
  const subjects = classes(await surroundings(process.cwd()))
  const found: string[] = [], unknown = new Set<string>()
  for (const [name, Class] of Object.entries(asdm).filter(([, value]) => isClass(value)) as [string, any][]) {
    if (!wanted(name)) continue
    const { make, members } = subjects[name] ?? { members: {} }
    // What a sampler has of its own beyond what is listed is protected, or the base's.
    const isSampler = Class.prototype instanceof asdm.Sampler
    const member = (key: string): (() => unknown[]) | undefined => {
      if (!Object.hasOwn(members, key) && !isSampler) unknown.add(`${name}.${key}`)
      return members[key]
    }
    const constructor = member('new')
    if (constructor !== undefined) found.push(...await sweep(`new ${name}`, { call: Class, args: constructor, construct: true }))
    for (const key of Object.getOwnPropertyNames(Class).filter(key => typeof Class[key] === 'function' && key !== 'prototype')) {
      const args = member(key)
      if (args !== undefined) found.push(...await sweep(`${name}.${key}`, { call: (...list) => Class[key](...list), args }))
    }
    for (let at = Class.prototype; at !== Object.prototype && at !== Error.prototype && !Object.hasOwn(at, 'addListener'); at = Object.getPrototypeOf(at)) {
      for (const [key, { get, value }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
        if (key === 'constructor' || (get === undefined && typeof value !== 'function')) continue
        const args = member(key)
        if (args === undefined || make === undefined) continue
        const call: Call = get !== undefined ? () => (make() as any)[key] : (...list) => (make() as any)[key](...list)
        found.push(...await sweep(`${name}#${key}`, { call, args }))
      }
    }
  }
  return { unknown: [...unknown], found }
}

void (async () => {
  process.env.HF_HUB_OFFLINE = '1'
  const result = await (process.argv[2] === 'functions' ? sweepFunctions() : sweepClasses())
  console.log(JSON.stringify(result))
  process.exit()
})()
