import fs from 'node:fs'
import test from 'ava'
import { BrownianTree } from '../../lib/random/brownian-tree'
import { seedSequence } from '../../lib/random/seed-sequence'
import { maxAbsDiff, repoPath } from '../support/fixtures'

const { trees, seeds } = JSON.parse(fs.readFileSync(repoPath('test', 'samplers', 'k_diffusion.json'), 'utf8'))

test('seed sequences are NumPy\'s', t => {
  for (const { entropy, key, pool, state } of seeds)
    t.deepEqual([...seedSequence(BigInt(entropy), key.map(BigInt), pool, state.length)], state, `${entropy} ${key}`)
})

test('trees are torchsde\'s, wherever and in whatever order they are asked', t => {
  for (const { entropy, ends: [start, end], shape, queries } of trees)
    for (const order of [queries, [...queries].reverse()]) {
      const tree = new BrownianTree(BigInt(entropy), start, end, shape)
      for (const { at: [from, to], values } of order) {
        const { data, shape: found } = tree.between(from, to)
        t.deepEqual(found, shape)
        t.true(maxAbsDiff(data, values) <= 2e-6 * Math.max(...values.map(Math.abs), 1), `${entropy}: ${from} to ${to}`)
      }
    }
})

test('increments add up, and have the variance of their time', t => {
  const tree = new BrownianTree(11n, 0.03, 14.6, [4000])
  const times = [0.03, 0.2, 1.7, 3, 9.5, 14.6]
  const whole = new Float32Array(4000)
  const parts = times.slice(1).map((to, k) => tree.between(times[k], to).data)
  for (const part of parts) part.forEach((value, i) => { whole[i] += value })
  t.true(maxAbsDiff(whole, tree.between(0.03, 14.6).data) < 1e-5)
  parts.forEach((part, k) => {
    const length = times[k + 1] - times[k]
    const mean = part.reduce((sum, value) => sum + value, 0) / part.length
    const variance = part.reduce((sum, value) => sum + value ** 2, 0) / part.length / length
    // Of 4000 values: five standard deviations of each moment.
    t.true(Math.abs(mean) / Math.sqrt(length) < 5 / Math.sqrt(4000), `mean ${mean}`)
    t.true(Math.abs(variance - 1) < 5 * Math.sqrt(2 / 4000), `variance ${variance}`)
  })
  const correlation = parts[0].reduce((sum, value, i) => sum + value * parts[1][i], 0) / 4000 / Math.sqrt(0.17 * 1.5)
  t.true(Math.abs(correlation) < 5 / Math.sqrt(4000), `correlation ${correlation}`)
})
