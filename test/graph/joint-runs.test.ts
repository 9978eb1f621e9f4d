import test from 'ava'
import { openUNet } from '../../lib/model/folder'
import { matchWeights } from '../../lib/model/weights'
import type { ForwardInputs, InheritedFeature, NativeModel, NativeModelOptions, NativeRun, RunStep } from '../../lib/native/binding'
import { loadAddon } from '../../lib/native/load'
import { fixture } from '../support/fixtures'
import { randomFloats } from '../support/op-runner'
import { forwardStep, passInputs, probeStep, secondHalf } from '../support/passes'
import { rounds, seeded, seedOf } from '../support/random'

const shape = { batch: 2, height: 8, width: 8, length: 5 }

async function model(set: string, threads = 2, dtype: NativeModelOptions['dtype'] = 'fp32'): Promise<NativeModel> {
  const { config, weights } = await openUNet(fixture(set, 'unet'))
  const unet = loadAddon().createModel({ kind: 'unet', config }, { dtype, threads, cpu: 'auto' })
  await unet.load(matchWeights(unet.weights(), weights, set)).promise
  return unet
}

const textWidth: Record<string, number> = { 'sd15-tiny': 48, 'bk-sdm-tiny-tiny': 32 }

function inputs(set: string, seed: number): ForwardInputs {
  const width = textWidth[set]
  return passInputs({
    sample: { shape: [2, 4, 8, 8], data: randomFloats(2 * 4 * 64, seed) }, timesteps: new Float32Array(2).fill(500 + seed),
    encoderHiddenStates: { shape: [2, 5, width], data: randomFloats(2 * 5 * width, seed + 1) },
  })
}

const output = (prefix: string): InheritedFeature => ({ prefix, feature: 'output' })
const full: RunStep = { inherit: [], conditionalOnly: false }
const out = async (run: NativeRun, step: number, given: ForwardInputs, chosen?: number): Promise<Float32Array> =>
  (await forwardStep(run, step, given, chosen)).sample.data

/** Prefixes of every level, each with the features it can give. */
function choices(unet: NativeModel): InheritedFeature[] {
  return unet.tapNames().filter(name => /^(down_block|up_block|mid_block|conv_norm_out|conv_out)/.test(name)).flatMap(name =>
    [output(name), ...(/(resnets\.\d+|attentions\.\d+|attn1|attn2|ff)$/.test(name) ? [{ prefix: name, feature: 'branch' as const }] : [])])
}

for (const set of ['sd15-tiny', 'bk-sdm-tiny-tiny']) {
  test(`${set}: whatever is chosen, a run gives the bits of the run that inherits just that`, async t => {
    const unet = await model(set, 1)
    const all = choices(unet)
    const random = seeded(seedOf(91))
    for (let round = 0; round < rounds(12); round++) {
      const probe = random.pick([undefined, 'conv_in', 'down_blocks.0.resnets.0', 'down_blocks.0'])
      // What a probe computes is fresh whoever inherits it, so here nobody does.
      const known = probe === undefined ? all : all.filter(({ prefix }) => !prefix.startsWith('down_blocks.0'))
      const some = (): InheritedFeature[] => Array.from({ length: 1 + random.below(5) }, () => random.pick(known))
      const steps = Array.from({ length: 6 }, (_, i): RunStep => (i === 0 ? { ...full, probe: probe !== undefined } : {
        inherit: random.below(2) === 0 ? some() : [], choices: Array.from(
          { length: random.below(3) }, some,
        ), conditionalOnly: random.below(4) === 0, probe: probe !== undefined && random.below(4) > 0,
      }))
      const chosen = steps.map(step => random.below(2 ** (step.choices?.length ?? 0)))
      const run = await unet.createRun(shape, steps, probe === undefined ? undefined : { probes: [[output(probe)]] }).promise
      const plain = await unet.createRun(
        shape,
        steps.map((step, i) =>
          ({
            inherit: [...step.inherit, ...(step.choices ?? []).filter((_, bit) => (chosen[i] >> bit) % 2 === 1).flat()],
            conditionalOnly: step.conditionalOnly,
          })),
      ).promise
      for (const [i, step] of steps.entries()) {
        const given = step.conditionalOnly ? secondHalf(inputs(set, 10 * round + i)) : inputs(set, 10 * round + i)
        if (step.probe === true) t.is((await probeStep(run, i, i === 0 ? [] : [0], given)).length, 1)
        t.deepEqual(await out(run, i, given, chosen[i]), await out(plain, i, given), `round ${round}, step ${i}`)
        // A probe runs whether the rest needs it or not.
        const [macs, least] = [run.info.steps[i].variants[chosen[i]].macs, plain.info.steps[i].variants[0].macs]
        t.true(step.probe === true ? macs >= least : macs === least)
      }
      run.dispose()
      plain.dispose()
    }
    unet.dispose()
  })
}

test('a probe computes nothing twice, and what it computes is fresh', async t => {
  const unet = await model('sd15-tiny')
  const early = 'down_blocks.0.attentions.0'
  const run = await unet.createRun(
    shape, [{ ...full, probe: true }, { inherit: [output('up_blocks.2'), output(early)], conditionalOnly: false, probe: true }],
    { probes: [[output(early)]] },
  ).promise
  const [a, b] = [inputs('sd15-tiny', 1), inputs('sd15-tiny', 2)]
  const { steps, programs, fullMacs, units } = run.info
  t.is(steps[0].variants[0].macs, fullMacs[0])
  const [probe, rest] = [programs[steps[0].probe!], programs[steps[0].variants[0].program]]
  t.deepEqual([...probe, ...rest].sort(), [...units[0]].sort())
  t.true(
    probe.some(name => name.startsWith('conv_in'))
    && probe.every(name => /^(conv_in|time_|down_blocks\.0\.(resnets|attentions)\.0)/.test(name)),
  )
  t.deepEqual(await probeStep(run, 0, [], a), [Infinity])
  t.deepEqual(await out(run, 0, a), (await unet.forward(a).promise).sample.data)
  const [change] = await probeStep(run, 1, [0], b)
  const taps = await Promise.all([a, b].map(async each => (await unet.forward({ ...each, taps: [early] }).promise).taps[early].data))
  const sum = (list: Float32Array, other?: Float32Array): number =>
    list.reduce((total, value, i) => total + Math.abs(value - (other?.[i] ?? 0)), 0)
  t.true(Math.abs(change - sum(taps[1], taps[0]) / sum(taps[0])) < 1e-6, `${change}`)
  const plain = await unet.createRun(shape, [full, { inherit: [output('up_blocks.2')], conditionalOnly: false }]).promise
  await out(plain, 0, a)
  t.deepEqual(await out(run, 1, b), await out(plain, 1, b))
  unet.dispose()
})

test('a probe compares with what it was told to, of the conditional half where steps run only that', async t => {
  const unet = await model('sd15-tiny')
  const probed = (conditionalOnly = false): RunStep => ({ inherit: [], conditionalOnly, probe: true })
  const given = [1, 2, 3, 1].map(seed => inputs('sd15-tiny', seed))
  const probe = output('conv_in')
  const run = await unet.createRun(shape, [probed(), probed(true), probed(), probed()], { probes: [[probe, probe]] }).promise
  t.deepEqual(await probeStep(run, 0, [], given[0]), [Infinity, Infinity])
  await out(run, 0, given[0])
  const [first, second] = await probeStep(run, 1, [0], secondHalf(given[1]))
  t.true(first > 0 && second === Infinity)
  await out(run, 1, secondHalf(given[1]))
  const later = await probeStep(run, 2, [1], given[2])
  t.true(later[0] > 0 && later[1] > 0 && later[0] !== later[1])
  await out(run, 2, given[2])
  t.is((await probeStep(run, 3, [], given[3]))[0], 0)
  const other = await unet.createRun(shape, [probed(true), probed(true)], { probes: [[probe]] }).promise
  await probeStep(other, 0, [], secondHalf(given[0]))
  await out(other, 0, secondHalf(given[0]))
  t.deepEqual(await probeStep(other, 1, [0], secondHalf(given[1])), [first])
  unet.dispose()
})

for (const dtype of ['fp32', 'bf16'] as const) {
  test(`two equal UNets in ${dtype} whose features are one, either way, are one UNet, bit for bit`, async t => {
    const [one, two] = await Promise.all([model('sd15-tiny', 1, dtype), model('sd15-tiny', 2, dtype)])
    const all = choices(one)
    const random = seeded(seedOf(17))
    for (let round = 0; round < rounds(dtype === 'fp32' ? 10 : 5); round++) {
      const inherits = Array.from({ length: 1 + random.below(3) }, () => random.pick(all))
      const steps = Array.from(
        { length: 7 },
        (_, i): RunStep => ({
          inherit: i === 0 || random.below(3) === 0 ? [] : inherits, conditionalOnly: i > 0 && random.below(4) === 0, unet: random.below(2),
        }),
      )
      const distinct = [...new Map(inherits.map(each => [JSON.stringify(each), each])).values()]
      const maps = distinct.flatMap(each =>
        [[0, 1], [1, 0]].map(([from, to]) => ({ from: { ...each, unet: from }, to: { ...each, unet: to } })))
      let joint: NativeRun
      try {
        joint = await one.createRun(shape, steps, { maps }, [two]).promise
      } catch (error) {
        // Overlapping prefixes give one value twice.
        t.regex(String(error), /maps\[\d\] to give .* one value of each UNet/)
        continue
      }
      const single = await one.createRun(shape, steps.map(({ unet: _, ...step }) => step)).promise
      for (const [i, step] of steps.entries()) {
        const given = step.conditionalOnly ? secondHalf(inputs('sd15-tiny', i)) : inputs('sd15-tiny', i)
        t.deepEqual(await out(joint, i, given), await out(single, i, given), JSON.stringify(steps))
        for (const { name, source, unet } of joint.info.steps[i].variants[0].inherited) {
          t.is(source, single.info.steps[i].variants[0].inherited.find(value => value.name === name)!.source)
          t.is(unet, steps[source].unet!)
        }
      }
      t.is(joint.info.keptBytes, single.info.keptBytes)
      joint.dispose()
      single.dispose()
    }
    one.dispose()
    two.dispose()
  })
}

test('a map goes one way', async t => {
  const unet = await model('sd15-tiny')
  const step = (number: number, inherit: boolean): RunStep =>
    ({ inherit: inherit ? [output('up_blocks.2')] : [], conditionalOnly: false, unet: number })
  const maps = [{ from: { ...output('up_blocks.2'), unet: 0 }, to: { ...output('up_blocks.2'), unet: 1 } }]
  // 0 computes, 1 takes it over; 1 computes, 0 has its own still; 1 has its newer own; 0 computes, 1 takes that.
  const steps = [step(0, false), step(1, true), step(1, false), step(0, true), step(1, true), step(0, false), step(1, true)]
  const run = await unet.createRun(shape, steps, { maps }, [unet]).promise
  t.deepEqual(
    run.info.steps.map(({ variants }) => variants[0].inherited.map(({ source, unet: number }) => [source, number]).flat()),
    [[], [0, 0], [], [0, 0], [2, 1], [], [5, 0]],
  )
  const given = steps.map((_, i) => inputs('sd15-tiny', i))
  for (const [i, source] of [0, 0, 2, 0, 2, 5, 5].entries()) {
    const plain = await unet.createRun(shape, [full, { inherit: steps[i].inherit, conditionalOnly: false }]).promise
    await out(plain, 0, given[source])
    t.deepEqual(await out(run, i, given[i]), await out(plain, 1, given[i]), `step ${i}`)
    plain.dispose()
  }
  await t.throwsAsync(async () => unet.createRun(shape, [step(1, false), step(0, true)], { maps }, [unet]).promise, {
    code: 'INVALID_ARGUMENT', message: /step 1 inherits by "up_blocks.2".*none did/,
  })
  await t.throwsAsync(async () => unet.createRun(shape, [step(0, false), step(1, true)], {}, [unet]).promise, {
    code: 'INVALID_ARGUMENT', message: /step 1 inherits/,
  })
  unet.dispose()
})

test('what cannot be joined is refused by its number', async t => {
  const [unet, other] = await Promise.all([model('sd15-tiny'), model('bk-sdm-tiny-tiny')])
  const steps: RunStep[] = [full, { ...full, unet: 1 }]
  const end = (number: number, prefix: string, feature: 'output' | 'branch' = 'output') => ({ unet: number, prefix, feature })
  const fits = { from: end(0, 'mid_block'), to: end(1, 'mid_block') }
  const refused = async (maps: unknown, code: string, message: RegExp, second = unet): Promise<void> => {
    await t.throwsAsync(async () => unet.createRun(shape, steps, { maps: maps as never }, [second]).promise, { code, message })
  }
  await refused(
    [fits, { from: end(0, 'mid_block'), to: end(1, 'up_blocks.3') }], 'SHAPE_MISMATCH',
    /maps\[1\] to join values of the same shape but mid_block\S* is \[2,1,1,32\] and up_blocks\.3\S* is \[2,8,8,32\]/,
  )
  await refused(
    [{ from: end(0, 'down_blocks.0'), to: end(1, 'mid_block') }], 'INVALID_ARGUMENT',
    /maps\[0\] to join prefixes of equally many values but "down_blocks\.0" has \d and "mid_block" 1/,
  )
  await refused([{ from: end(0, 'up_blocks.7'), to: end(1, 'mid_block') }], 'INVALID_ARGUMENT', /"up_blocks\.7" in maps\[0\]/)
  await refused([{ from: end(0, 'mid_block'), to: end(0, 'mid_block') }], 'INVALID_ARGUMENT', /maps\[0\] to join two of 2 UNets/)
  await refused([{ from: end(2, 'mid_block'), to: end(0, 'mid_block') }], 'INVALID_ARGUMENT', /maps\[0\] to join two of 2 UNets/)
  await refused(
    [fits, { from: end(0, 'mid_block'), to: end(1, 'mid_block') }], 'INVALID_ARGUMENT',
    /maps\[1\] to give mid_block\S* one value of each UNet/,
  )
  await refused([fits], 'INVALID_ARGUMENT', /"mid_block" in maps\[0\]/, other)
  for (const wrong of [
    5, [null], [{}], [{ from: end(0, 'mid_block') }], [{ from: end(-1, 'x'), to: end(1, 'x') }],
    [{ from: { ...end(0, 'x'), feature: 3 }, to: end(1, 'x') }],
  ]) refused(wrong, 'INVALID_ARGUMENT', /Expected/)
  const choice = [output('mid_block')]
  const wrongSteps: [unknown[], RegExp][] = [
    [
      [{ ...full, unet: 2 }], /one of 2 UNets at step 0/,
    ], [
      [{ ...full, choices: new Array(5).fill(choice) }], /choices/,
    ], [[{ ...full, choices: 3 }], /choices/], [[{ ...full, probe: true }], /probes of the UNet.*step 0/],
    [[{ ...full, probe: 1 }], /probe/], [
      [full, ...new Array(200).fill({ ...full, choices: new Array(4).fill(choice) })], /at most 2048 passes/,
    ], [[{ ...full, choices: [choice] }], /step 0 inherits by "mid_block".*none did/],
    // Nothing is sure to have computed it: the second step may have inherited, and the conditional-only ones lack a half.
    [[{ inherit: [], conditionalOnly: true }, { ...full, choices: [choice] }], /step 1 inherits by "mid_block" for the unconditional half/],
  ]
  for (const [list, message] of wrongSteps)
    await t.throwsAsync(async () => unet.createRun(shape, list as never, {}, [unet]).promise, { code: 'INVALID_ARGUMENT', message }, String(message))
  await t.throwsAsync(async () => unet.createRun(shape, [full], { probes: [[output('nothing')]] }).promise, { code: 'INVALID_ARGUMENT', message: /"nothing"/ })
  await t.throwsAsync(async () => unet.createRun(shape, [full], { probes: 3 as never }).promise, { code: 'INVALID_ARGUMENT' })
  other.dispose()
  await t.throwsAsync(async () => unet.createRun(shape, [full], {}, [other]).promise, { code: 'DISPOSED' })
  unet.dispose()
})

test('turns: probes before their pass, choices that there are, UNets by their steps; aborts break the run', async t => {
  const unet = await model('sd15-tiny')
  const given = inputs('sd15-tiny', 1)
  const steps: RunStep[] = [
    { ...full, probe: true }, { inherit: [], choices: [[output('mid_block')]], conditionalOnly: false, probe: true, unet: 0 },
    { ...full, unet: 1 },
  ]
  const run = await unet.createRun(shape, steps, { probes: [[output('conv_in')]] }, [unet]).promise
  await t.throwsAsync(forwardStep(run, 0, given), { message: /probe of step 0 before/ })
  await t.throwsAsync(probeStep(run, 0, [0], given), { message: /nothing to renew/ })
  await t.throwsAsync(probeStep(run, 1, [], given), { message: /step 0 of 3/ })
  await probeStep(run, 0, [], given)
  await t.throwsAsync(probeStep(run, 0, [], given), { message: /no probe of step 0/ })
  await forwardStep(run, 0, given)
  await t.throwsAsync(probeStep(run, 1, [1], given), { message: /1 probes/ })
  t.throws(() => run.probe(1, [-1], given), { code: 'INVALID_ARGUMENT' })
  t.throws(() => run.probe(1, 3 as never, given), { code: 'INVALID_ARGUMENT' })
  await probeStep(run, 1, [0], given)
  await t.throwsAsync(forwardStep(run, 1, given, 2), { message: /choice from 0 to 1/ })
  t.throws(() => run.forward(1, given, -1), { code: 'INVALID_ARGUMENT' })
  await forwardStep(run, 1, given, 1)
  await t.throwsAsync(probeStep(run, 2, [], given), { message: /no probe of step 2/ })
  const plain = (await unet.forward(given).promise).sample.data
  t.deepEqual(await out(run, 2, given), plain)
  const broken = await unet.createRun(shape, steps, { probes: [[output('conv_in')]] }, [unet]).promise
  const { sample, timesteps, ...text } = given.values
  await broken.condition(text).promise
  const call = broken.probe(0, [], { values: { sample, timesteps } })
  call.cancel()
  t.is(await call.promise.then(() => '', (error: Error) => error.name), 'AbortError')
  run.dispose()
  await t.throwsAsync(probeStep(run, 0, [], given), { code: 'DISPOSED' })
  t.deepEqual((await unet.forward(given).promise).sample.data, plain)
  unet.dispose()
})
