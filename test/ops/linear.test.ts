import test from 'ava'
import { loadExpected, maxAbsDiff } from '../support/fixtures'
import { EPS, everySet, formatNames, formats, randomFloats, runEverywhere, runner } from '../support/op-runner'
import { activations } from '../support/references'

interface Options { ldx?: number, ldy?: number, ldr?: number, bias?: boolean, residual?: boolean, inPlace?: boolean, activation?: string }

/**
 * Runs one shape on every set in both formats and compares with float64, of the inputs as they are read: each element within
 * c k eps (|A||B|) with c = 1, which the worst accumulation order could reach, and one rounding to bfloat16; on average within
 * 2 sqrt(k) eps of it, which no wrong lane survives. Returns the first complaint.
 */
function check(m: number, n: number, k: number, options: Options = {}): string | undefined {
  return formatNames.map(dtype => checkIn(dtype, m, n, k, options)).find(complaint => complaint !== undefined)
}

function checkIn(dtype: keyof typeof formats, m: number, n: number, k: number, options: Options): string | undefined {
  const { read, store } = formats[dtype]
  const { ldx = k, ldy = n, ldr = n, activation } = options
  const x = read(randomFloats((m - 1) * ldx + k, m * 7 + k)), weight = read(randomFloats(n * k, n * 3 + k))
  const bias = options.bias ? randomFloats(n, 5) : undefined
  const residual = options.residual ? read(randomFloats((m - 1) * ldr + n, 6)) : undefined
  for (const { set, y } of runEverywhere(
    'linear', { m, n, k, x, weight, bias, residual, ldx, ldy, ldr, inPlace: options.inPlace, ...(activation && { activation }) }, dtype,
  )) {
    const where = `${dtype} ${set} m ${m} n ${n} k ${k} ${JSON.stringify(options)}`
    let total = 0
    for (let i = 0; i < m; i++) {
      for (let j = 0; j < n; j++) {
        let sum = 0, size = 0
        for (let p = 0; p < k; p++) {
          const product = x[i * ldx + p] * weight[j * k + p]
          sum += product
          size += Math.abs(product)
        }
        if (bias) {
          sum += bias[j]
          size += Math.abs(bias[j])
        }
        let want = activation ? activations[activation](sum) : sum
        let bound = (k + 2) * EPS * size
        // The activations' slopes are at most 1.13; they may be off by 6 roundings themselves.
        if (activation) bound = 1.2 * bound + 6 * EPS * Math.max(1, Math.abs(sum))
        if (residual) {
          want += residual[i * ldr + j]
          bound += EPS * Math.abs(want)
        }
        bound += store * (Math.abs(want) + bound)
        const error = Math.abs(y[i * ldy + j] - want)
        if (!(error <= bound)) return `${where}: [${i}, ${j}] is ${y[i * ldy + j]}, not ${want}`
        total += error / (size + 1)
      }
      for (let j = n; j < ldy && i * ldy + j < y.length; j++)
        if (!Number.isNaN(y[i * ldy + j])) return `${where}: wrote between rows ${i} and ${i + 1}`
    }
    const mean = total / (m * n)
    if (!(mean <= (activation ? 8 : 2) * Math.sqrt(k) * EPS + 0.4 * store)) return `${where}: mean error ${mean}`
  }
  return undefined
}

test('every small m, n, k', t => {
  for (const m of [1, 2, 3, 7, 13]) for (const n of [1, 3, 4, 5, 8, 9]) for (const k of [1, 2, 5, 17]) t.is(check(m, n, k), undefined)
})

test('shapes around tile heights, panel widths and k blocks', t => {
  for (const m of [1, 5, 6, 7, 14, 15, 17, 29])
    for (const n of [15, 16, 17, 31, 32, 33, 65]) t.is(check(m, n, 37, { bias: true }), undefined)
  for (const k of [255, 256, 257, 511, 512, 513, 1031]) t.is(check(5, 35, k, { bias: true, residual: true }), undefined)
})

test('several tasks in both directions', t => {
  t.is(check(331, 67, 23, { bias: true }), undefined)
  t.is(check(4, 1327, 29, { bias: true }), undefined)
  t.is(check(131, 389, 67), undefined)
  t.is(check(257, 37, 521, { residual: true, inPlace: true }), undefined)
})

test('distances between rows larger than the rows; gaps stay untouched', t => {
  t.is(check(19, 21, 33, { ldx: 40, ldy: 29, ldr: 23, bias: true, residual: true }), undefined)
  t.is(check(31, 64, 600, { ldx: 1024, ldy: 67, ldr: 70, residual: true }), undefined)
  t.is(check(3, 100, 300, { ldx: 301, ldy: 128, bias: true, activation: 'silu' }), undefined)
})

for (const activation of Object.keys(activations)) {
  test(`bias, then ${activation}, then residual`, t => {
    t.is(check(17, 37, 40, { bias: true, residual: true, activation }), undefined)
    t.is(check(2, 64, 700, { bias: true, activation }), undefined)
    t.is(check(9, 33, 513, { residual: true, inPlace: true, activation }), undefined)
  })
}

test('a fused residual, bias or activation equals the separate operation bit for bit', t => {
  for (const k of [40, 700, 1500]) {
    const m = 15, n = 70, x = randomFloats(m * k, 1), weight = randomFloats(n * k, 2), bias = randomFloats(n, 3),
      residual = randomFloats(m * n, 4)
    for (const set of runner.sets()) {
      const run = (more: object) => runner.run('linear', set, 2, { m, n, k, x, weight, ...more })
      const plain = run({})
      const biased = plain.map((value, i) => value + bias[i % n])
      t.is(maxAbsDiff(run({ bias }), biased), 0)
      const active = runner.run('activation', set, 1, { x: biased, activation: 'silu' })
      t.is(maxAbsDiff(run({ bias, activation: 'silu' }), active), 0)
      const whole = runner.run('add', set, 1, { a: active, b: residual })
      t.is(maxAbsDiff(run({ bias, activation: 'silu', residual }), whole), 0)
      t.is(maxAbsDiff(run({ bias, activation: 'silu', residual, inPlace: true }), whole), 0)
      t.is(maxAbsDiff(run({ residual, inPlace: true }), plain.map((value, i) => value + residual[i])), 0)
    }
  }
})

test('a row\'s result does not depend on the rows beside it', t => {
  const m = 47, n = 45, k = 600, x = randomFloats(m * k, 1), weight = randomFloats(n * k, 2)
  for (const dtype of formatNames)
    for (const set of everySet(dtype)) {
      const all = runner.run('linear', set, 2, { m, n, k, x, weight }, dtype)
      for (const row of [0, 13, 14, 46]) {
        const one = runner.run('linear', set, 1, { m: 1, n, k, x: x.slice(row * k, row * k + k), weight }, dtype)
        t.is(maxAbsDiff(one, all.slice(row * n, row * n + n)), 0)
      }
    }
})

test('NaN and infinity reach exactly the outputs that depend on them', t => {
  const m = 16, n = 35, k = 40
  const x = randomFloats(m * k, 1), weight = randomFloats(n * k, 2)
  x[3 * k + 7] = NaN
  weight[20 * k + 1] = Infinity
  for (const { set, y } of formatNames.flatMap(dtype => runEverywhere('linear', { m, n, k, x, weight }, dtype)))
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        const value = y[i * n + j]
        if (i === 3) t.true(Number.isNaN(value), set)
        else if (j === 20) t.is(value, x[i * k + 1] > 0 ? Infinity : -Infinity, set)
        else t.true(Number.isFinite(value), set)
      }
})

for (const name of ['linear', 'linear_no_bias']) {
  test(`${name} equals PyTorch's`, t => {
    const expected = loadExpected('ops')
    const x = expected.tensor(`${name}/x`), weight = expected.tensor(`${name}/weight`), y = expected.tensor(`${name}/y`).data
    const [n, k] = weight.shape, m = x.data.length / k
    const bias = expected.has(`${name}/bias`) ? expected.tensor(`${name}/bias`).data : undefined
    for (const result of runEverywhere('linear', { m, n, k, x: x.data, weight: weight.data, bias }))
      t.true(maxAbsDiff(result.y, y) <= 1e-5 * Math.max(1, ...y.map(Math.abs)), result.set)
  })
}
