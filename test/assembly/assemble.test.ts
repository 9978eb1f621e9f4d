import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { assemble } from '../../lib/assembly/assemble'
import type { Recipe } from '../../lib/assembly/recipe'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { UNet } from '../../lib/components/unet'
import { readSafetensorsHeader } from '../../lib/files/safetensors'
import { parseUNetConfig } from '../../lib/model/unet-config'
import type { UNetConfig, WeightSource } from '../../lib/native/configs'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { create, fixtureWeights } from '../graph/support'
import { fixture, loadExpected, repoPath } from '../support/fixtures'
import { passInputs } from '../support/passes'
import { temporaryFolder } from '../support/temporary'

const tiny = fixture('sd15-tiny')
const shipped = (name: string): string => repoPath('recipes', `${name}.json`)
const json = (file: string): any => JSON.parse(fs.readFileSync(file, 'utf8'))
const full = (): UNetConfig => parseUNetConfig(json(path.join(tiny, 'unet', 'config.json')), 'config.json')

/** The published removals, written down on their own: the name in the full UNet of a weight of the small one. */
function teacherName(student: string, name: string): string {
  const found = /^up_blocks\.(\d)\.(resnets|attentions|upsamplers)\.(\d)\.(.*)$/.exec(name)
  if (found === null) return name
  const [, block, kind, layer, rest] = found
  const from = student === 'bk-tiny' ? Number(block) + 1 : Number(block)
  return `up_blocks.${from}.${kind}.${layer === '1' ? '2' : layer}.${rest}`
}

const pass = () => {
  const expected = loadExpected('sd15-tiny')
  return {
    sample: expected.tensor('unet/case0/sample'), timesteps: expected.tensor('unet/case0/timesteps'),
    encoderHiddenStates: expected.tensor('unet/case0/encoder_hidden_states'),
  }
}

for (const [name, config] of [
  ['bk-base', { ...full(), layersPerBlock: [1, 1, 1, 1] }],
  ['bk-small', { ...full(), layersPerBlock: [1, 1, 1, 1], hasMidBlock: false }],
  ['bk-tiny', {
    ...full(), layersPerBlock: [1, 1, 1], hasMidBlock: false, blockOutChannels: [32, 64, 48], downCrossAttention: [true, true, true],
    upCrossAttention: [true, true, true],
    transformerLayersPerBlock: [1, 1, 1], attentionHeads: [8, 8, 8], onlyCrossAttention: [false, false, false],
  }],
] as [string, UNetConfig][]) {
  test(`${name} of sd15-tiny equals the UNet of hand-copied weights`, async t => {
    const folder = temporaryFolder(t)
    const out = path.join(folder, 'out')
    const record = await assemble(shipped(name), { out, checkpoints: { sd: tiny } })
    t.deepEqual(record, json(path.join(out, 'assembly.json')))
    const file = fs.readFileSync(path.join(tiny, 'unet', 'diffusion_pytorch_model.safetensors'))
    t.is(record.sources.sd['unet/diffusion_pytorch_model.safetensors'].sha256, createHash('sha256').update(file).digest('hex'))
    const published = json(path.join(out, 'unet', 'config.json'))
    t.is(published.asdm, undefined)
    t.deepEqual(parseUNetConfig(published, 'x'), config)

    const teacher = new Map(fixtureWeights('sd15-tiny', 'unet', 'diffusion_pytorch_model.safetensors').map(weight => [weight.name, weight]))
    const model = create({ kind: 'unet', config })
    const chunks: Buffer[] = []
    let end = 0
    const byHand = model.weights().map(({ name: weight, shape }): WeightSource => {
      const source = teacher.get(teacherName(name, weight))!
      let bytes = file.subarray(source.begin, source.end)
      const width = bytes.length / source.shape.reduce((a, b) => a * b, 1)
      const [rows, have] = source.shape.length === 1 ? [1, source.shape[0]] : source.shape
      const want = source.shape.length === 1 ? shape[0] : shape[1]
      if (have !== want) {
        // Only the first ResNet of bk-tiny: 80 channels become 96, of which the first 16 are the last 16 once more.
        t.true(name === 'bk-tiny' && weight.startsWith('up_blocks.0.resnets.0.') && have === 80 && want === 96)
        const each = bytes.length / rows / have
        t.is(each % width, 0)
        bytes = Buffer.concat(Array.from(
          { length: rows },
          (_, r) => [bytes.subarray((r * have + 64) * each, (r + 1) * have * each), bytes.subarray(r * have * each, (r + 1) * have * each)],
        ).flat())
      }
      chunks.push(bytes)
      end += bytes.length
      return { name: weight, file: path.join(folder, 'hand.bin'), dtype: source.dtype, shape, begin: end - bytes.length, end }
    })
    fs.writeFileSync(path.join(folder, 'hand.bin'), Buffer.concat(chunks))
    await model.load(byHand).promise
    const { sample, timesteps, encoderHiddenStates } = pass()
    const expected = await model.forward(passInputs({ sample, timesteps: timesteps.data as Float32Array, encoderHiddenStates })).promise
    model.dispose()

    const unet = await UNet.load(path.join(out, 'unet'))
    const got = await unet.forward({ sample, timestep: timesteps.data as Float32Array, encoderHiddenStates })
    await unet.dispose()
    t.deepEqual(got.sample, expected.sample)
    t.true(got.sample.data.every(Number.isFinite))
  })
}

for (const name of ['bk-base', 'bk-small', 'bk-tiny', 'light']) {
  test(`${name} of the emoji model makes a picture`, async t => {
    const out = path.join(temporaryFolder(t), 'out')
    await assemble(shipped(name), { out, checkpoints: { sd: repoPath('models', 'emoji') } })
    const model = await StableDiffusion.load(out)
    const [image] = await model.generate({ prompt: 'a 3d emoji of red apple', steps: 2, seed: 1 })
    t.is(image.width, 64)
    await model.dispose()
  })
}

const recipe = (change: (value: any) => void = () => {}): Recipe => {
  const value = { version: 1, checkpoints: { sd: null }, target: { from: 'sd' }, rest: 'sd', units: {} }
  change(value)
  return value as Recipe
}

test('a mean of a checkpoint with itself is the checkpoint; slices and drops do what they say', async t => {
  const folder = temporaryFolder(t)
  const out = path.join(folder, 'out')
  await assemble(recipe(r => {
    r.units = {
      'mid_block.0': { average: [{ checkpoint: 'sd' }, { checkpoint: 'sd', share: 3 }] },
      'up_blocks.2.attentions.1': { drop: true },
    }
    r.units['conv_in.weight'] = { checkpoint: 'sd', prefix: 'conv_in.weight', slice: [{ axis: 0, begin: 0, end: 32 }] }
  }), { out, checkpoints: { sd: tiny } })
  t.deepEqual(json(path.join(out, 'unet', 'config.json')).asdm, { version: 1, removed: ['up_blocks.2.attentions.1'] })
  const { tensors } = await readSafetensorsHeader(path.join(out, 'unet', 'diffusion_pytorch_model.safetensors'))
  t.false([...tensors.keys()].some(name => name.startsWith('up_blocks.2.attentions.1.')))
  t.is(tensors.get('mid_block.resnets.0.conv1.weight')!.dtype, 'F32')
  const { sample, timesteps, encoderHiddenStates } = pass()
  const run = async (at: string) => {
    const unet = await UNet.load(at)
    const { sample: result } = await unet.forward({ sample, timestep: timesteps.data as Float32Array, encoderHiddenStates })
    await unet.dispose()
    return result
  }
  const dropped = path.join(folder, 'dropped')
  await assemble(recipe(r => { r.units = { 'up_blocks.2.attentions.1': { drop: true } } }), { out: dropped, checkpoints: { sd: tiny } })
  t.deepEqual(await run(path.join(out, 'unet')), await run(path.join(dropped, 'unet')))
  t.notDeepEqual(await run(path.join(dropped, 'unet')), await run(path.join(tiny, 'unet')))
})

const wrong: [string, (recipe: any) => void, ErrorCode, RegExp][] = [
  [
    'unknown target', r => { r.units['up_blocks.9.resnets.0'] = { checkpoint: 'sd' } }, 'INVALID_ARGUMENT',
    /recipe\.units\["up_blocks\.9\.resnets\.0"\].*did you mean/,
  ],
  [
    'doubled', r => { r.units = { 'conv_in': { checkpoint: 'sd' }, 'conv_in.bias': { checkpoint: 'sd' } } }, 'INVALID_ARGUMENT',
    /1 are in several: conv_in\.bias/,
  ],
  ['missing', r => { delete r.rest; r.units = { conv_in: { checkpoint: 'sd' } } }, 'TENSOR_MISSING', /have none: .*and \d+ more/],
  [
    'unknown source', r => { r.units.conv_in = { checkpoint: 'sd', prefix: 'conv_inn' } }, 'TENSOR_MISSING',
    /conv_inn\.\w+ in the checkpoint "sd".*recipe\.units\["conv_in"\]/,
  ],
  [
    'shape', r => { r.units['down_blocks.1.resnets.1'] = { checkpoint: 'sd', prefix: 'down_blocks.0.resnets.1' } }, 'TENSOR_SHAPE',
    /recipe\.units\["down_blocks\.1\.resnets\.1"\]/,
  ],
  [
    'layer of no layer', r => { r.units['up_blocks.1.1'] = { checkpoint: 'sd', prefix: 'up_blocks.1' } }, 'INVALID_ARGUMENT',
    /recipe\.units\["up_blocks\.1\.1"\]\.prefix/,
  ],
  [
    'slice outside', r => { r.units['conv_in.bias'] = { checkpoint: 'sd', slice: [{ axis: 0, begin: 0, end: 99 }] } }, 'TENSOR_SHAPE',
    /slice\[0\]/,
  ],
  [
    'drop of what changes the width', r => { r.units['up_blocks.1.resnets.0'] = { drop: true } }, 'BAD_CONFIG',
    /recipe\.units\["up_blocks\.1\.resnets\.0"\].*up_blocks\.1\.resnets\.0, which takes 80 channels and gives 48/,
  ],
  [
    'drop of what sizes need', r => { r.units['down_blocks.0.downsamplers.0'] = { drop: true } }, 'BAD_CONFIG',
    /down_blocks\.0\.downsamplers\.0/,
  ],
  ['drop of a weight', r => { r.units['conv_in.bias'] = { drop: true } }, 'BAD_CONFIG', /conv_in\.bias/],
  ['stages', r => { r.target.stages = 5 }, 'INVALID_ARGUMENT', /recipe\.target\.stages/],
]
for (const [name, change, code, message] of wrong) {
  test(`an assembly fails and leaves nothing: ${name}`, async t => {
    const folder = temporaryFolder(t)
    const error = await t.throwsAsync(
      assemble(recipe(change), { out: path.join(folder, 'out'), checkpoints: { sd: tiny } }), { instanceOf: AsdmError, message },
    )
    t.is(error.code, code)
    t.deepEqual(fs.readdirSync(folder), [])
  })
}

test('links that lead out of the folder are refused, and an abort leaves nothing', async t => {
  const folder = temporaryFolder(t)
  fs.mkdirSync(path.join(folder, 'recipes'))
  fs.symlinkSync(tiny, path.join(folder, 'recipes', 'model'), 'junction')
  const file = path.join(folder, 'recipes', 'r.json')
  fs.writeFileSync(file, JSON.stringify(recipe(r => { r.checkpoints.sd = 'model' })))
  await t.throwsAsync(assemble(file, { out: path.join(folder, 'out') }), {
    instanceOf: AsdmError, message: /recipe\.checkpoints\["sd"\].*leads out/,
  })
  const stop = new AbortController()
  await t.throwsAsync(
    assemble(recipe(), { out: path.join(folder, 'out'), checkpoints: { sd: tiny }, signal: stop.signal, onProgress: () => stop.abort() }),
    { any: true, name: 'AbortError' },
  )
  t.deepEqual(fs.readdirSync(folder), ['recipes'])
})

test('the command line assembles, and says what is wrong', t => {
  const folder = temporaryFolder(t)
  const main = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js')
  const asdm = (...args: string[]) => spawnSync(process.execPath, [main, 'assemble', ...args], { encoding: 'utf8' })
  const made = asdm(shipped('bk-small'), '--out', path.join(folder, 'out'), '--checkpoint', `sd=${tiny}`)
  t.is(made.status, 0, made.stderr)
  t.regex(made.stdout, /\d+ weights in its UNet/)
  t.true(fs.existsSync(path.join(folder, 'out', 'vae', 'config.json')))
  const again = asdm(shipped('bk-small'), '--out', path.join(folder, 'out'), '--checkpoint', `sd=${tiny}`)
  t.is(again.status, 1)
  t.regex(again.stderr, /does not exist yet .*INVALID_ARGUMENT/)
  t.is(asdm(shipped('bk-small'), '--out', path.join(folder, 'b')).status, 1)
  t.is(asdm(shipped('bk-small'), '--out', path.join(folder, 'b'), '--checkpoint', 'sd').status, 2)
})
