import test from 'ava'
import fc from 'fast-check'
import { loadExpected, maxAbsDiff } from '../support/fixtures'
import { activations } from '../support/references'
import { BF16_EPS, EPS, inFormat, randomFloats, runEverywhere, runner } from '../support/op-runner'

// Counts around every vector width, and one longer than a task.
const counts = [1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 127, 65536 + 13]

// A result may be off by what the float computation is, and in bfloat16 by one rounding to it and a sixteenth besides.
const formats = [{ format: 'fp32', eps: 0 }, { format: 'bf16', eps: (1 + 1 / 16) * BF16_EPS }] as const

for (const [name, reference] of Object.entries(activations)) {
  test(`${name} is within 6 roundings of max(1, |x|) on every set`, t => {
    for (const count of counts) {
      for (const { format, eps } of formats) {
        const x = inFormat(format, randomFloats(count, count, 4))
        for (const { set, y } of runEverywhere('activation', { x, activation: name }, format)) {
          for (let i = 0; i < count; i++)
            if (!(Math.abs(y[i] - reference(x[i])) <= 6 * EPS * Math.max(1, Math.abs(x[i])) + eps * Math.abs(reference(x[i]))))
              t.fail(`${set} ${format} ${count}: ${name}(${x[i]}) = ${y[i]}`)
        }
      }
    }
    t.pass()
  })

  test(`${name} of extremes, and of NaN`, t => {
    const extremes = Float32Array.of(0, -0, 1e-30, -1e-30, 20, -20, 88, -88, 100, -100, 3e38, -3e38, NaN, 1, -1, 2, -2)
    for (const { format, eps } of formats) {
      const x = inFormat(format, extremes)
      for (const { set, y } of runEverywhere('activation', { x, activation: name }, format)) {
        for (let i = 0; i < x.length; i++) {
          const expected = Number.isNaN(x[i]) ? NaN : reference(x[i])
          if (Number.isNaN(expected)) t.true(Number.isNaN(y[i]), `${set} ${format} ${x[i]}`)
          else t.true(
            y[i] === Math.fround(expected) || Math.abs(y[i] - expected) <= 6 * EPS * Math.max(1, Math.abs(x[i])) + eps * Math.abs(expected),
            `${set} ${format}: ${name}(${x[i]}) = ${y[i]}`,
          )
        }
      }
    }
  })

  const expected = loadExpected('ops')
  if (expected.has(`${name}/x`)) test(`${name} equals PyTorch's`, t => {
    const x = expected.tensor(`${name}/x`).data, want = expected.tensor(`${name}/y`).data
    for (const { set, y } of runEverywhere('activation', { x, activation: name }))
      t.true(maxAbsDiff(y, want) <= 1e-5 * Math.max(1, ...want.map(Math.abs)), set)
  })
}

test('geglu gates the first half with gelu of the second', t => {
  for (const [rows, inner] of [[1, 1], [3, 5], [2, 16], [7, 17], [5, 33], [130, 1280]]) {
    for (const { format, eps } of formats) {
      const x = inFormat(format, randomFloats(rows * 2 * inner, rows + inner, 2))
      for (const { set, y } of runEverywhere('geglu', { x, rows, inner }, format)) {
        for (let i = 0; i < rows; i++)
          for (let j = 0; j < inner; j++) {
            const value = x[i * 2 * inner + j], gate = x[i * 2 * inner + inner + j], want = value * activations.gelu(gate)
            if (!(Math.abs(y[i * inner + j] - want) <= 8 * EPS * Math.max(1, Math.abs(gate)) * Math.max(1, Math.abs(value))
              + eps * Math.abs(want)))
              t.fail(`${set} ${format} [${rows}, ${inner}] at ${i}, ${j}`)
          }
      }
    }
  }
  t.pass()
})

test('add rounds once', t => {
  for (const count of counts) {
    for (const { format } of formats) {
      const a = inFormat(format, randomFloats(count, 1)), b = inFormat(format, randomFloats(count, 2))
      const sum = inFormat(format, a.map((value, i) => value + b[i]))
      for (const { set, y } of runEverywhere('add', { a, b }, format)) t.is(maxAbsDiff(y, sum), 0, `${set} ${format} ${count}`)
    }
  }
})

test('bf16 results are rounded to nearest even, to infinity beyond the largest, and NaN stays NaN', t => {
  const ulp = 2 ** -7, most = 2 ** 127 * (2 - ulp)
  const a = Float32Array.of(1, 1 + ulp, 1 + 2 * ulp, 1, 1, -1 - ulp, most, most, -most, Infinity, Infinity, NaN, 1, -0, 0, 3, 2 ** -126)
  const b = Float32Array.of(
    ulp / 2, ulp / 2, ulp / 2, ulp / 2 + ulp / 256, ulp / 2 - ulp / 256, -ulp / 2, 2 ** 118, 2 ** 119, -(2 ** 119), 1, -Infinity, 1, NaN,
    -0, -0, -3, 2 ** -126,
  )
  const want = inFormat('bf16', a.map((value, i) => value + b[i]))
  t.true(want.includes(Infinity) && want.includes(-Infinity) && want[0] === 1 && want[1] === 1 + 2 * ulp)
  for (const { set, y } of runEverywhere('add', { a, b }, 'bf16')) t.deepEqual([...y], [...want], set)
})

test('concat and layout changes are exact', t => {
  fc.assert(fc.property(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 40 }),
    (rows, ca, cb) => {
      for (const { format } of formats) {
        const a = inFormat(format, randomFloats(rows * ca, 1)), b = inFormat(format, randomFloats(rows * cb, 2))
        const joined = Float32Array.from({ length: rows * (ca + cb) }, (_, i) => {
          const row = Math.floor(i / (ca + cb)), column = i % (ca + cb)
          return column < ca ? a[row * ca + column] : b[row * cb + column - ca]
        })
        for (const { y } of runEverywhere('concat', { a, b, rows, ca, cb }, format)) if (maxAbsDiff(y, joined) !== 0) return false
        const n = 2, x = inFormat(format, randomFloats(n * rows * ca, 3))
        const last = Float32Array.from(
          { length: x.length }, (_, i) => x[Math.floor(i / (rows * ca)) * rows * ca + (i % ca) * rows + (Math.floor(i / ca) % rows)],
        )
        for (const { y } of runEverywhere('toChannelsLast', { x, n, c: ca, pixels: rows }, format))
          if (maxAbsDiff(y, last) !== 0) return false
        for (const { y } of runEverywhere('toChannelsFirst', { x: last, n, c: ca, pixels: rows }, format))
          if (maxAbsDiff(y, x) !== 0) return false
      }
      return true
    }), { seed: 5, numRuns: 60 })
  t.pass()
})

test('layout changes round to the format of activations', t => {
  const x = randomFloats(2 * 5 * 33, 10)
  for (const { set, y } of runEverywhere('toChannelsLast', { x, n: 2, c: 5, pixels: 33 }, 'bf16')) {
    const want = inFormat('bf16', Float32Array.from(x, (_, i) => x[Math.floor(i / 165) * 165 + (i % 5) * 33 + (Math.floor(i / 5) % 33)]))
    t.is(maxAbsDiff(y, want), 0, set)
  }
})

test('layout changes of many pixels', t => {
  const n = 1, c = 3, pixels = 40000, x = randomFloats(n * c * pixels, 9)
  for (const { y } of runEverywhere('toChannelsLast', { x, n, c, pixels })) {
    let wrong = 0
    for (let i = 0; i < pixels; i++) for (let j = 0; j < c; j++) if (y[i * c + j] !== x[j * pixels + i]) wrong++
    t.is(wrong, 0)
    for (const back of runEverywhere('toChannelsFirst', { x: y, n, c, pixels })) t.is(maxAbsDiff(back.y, x), 0)
  }
})

test('embed adds token and position', t => {
  const vocabulary = 11, width = 5, length = 7, batch = 3
  const token = randomFloats(vocabulary * width, 1), position = randomFloats(length * width, 2)
  const ids = Int32Array.from({ length: batch * length }, (_, i) => (i * 7) % vocabulary)
  for (const { format } of formats) {
    const [tokens, positions] = [inFormat(format, token), inFormat(format, position)]
    const want = Float32Array.from({ length: batch * length * width }, (_, i) => {
      const row = Math.floor(i / width)
      return tokens[ids[row] * width + (i % width)] + positions[(row % length) * width + (i % width)]
    })
    for (const { set, y } of runEverywhere('embed', { ids, token, position, batch, length, width }, format))
      t.is(maxAbsDiff(y, inFormat(format, want)), 0, `${set} ${format}`)
  }
})

test('timestep features equal PyTorch\'s and the formula', t => {
  const expected = loadExpected('ops')
  const time = expected.tensor('timestep_embedding/timesteps').data
  for (const dim of [16, 32, 320]) {
    const want = expected.tensor(`timestep_embedding/dim${dim}`)
    for (const { format, eps } of formats)
      for (const { set, y } of runEverywhere('timestep', { t: time, dim, flip: true, freqShift: 0 }, format))
        t.true(maxAbsDiff(y, want.data) <= 1e-4 + eps, `${set} ${format} ${maxAbsDiff(y, want.data)}`)
  }
  for (const dim of [2, 7, 32]) {
    const half = Math.floor(dim / 2)
    for (const { y } of runEverywhere('timestep', { t: Float32Array.of(3.5), dim, flip: false, freqShift: 1 })) {
      for (let j = 0; j < half; j++) {
        const frequency = half === 1 ? NaN : Math.fround(Math.exp((-Math.log(10000) * j) / (half - 1)))
        if (half > 1) t.true(Math.abs(y[j] - Math.sin(3.5 * frequency)) <= EPS && Math.abs(y[half + j] - Math.cos(3.5 * frequency)) <= EPS)
      }
      if (dim % 2 === 1) t.is(y[dim - 1], 0)
    }
  }
})

test('a sentinel that is touched is seen', t => {
  // Two values where the op believes there are four: the read stays inside the margin, the write does not.
  t.throws(
    () => runner.run('concat', runner.sets()[0], 1, { a: Float32Array.of(1), b: Float32Array.of(2), rows: 1, ca: 1, cb: 1, yCount: 1 }),
    { message: /outside its output/ },
  )
})
