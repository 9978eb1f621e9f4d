import path from 'node:path'
import test from 'ava'
import { writeSafetensors } from '../../lib/files/safetensors'
import type { ForwardInputs, InheritedFeature, NativeModel, NativeModelOptions, NativeRun, RunStep } from '../../lib/native/binding'
import { loadAddon } from '../../lib/native/load'
import { openUNet } from '../../lib/model/folder'
import { matchWeights } from '../../lib/model/weights'
import { copyCheckpoint, tensorsIn } from '../model/checkpoints'
import { fixture } from '../support/fixtures'
import { randomFloats } from '../support/op-runner'
import { forwardStep, passInputs, probeStep, secondHalf } from '../support/passes'
import { rounds, seeded, seedOf } from '../support/random'
import { temporaryFolder } from '../support/temporary'

const set = 'sd15-tiny'
const shape = { batch: 2, height: 8, width: 8, length: 5 }

async function model(dtype: NativeModelOptions['dtype'] = 'fp32', folder = fixture(set)): Promise<NativeModel> {
  const { config, weights } = await openUNet(path.join(folder, 'unet'))
  const unet = loadAddon().createModel({ kind: 'unet', config }, { dtype, threads: 2, cpu: 'auto' })
  await unet.load(matchWeights(unet.weights(), weights, set)).promise
  return unet
}

function inputs(seed: number, time: number): ForwardInputs {
  return passInputs({
    sample: { shape: [2, 4, 8, 8], data: randomFloats(2 * 4 * 64, seed) }, timesteps: new Float32Array(2).fill(time),
    encoderHiddenStates: { shape: [2, 5, 48], data: randomFloats(2 * 5 * 48, 1) },
  })
}

const output = (prefix: string): InheritedFeature => ({ prefix, feature: 'output' })
const out = async (run: NativeRun, step: number, given: ForwardInputs, chosen?: number): Promise<Float32Array> =>
  (await forwardStep(run, step, given, chosen)).sample.data

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
      const run = await unet.createRun(shape, steps, { extrapolate: factor }).promise
      const lines: Line[] = [[], []]
      for (const [i, step] of steps.entries()) {
        const chosen = step.choices === undefined ? 0 : random.below(2)
        const whole = inputs(20 * round + i, times[i])
        const given = step.conditionalOnly ? secondHalf(whole) : whole
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

test('time_embedding goes on as the embedding, not as its activation', async t => {
  const folder = copyCheckpoint(set, temporaryFolder(t))
  const file = path.join(folder, 'unet', 'diffusion_pytorch_model.safetensors')
  const unet = await model()
  const [times, factor] = [[900, 700, 400], 1.5]
  const embedding = async (time: number): Promise<Float32Array> =>
    (await unet.forward({ ...inputs(1, time), taps: ['time_embedding'] }).promise).taps.time_embedding.data
  const [v0, v1] = [await embedding(times[0]), await embedding(times[1])]
  const line = lineAt([{ time: times[1], value: v1 }, { time: times[0], value: v0 }], times[2], factor)
  // A UNet whose embedding is that point of the line, whatever the time.
  const tensors = await tensorsIn(file)
  const bytes = (name: string, values: number[]): void => {
    const tensor = tensors.find(each => each.name === `time_embedding.linear_2.${name}`)!
    Object.assign(tensor, { dtype: 'F32', data: Buffer.from(Float32Array.from(values).buffer) })
  }
  const width = v0.length / 2
  bytes('weight', new Array<number>(width * width).fill(0))
  bytes('bias', line.slice(0, width))
  await writeSafetensors(file, tensors)
  const fixed = await model('fp32', folder)

  const full: RunStep = { inherit: [], conditionalOnly: false }
  const run = await unet.createRun(shape, [full, full, { ...full, inherit: [output('time_embedding')] }], { extrapolate: factor }).promise
  let result: Float32Array = new Float32Array()
  for (const [i, time] of times.entries()) result = await out(run, i, inputs(i, time))
  const wanted = (await fixed.forward(inputs(2, 0)).promise).sample.data
  // The line in floats is a rounding away from the one in doubles, which grows tenfold on its way through the UNet.
  t.true(distance(result, wanted) < 1e-5, `${distance(result, wanted)}`)
  t.true(distance((await unet.forward(inputs(2, times[2])).promise).sample.data, wanted) > 1e-3)
  run.dispose()
  unet.dispose()
  fixed.dispose()
})

for (const dtype of ['fp32', 'bf16', 'int8'] as const) {
  test(`${dtype}: where nothing was computed before, or at the same time, features stand still, bit for bit`, async t => {
    const unet = await model(dtype)
    const inherit = [output('up_blocks.1'), { prefix: 'mid_block.resnets.0', feature: 'branch' as const }]
    const list: RunStep[] = [[], [], inherit, inherit, []].map(each => ({ inherit: each, conditionalOnly: false }))
    for (const [steps, times] of [[list, [500, 500, 400, 300, 200]], [list.slice(1), [500, 400, 300, 200]]] as const) {
      const run = await unet.createRun(shape, [...steps], { extrapolate: 1 }).promise
      const plain = await unet.createRun(shape, [...steps]).promise
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
  const joint = await one.createRun(shape, steps, { maps, extrapolate: 1 }, [two]).promise
  const single = await one.createRun(shape, steps.map(({ unet: _, ...step }) => step), { extrapolate: 1 }).promise
  const still = await one.createRun(shape, steps.map(({ unet: _, ...step }) => step)).promise
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
  const probes = [[output(early)]]
  const run = await one.createRun(shape, [probed([]), probed([]), probed([output(early)])], { probes, extrapolate: 1 }).promise
  for (const i of [0, 1, 2]) {
    await probeStep(run, i, [], inputs(i, 900 - 100 * i))
    t.deepEqual(await out(run, i, inputs(i, 900 - 100 * i)), (await one.forward(inputs(i, 900 - 100 * i)).promise).sample.data)
  }
  one.dispose()
  two.dispose()
})

test('factors that are none are refused', async t => {
  const unet = await model()
  for (const extrapolate of [-0.1, 2.01, NaN, Infinity, '1', null, {}])
    await t.throwsAsync(
      async () => unet.createRun(shape, [{ inherit: [], conditionalOnly: false }], { extrapolate: extrapolate as never }).promise,
      { code: 'INVALID_ARGUMENT', message: /extrapolate/ },
    )
  unet.dispose()
})
