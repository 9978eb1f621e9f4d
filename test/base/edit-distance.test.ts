import test from 'ava'
import { editDistance } from '../../lib/base/edit-distance'
import { nearestName, nearestOf } from '../../lib/base/options'
import { rounds, seeded, seedOf } from '../support/random'

const keys = [
  'prompt', 'negativePrompt', 'guidanceScale', 'steps', 'sampler', 'eta', 'seed', 'width', 'height', 'count', 'latents', 'image', 'mask',
  'strength', 'clipSkip', 'plan', 'signal',
]

test('typing errors are counted, swapped neighbours as one', t => {
  for (const [a, b, distance] of [
    ['', '', 0], ['', 'abc', 3], ['abc', 'abc', 0], ['abc', 'abd', 1], ['abc', 'ab', 1], ['widht', 'width', 1], ['abcd', 'badc', 2],
    ['ca', 'abc', 3], ['sampelr', 'sampler', 1],
  ] as const) {
    t.is(editDistance(a, b), distance, `${a} ${b}`)
    t.is(editDistance(b, a), distance, `${b} ${a}`)
  }
})

test('it is what the recursive definition gives', t => {
  const plain = (a: string, b: string): number => {
    if (a === '' || b === '') return a.length + b.length
    const swapped = a.length > 1 && b.length > 1 && a[0] === b[1] && a[1] === b[0] ? plain(a.slice(2), b.slice(2)) + 1 : Infinity
    return Math.min(plain(a.slice(1), b) + 1, plain(a, b.slice(1)) + 1, plain(a.slice(1), b.slice(1)) + (a[0] === b[0] ? 0 : 1), swapped)
  }
  const random = seeded(seedOf(5))
  const word = (): string => Array.from({ length: random.below(6) }, () => 'abc'[random.below(3)]).join('')
  for (let round = 0; round < rounds(200); round++) {
    const [a, b] = [word(), word()]
    t.is(editDistance(a, b), plain(a, b), `${a} ${b}`)
  }
})

test('swapped letters get a suggestion, other words none', t => {
  for (const [typed, meant] of [
    ['widht', 'width'], ['hieght', 'height'], ['setps', 'steps'], ['sede', 'seed'], ['sampelr', 'sampler'], ['paln', 'plan'],
    ['maks', 'mask'], ['guidanceSclae', 'guidanceScale'], ['Guidance-Scale', 'guidanceScale'],
  ])
    t.is(nearestName(typed, keys), meant)
  for (const typed of ['', 'x', 'batch', 'lora', 'scheduler']) t.is(nearestName(typed, keys), undefined, typed)
  t.is(nearestOf('etpa', ['eta', 'plan']), 'did you mean "eta"?')
  t.is(nearestOf('zzz', ['eta', 'plan']), 'known are eta, plan')
})
