import test from 'ava'
import { randomFloats, runEverywhere } from '../support/op-runner'
import { compare, differences, double, operators } from './gradient-support'

test('losses and their gradients', t => {
  const expected = operators(), get = (name: string) => expected.tensor(`mse_loss/${name}`)
  const { data: prediction, shape: [n, c, h, w] } = get('pred') as { data: Float32Array, shape: number[] }
  for (const { set, y } of runEverywhere('loss', {
    prediction, target: get('target').data, n, rows: h! * w!, c, weight: new Float32Array(n!).fill(1 / n!),
  })) {
    const total = y.slice(0, n).reduce((sum, value) => sum + value / n!, 0)
    compare(t, set, Float32Array.from([total, ...y.slice(n)]), { loss: get('y').data, dx: get('dpred').data }, 2e-6)
  }
  for (const cosine of [false, true]) for (const [n, rows, c] of [[1, 1, 2], [3, 5, 7], [2, 3, 33]] as const) {
    const args = {
        prediction: randomFloats(n * rows * c, 1), target: randomFloats(n * rows * c, 2), weight: randomFloats(n, 3),
      }, at = double(args.prediction)
    const losses = () => Float64Array.from({ length: n }, (_, sample) => {
      let sum = 0
      for (let row = 0; row < rows; row++) {
        const from = (sample * rows + row) * c, p = at.subarray(from, from + c), q = args.target.subarray(from, from + c)
        const across = p.reduce(
            (total, value, j) => total + value * q[j]!, 0,
          ), squares = (v: ArrayLike<number>) => Array.from(v).reduce((total, value) => total + value * value, 0)
        sum += cosine
          ? (1 - across / Math.sqrt(squares(p) * squares(q))) / rows
          : p.reduce((total, value, j) => total + (value - q[j]!) ** 2, 0) / (rows * c)
      }
      return sum
    })
    const dx = differences({ at }, losses, args.weight).at!
    for (const { set, y } of runEverywhere('loss', { ...args, n, rows, c, cosine }))
      compare(t, `${set} ${cosine ? 'cosine' : 'squares'}`, y, { losses: losses(), dx }, 2e-6)
  }
  t.pass()
})

test('AdamW equals PyTorch', t => {
  const expected = operators()
  for (const name of ['adamw', 'adamw_strong_decay']) {
    const { lr, betas: [beta1, beta2], eps, weight_decay: decay } = expected.json.ops[name]
    const get = (part: string) => expected.tensor(`${name}/${part}`).data, count = get('param_0').length
    const sets = runEverywhere('squares', { x: new Float32Array(1) }).map(each => each.set)
    const state = new Map(sets.map(set =>
      [set, { weight: get('param_0'), first: new Float32Array(count), second: new Float32Array(count) }]))
    for (let step = 1; step <= 5; step++) for (const set of sets) {
      const { weight, first, second } = state.get(set)!
      // A gradient that is twice as large, and scaled back.
      const gradient = get(`grad_${step}`).map(value => 2 * value)
      const { y } = runEverywhere('adamW', {
        weight, gradient, first, second, scale: 0.5, rate: lr, beta1, beta2, eps, decay, step,
      }).find(each => each.set === set)!
      const part = (i: number) => y.slice(i * count, (i + 1) * count)
      compare(t, `${name} ${set} step ${step}`, part(0), { weight: get(`param_${step}`) }, 1e-6)
      t.true(part(1).every(value => value === 0))
      if (step === 5) compare(t, `${name} ${set}`, y.slice(2 * count), { first: get('exp_avg_5'), second: get('exp_avg_sq_5') }, 1e-6)
      state.set(set, { weight: part(0), first: part(2), second: part(3) })
    }
  }
})

test('averages of weights and sums of squares', t => {
  for (const count of [1, 7, 33, 70000]) {
    const average = randomFloats(count, 1), weight = randomFloats(count, 2)
    for (const { set, y } of runEverywhere('average', { average, weight, keep: 0.99 }))
      compare(t, set, y, { average: average.map((value, i) => 0.99 * value + 0.01 * weight[i]!) }, 3e-7)
    const sum = average.reduce((total, value) => total + value * value, 0)
    for (const { set, y } of runEverywhere('squares', { x: average })) t.true(Math.abs(y[0]! - sum) <= 1e-6 * sum, set)
  }
})
