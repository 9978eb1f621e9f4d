/** What a program may hand in by mistake or malice. */

/** Thrown by getters and traps; must never reach a caller as it is. */
export class Trap extends Error {}

const trap = (): never => { throw new Trap('thrown by what was handed in') }

const trapped = (target: object): object => new Proxy(target, {
  get: trap, has: trap, ownKeys: trap, getOwnPropertyDescriptor: trap, getPrototypeOf: trap,
})

function revoked(target: object): object {
  const { proxy, revoke } = Proxy.revocable(target, {})
  revoke()
  return proxy
}

function detached<T extends ArrayBufferView>(view: T): T {
  structuredClone(view.buffer, { transfer: [view.buffer as ArrayBuffer] })
  return view
}

function cyclic(): object {
  const value: Record<string, unknown> = { data: new Float32Array(4), shape: [1, 4], version: 1 }
  value.self = value
  value.rules = [value]
  value.inherit = value
  return value
}

function cyclicArray(): unknown[] {
  const value: unknown[] = [1]
  value.push(value)
  return value
}

/** An object with every name that options and data have here, each a getter that throws. */
function thrower(names: readonly string[]): object {
  return Object.defineProperties({}, Object.fromEntries(names.map(name => [name, { enumerable: true, get: trap }])))
}

/** An object whose properties are something else each time they are read. */
function fickle(names: readonly string[]): object {
  let count = 0
  return Object.defineProperties({}, Object.fromEntries(names.map(name =>
    [name, { enumerable: true, get: () => [1, 'x', [1, 2], undefined, {}, null][count++ % 6] }])))
}

function throwingItem(): unknown[] {
  return Object.defineProperty([1, 4, 8, 8], 1, { enumerable: true, get: trap })
}

function sparse(length: number): unknown[] {
  const holes: unknown[] = []
  holes.length = length
  return holes
}

const holed = (): unknown[] => {
  const list: unknown[] = [1, 4]
  list.length = 4
  return list
}

/** Each made anew for each call, by name. */
export function hostileValues(names: readonly string[]): readonly (readonly [string, () => unknown])[] {
  return [
    ['undefined', () => undefined], ['null', () => null], ['true', () => true], ['0', () => 0], ['-1', () => -1], ['0.5', () => 0.5],
    ['NaN', () => NaN], ['Infinity', () => Infinity], ['-Infinity', () => -Infinity], ['1e308', () => 1e308], ['2^53', () => 2 ** 53],
    ['a bigint', () => -(2n ** 70n)], ['a symbol', () => Symbol('x')], ['the empty text', () => ''], ['a text', () => 'x'],
    ['a text with NUL', () => 'a\0b'], ['a lone surrogate', () => '\ud800'], ['megabytes of text', () => 'x'.repeat(3_000_000)],
    ['__proto__', () => '__proto__'], ['a function', () => () => 7], ['a revoked function', () => revoked(() => 7)],
    ['a class', () => class {}], ['{}', () => ({})], ['frozen', () => Object.freeze({ prompt: 'x' })],
    ['no prototype', () => Object.create(null) as object], ['a Date', () => new Date(NaN)], ['a Map', () => new Map([[1, 2]])],
    ['a throwing proxy', () => trapped({})], ['a throwing array', () => trapped([])], ['a revoked proxy', () => revoked({})],
    ['a revoked array', () => revoked([])], ['throwing getters', () => thrower(names)], ['changing getters', () => fickle(names)],
    ['a cyclic object', cyclic], ['a cyclic array', cyclicArray], ['[]', () => []], ['a hole', () => sparse(1)], ['holes', holed],
    ['a huge sparse array', () => sparse(2 ** 32 - 1)], ['an array that throws', throwingItem], ['[null]', () => [null]],
    ['an array of revoked proxies', () => [revoked({})]], ['an array of symbols', () => [Symbol('x')]],
    ['an unprintable object', () => ({ toString: trap, valueOf: trap, [Symbol.toPrimitive]: trap, toJSON: trap })],
    ['a thenable', () => ({ then: trap })], ['a detached array', () => detached(new Float32Array(8))],
    ['a detached buffer', () => detached(new Uint8Array(8)).buffer], ['a shared array', () => new Float32Array(new SharedArrayBuffer(32))],
    ['shared bytes', () => new Uint8Array(new SharedArrayBuffer(32))], ['a DataView', () => new DataView(new ArrayBuffer(8))],
    ['a tensor of a detached array', () => ({ data: detached(new Float32Array(256)), shape: [1, 4, 8, 8] })],
    ['a tensor of a revoked shape', () => ({ data: new Float32Array(256), shape: revoked([1, 4, 8, 8]) })],
    ['a tensor with holes', () => ({ data: new Float32Array(4), shape: holed() })],
  ]
}
