import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import type { NativeModel } from '../../lib/native/binding'
import { loadAddon } from '../../lib/native/load'
import { rounds, seeded, seedOf } from '../support/random'
import { inputsOf, loaded, options, specs, writeWeights } from './support'

const addon = loadAddon()

/** Changes one place of a structure, at any depth, into something else. */
function mutated(value: unknown, random: ReturnType<typeof seeded>): unknown {
  try {
    return changed(value, random)
  } catch {
    return value // it ran into a throwing proxy of an earlier change
  }
}

function changed(value: unknown, random: ReturnType<typeof seeded>): unknown {
  const atoms: (() => unknown)[] = [
    () => undefined, () => null, () => NaN, () => -1, () => 0, () => 0.5, () => 2 ** 31, () => 2 ** 53, () => -0, () => Infinity, () => 1e308, () => '', () => 'unet', () => '\ud800', () => 'x'.repeat(5000),
    () => true, () => Symbol('s'), () => 1n, () => () => {}, () => [], () => ({}), () => new Float32Array(3), () => new Int32Array(3), () => new Array(2 ** 32 - 1), () => random.below(100), () => random.below(2 ** 31),
    () => new Proxy({}, { get: () => { throw new Error('no') } }), () => Object.create(null),
  ]
  if (value !== null && typeof value === 'object' && !ArrayBuffer.isView(value) && !(Array.isArray(value) && value.length > 1e5)
    && random.next() < 0.85) {
    const keys = Object.keys(value)
    const key = keys.length === 0 || random.next() < 0.02 ? '__proto__' : random.pick(keys)
    const copy: Record<string, unknown> = Array.isArray(value) ? ([...(value as unknown[])] as never) : { ...value }
    if (random.next() < 0.1) delete copy[key]
    else copy[key] = changed((value as Record<string, unknown>)[key], random)
    return copy
  }
  if (ArrayBuffer.isView(value) && random.next() < 0.5) return (value as Float32Array).subarray(random.below(4))
  if (typeof value === 'number' && random.next() < 0.5)
    return random.pick([value + 1, value - 1, value * 2, -value, value / 2, value + 0.25])
  return random.pick(atoms)()
}

/** Fails unless the call succeeds or gives an error of ours that is no bug. */
async function check(call: () => unknown, what: unknown): Promise<void> {
  try {
    const result = call() as { promise?: Promise<unknown> } | undefined
    await result?.promise
  } catch (error) {
    if (error instanceof AsdmError && error.code !== 'INTERNAL' && error.message.length < 2000) return
    throw new Error(`${String(error)} for ${described(what)}`)
  }
}

/** The case, for repeating it by hand; never fails. */
function described(what: unknown): string {
  try {
    return JSON.stringify(what, (_key, value: unknown) => {
      if (Array.isArray(value) && value.length > 1e5) return `array of ${value.length}`
      return ['bigint', 'symbol', 'function'].includes(typeof value)
        ? String(value)
        : ArrayBuffer.isView(value)
          ? `view of ${value.byteLength}`
          : value
    }).slice(0, 2000)
  } catch {
    return 'a case that cannot be shown'
  }
}

for (const kind of Object.keys(specs)) {
  test(`createModel takes any ${kind} config or says what is wrong`, async t => {
    const random = seeded(seedOf(11))
    for (let i = 0; i < rounds(400); i++) {
      let spec: unknown = specs[kind]
      for (let changes = 1 + random.below(3); changes > 0; changes--) spec = mutated(spec, random)
      await check(() => {
        const model = addon.createModel(spec as never, random.next() < 0.1 ? (mutated(options, random) as never) : options)
        model.weights()
        model.tapNames()
        model.dispose()
      }, spec)
    }
    t.pass()
  })

  test(`${kind}: describe, load and forward take anything or say what is wrong`, async t => {
    const random = seeded(seedOf(13))
    const model: NativeModel = await loaded(kind)
    const sources = writeWeights(model)
    const expected = (await model.forward(inputsOf[kind]()).promise).sample
    const shape = { batch: 1, height: 16, width: 16, length: 5 }
    for (let i = 0; i < rounds(120); i++) {
      const [inputs, list, size] = [mutated(inputsOf[kind](), random), mutated(sources, random), mutated(shape, random)]
      await check(() => model.describe(size as never), size)
      await check(() => model.forward(inputs as never), inputs)
      if (i % 4 === 0) await check(() => addon.createModel(specs[kind], options).load(list as never), 'sources')
    }
    t.deepEqual((await model.forward(inputsOf[kind]()).promise).sample, expected)
    model.dispose()
  })
}
