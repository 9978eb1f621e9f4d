import test from 'ava'
import type { ForwardInputs, InheritedFeature, NativeModel, NativeModelOptions, NativeRun, RunStep } from '../../lib/native/binding'
import { loadAddon } from '../../lib/native/load'
import { openUNet } from '../../lib/model/folder'
import { matchWeights } from '../../lib/model/weights'
import { fixture } from '../support/fixtures'
import { randomFloats } from '../support/op-runner'
import { rounds, seeded, seedOf } from '../support/random'

const set = 'sd15-tiny'
const shape = { batch: 2, height: 8, width: 8, length: 5 }

async function model(dtype: NativeModelOptions['dtype'] = 'fp32'): Promise<NativeModel> {
  const { config, weights } = await openUNet(fixture(set, 'unet'))
  const unet = loadAddon().createModel({ kind: 'unet', config }, { dtype, threads: 2, cpu: 'auto' })
  await unet.load(matchWeights(unet.weights(), weights, set)).promise
  return unet
}

function inputs(seed: number, time: number): ForwardInputs {
  return {
    sample: { shape: [2, 4, 8, 8], data: randomFloats(2 * 4 * 64, seed) }, timesteps: new Float32Array(2).fill(time),
    encoderHiddenStates: { shape: [2, 5, 48], data: randomFloats(2 * 5 * 48, 1) },
  }
}

const half = ({ sample, timesteps, encoderHiddenStates: text }: ForwardInputs): ForwardInputs => ({
  sample: { shape: [1, ...sample!.shape.slice(1)], data: sample!.data.slice(sample!.data.length / 2) }, timesteps: timesteps!.slice(1),
  encoderHiddenStates: { shape: [1, ...text!.shape.slice(1)], data: text!.data.slice(text!.data.length / 2) },
})

const output = (prefix: string): InheritedFeature => ({ prefix, feature: 'output' })
const out = async (run: NativeRun, step: number, given: ForwardInputs, chosen?: number): Promise<Float32Array> =>
  (await run.forward(step, given, chosen).promise).sample.data

/** What a half of the batch computed last, and before that. */
type Line = { time: number, value: Float32Array }[]

/** The line's value at a time, in doubles. */
function lineAt(line: Line, time: number, factor: number): number[] {
  const [last, before = last] = line
  const slope = last.time === before.time ? 0 : factor * (time - last.time) / (last.time - before.time)
  return Array.from(last.value, (v1, i) => v1 + slope * (v1 - before.value[i]))
}

const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number => {
  const [difference, size] = [Math.hypot(...Array.from(a, (value, i) => value - b[i])), Math.hypot(...Array.from(b))]
  return difference / size
}

// conv_out is affine in what enters it, so of these features the whole result lies on the line.
for (const [dtype, prefix, bound] of [
  ['fp32', 'conv_out', 1e-6], ['fp32', 'conv_norm_out', 1e-5], ['bf16', 'conv_norm_out', 1e-2],
] as const) {
  test(`${dtype}: ${prefix} goes on along the line through its last two values, the halves of the batch apart`, async t => {
    const unet = await model(dtype)
    const random = seeded(seedOf(5))
    for (let round = 0; round < rounds(6); round++) {
      const factor = random.pick([0.5, 1, 1.75])
      // Also times that repeat, as some samplers' do, and steps that may inherit or not.
      const times = Array.from({ length: 9 }, (_, i) => 900 - 100 * i + (i > 0 && random.below(5) === 0 ? 100 : 0))
      const steps = Array.from({ length: 9 }, (_, i): RunStep => {
        const kind = i === 0 ? 0 : random.below(4)
        return {
          inherit: kind === 1 ? [output(prefix)] : [], conditionalOnly: i > 0 && random.below(3) === 0,
          ...(kind === 2 && { choices: [[output(prefix)]] }),
        }
      })
      const run = unet.createRun(shape, steps, { extrapolate: factor })
      const lines: Line[] = [[], []]
      for (const [i, step] of steps.entries()) {
        const chosen = step.choices === undefined ? 0 : random.below(2)
        const whole = inputs(20 * round + i, times[i])
        const given = step.conditionalOnly ? half(whole) : whole
        const result = await out(run, i, given, chosen)
        const size = result.length / (step.conditionalOnly ? 1 : 2)
        const halves = step.conditionalOnly ? [1] : [0, 1]
        for (const [k, h] of halves.entries()) {
          const value = result.slice(k * size, (k + 1) * size)
          if (step.inherit.length > 0 || chosen === 1) {
            const far = distance(value, lineAt(lines[h], times[i], factor))
            t.true(far <= bound, `round ${round}, step ${i}, half ${h}: ${far}`)
          } else {
            lines[h] = [{ time: times[i], value }, ...lines[h]].slice(0, 2)
          }
        }
        if (step.inherit.length === 0 && chosen === 0) t.deepEqual(result, (await unet.forward(given).promise).sample.data)
      }
      run.dispose()
    }
    unet.dispose()
  })
}

for (const dtype of ['fp32', 'bf16', 'int8'] as const) {
  test(`${dtype}: where nothing was computed before, or at the same time, features stand still, bit for bit`, async t => {
    const unet = await model(dtype)
    const inherit = [output('up_blocks.1'), { prefix: 'mid_block.resnets.0', feature: 'branch' as const }]
    const list: RunStep[] = [[], [], inherit, inherit, []].map(each => ({ inherit: each, conditionalOnly: false }))
    for (const [steps, times] of [[list, [500, 500, 400, 300, 200]], [list.slice(1), [500, 400, 300, 200]]] as const) {
      const [run, plain] = [unet.createRun(shape, [...steps], { extrapolate: 1 }), unet.createRun(shape, [...steps])]
      for (const [i, time] of times.entries()) t.deepEqual(await out(run, i, inputs(i, time)), await out(plain, i, inputs(i, time)))
      t.true(run.info.keptBytes > plain.info.keptBytes)
      const work = ({ info }: NativeRun) => info.steps.map(({ variants: [{ macs, units, inherited }] }) => ({ macs, units, inherited }))
      t.deepEqual(work(run), work(plain))
    }
    unet.dispose()
  })
}

test('features that a map hands from one UNet to another lie on one line; what a probe computes is fresh', async t => {
  const [one, two] = await Promise.all([model(), model()])
  const maps = [
    { from: { ...output('up_blocks.1'), unet: 0 }, to: { ...output('up_blocks.1'), unet: 1 } },
    { from: { ...output('up_blocks.1'), unet: 1 }, to: { ...output('up_blocks.1'), unet: 0 } },
  ]
  const inherits = [[], [], [output('up_blocks.1')], [], [output('up_blocks.1')], [output('up_blocks.1')]]
  const steps = inherits.map((inherit, i): RunStep => ({ inherit, conditionalOnly: false, unet: [0, 1, 0, 0, 1, 0][i] }))
  const joint = one.createRun(shape, steps, { maps, extrapolate: 1 }, [two])
  const single = one.createRun(shape, steps.map(({ unet: _, ...step }) => step), { extrapolate: 1 })
  const still = one.createRun(shape, steps.map(({ unet: _, ...step }) => step))
  for (const i of steps.keys()) {
    const [a, b, c] = [
      await out(joint, i, inputs(i, 900 - 100 * i)), await out(single, i, inputs(i, 900 - 100 * i)),
      await out(still, i, inputs(i, 900 - 100 * i)),
    ]
    t.deepEqual(a, b)
    t.is(distance(b, c) > 1e-6, inherits[i].length > 0, `step ${i}`)
  }
  const early = 'down_blocks.0.attentions.0'
  const probed = (inherit: InheritedFeature[]): RunStep => ({ inherit, conditionalOnly: false, probe: true })
  const run = one.createRun(shape, [probed([]), probed([]), probed([output(early)])], { probes: [[output(early)]], extrapolate: 1 })
  for (const i of [0, 1, 2]) {
    await run.probe(i, [], inputs(i, 900 - 100 * i)).promise
    t.deepEqual(await out(run, i, inputs(i, 900 - 100 * i)), (await one.forward(inputs(i, 900 - 100 * i)).promise).sample.data)
  }
  one.dispose()
  two.dispose()
})

test('factors that are none are refused', async t => {
  const unet = await model()
  for (const extrapolate of [-0.1, 2.01, NaN, Infinity, '1', null, {}])
    t.throws(
      () => unet.createRun(shape, [{ inherit: [], conditionalOnly: false }], { extrapolate: extrapolate as never }),
      { code: 'INVALID_ARGUMENT', message: /extrapolate/ },
    )
  unet.dispose()
})
