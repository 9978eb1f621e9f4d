import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { assemble } from '../../lib/assembly/assemble'
import { routerBias } from '../../lib/assembly/experts'
import type { ExpertsLine, Recipe } from '../../lib/assembly/recipe'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { UNet } from '../../lib/components/unet'
import { convertModel } from '../../lib/convert/convert'
import { readSafetensorsHeader } from '../../lib/files/safetensors'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { bytesOf } from '../model/checkpoints'
import { fixture, loadExpected, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

const tiny = fixture('sd15-tiny')
const emoji = repoPath('models', 'emoji')
const json = (...parts: string[]): any => JSON.parse(fs.readFileSync(path.join(...parts), 'utf8'))
const recipe = (units: object, more: object = {}): Recipe =>
  ({ version: 1, checkpoints: { sd: null }, target: { from: 'sd' }, rest: 'sd', units, ...more }) as Recipe
const at = 'down_blocks.0.resnets.0.conv1'
const neighbour = 'down_blocks.0.resnets.1.conv1'

/** IEEE binary16. */
function half(bits: number): number {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023
  return (bits & 0x8000 ? -1 : 1) * (exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15))
}

async function tensorsOf(folder: string): Promise<(name: string) => {
  dtype: string
  shape: number[]
  bytes: Buffer
  floats: Float32Array
}> {
  const file = path.join(folder, 'unet', 'diffusion_pytorch_model.safetensors')
  const { tensors } = await readSafetensorsHeader(file)
  return name => {
    const { dtype, shape, begin, end } = tensors.get(name)!
    const bytes = bytesOf({ file, begin, end })
    return {
      dtype, shape, bytes,
      floats: dtype === 'F32'
        ? new Float32Array(new Uint8Array(bytes).buffer)
        : Float32Array.from(new Uint16Array(new Uint8Array(bytes).buffer), half),
    }
  }
}

async function assembled(t: ExecutionContext, what: Recipe | string, checkpoints: Record<string, string> = { sd: tiny }): Promise<string> {
  const out = path.join(temporaryFolder(t), 'out')
  await assemble(what, { out, checkpoints })
  return out
}

async function output(folder: string, set = 'sd15-tiny', name = 'unet/case0'): Promise<Float32Array> {
  const expected = loadExpected(set)
  const unet = await UNet.load(path.join(folder, 'unet'))
  const { sample } = await unet.forward({
    sample: expected.tensor(`${name}/sample`), timestep: expected.tensor(`${name}/timesteps`).data as Float32Array,
    encoderHiddenStates: expected.tensor(`${name}/encoder_hidden_states`),
  })
  await unet.dispose()
  return sample.data
}

const shipped = json(repoPath('recipes', 'light-experts.json'))
/** light-experts with routers that start at the first expert. */
const fixedAtFirst = (): Recipe =>
  ({
    ...shipped,
    units: Object.fromEntries(Object.entries(shipped.units).map(([prefix, line]: [string, any]) =>
      [prefix, line.experts ? { ...line, router: { start: 'first' } } : line])),
  })

test('light-experts keeps the kernels of what light removes; with routers at the first expert it equals light, bit for bit', async t => {
  const light = json(repoPath('recipes', 'light.json'))
  t.deepEqual(Object.entries(shipped.units).filter(([, line]: [string, any]) => line.drop), Object.entries(light.units))
  const mixed = await assembled(t, 'light-experts')
  t.deepEqual(json(mixed, 'unet', 'config.json').asdm, {
    version: 1, removed: Object.keys(light.units),
    conditional: [
      { prefix: at, experts: 2, router: 'sigmoid' }, { prefix: 'down_blocks.0.resnets.0.conv2', experts: 2, router: 'sigmoid' },
    ],
  })
  const [own, made] = [await tensorsOf(tiny), await tensorsOf(mixed)]
  for (const part of ['weight', 'bias']) {
    const stack = made(`${at}.experts.${part}`)
    t.deepEqual(stack.shape, [2, ...own(`${at}.${part}`).shape])
    t.true(stack.bytes.equals(Buffer.concat([own(`${at}.${part}`).bytes, own(`${neighbour}.${part}`).bytes])))
  }
  t.deepEqual([...made(`${at}.router.bias`).floats], [0, 0])
  const plain = await output(await assembled(t, 'light'))
  t.deepEqual(await output(await assembled(t, fixedAtFirst())), plain)
  const other = await output(mixed)
  t.true(other.every(Number.isFinite))
  t.notDeepEqual(other, plain)
})

test('light-experts of the emoji model makes pictures, and those of light with routers at the first expert', async t => {
  const pictures = []
  for (const what of ['light', fixedAtFirst(), 'light-experts']) {
    const model = await StableDiffusion.load(await assembled(t, what, { sd: emoji }))
    const [image] = await model.generate({ prompt: 'a 3d emoji of red apple', steps: 2, seed: 1 })
    pictures.push(Buffer.from(image.rgba).toString('hex'))
    await model.dispose()
  }
  t.is(pictures[1], pictures[0])
  t.not(pictures[2], pictures[0])
})

test('experts of one kernel with noise: the same every time, of the deviation asked for, another for each expert and layer', async t => {
  const experts = [
    { checkpoint: 'sd' }, { checkpoint: 'sd', noise: 0.1 }, { checkpoint: 'sd', noise: 0.1 }, { checkpoint: 'sd', noise: 0.1, seed: 1 },
  ]
  const units = { [at]: { experts }, 'down_blocks.0.resnets.0.conv2': { experts } }
  const [folder, again] = [await assembled(t, recipe(units)), await assembled(t, recipe(units))]
  const file = path.join('unet', 'diffusion_pytorch_model.safetensors')
  t.true(fs.readFileSync(path.join(folder, file)).equals(fs.readFileSync(path.join(again, file))))
  const [own, made] = [await tensorsOf(tiny), await tensorsOf(folder)]
  const noise = (layer: string, expert: number): number[] => {
    const plain = own(`${layer}.weight`).floats, stack = made(`${layer}.experts.weight`).floats
    return [...plain].map((value, i) => stack[expert * plain.length + i] - value)
  }
  t.true(noise(at, 0).every(value => value === 0))
  t.deepEqual(noise(at, 1).slice(0, 100), noise(at, 3).slice(0, 100))
  for (const [a, b] of [[noise(at, 1), noise(at, 2)], [noise(at, 1), noise('down_blocks.0.resnets.0.conv2', 1)]]) {
    const dot = a.reduce(
        (sum, value, i) => sum + value * b[i], 0,
      ), size = Math.sqrt(a.reduce((sum, value) => sum + value * value, 0) * b.reduce((sum, value) => sum + value * value, 0))
    t.true(Math.abs(dot / size) < 0.05, String(dot / size))
  }
  const deviation = (values: ArrayLike<number>): number => {
    const mean = Array.from(values).reduce((a, b) => a + b, 0) / values.length
    return Math.sqrt(Array.from(values).reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length)
  }
  const ratio = deviation(noise(at, 2)) / deviation(own(`${at}.weight`).floats)
  t.true(Math.abs(ratio - 0.1) < 0.003, String(ratio))
  // Biases are copied.
  t.true(made(`${at}.experts.bias`).bytes.equals(Buffer.concat(new Array(4).fill(own(`${at}.bias`).bytes))))
})

test('experts of several models, of a projection; averages and copies of convolutions with experts', async t => {
  const lines = {
    'mid_block.attentions.0.proj_in': {
      experts: [{ checkpoint: 'sd' }, { checkpoint: 'other' }], router: { activation: 'softmax', start: [0.25, 0.75] },
    },
    [neighbour]: { experts: [{ checkpoint: 'other' }, { checkpoint: 'sd' }, { checkpoint: 'sd', noise: 0 }] },
  }
  const dropped = await assembled(t, recipe({ [at]: { checkpoint: 'sd', prefix: neighbour } }))
  const both = await assembled(t, recipe(lines, { checkpoints: { sd: null, other: null } }), { sd: tiny, other: dropped })
  const projection = { prefix: 'mid_block.attentions.0.proj_in', experts: 2, router: 'softmax' }
  t.deepEqual(json(both, 'unet', 'config.json').asdm, {
    version: 1, conditional: [{ prefix: neighbour, experts: 3, router: 'sigmoid' }, projection],
  })
  const made = await tensorsOf(both)
  const rates = [...made('mid_block.attentions.0.proj_in.router.bias').floats].map(Math.exp)
  t.true(Math.abs(rates[0] / (rates[0] + rates[1]) - 0.25) < 1e-6)
  const wanted = await output(both)
  t.true(wanted.every(Number.isFinite))

  // By rest, whole; by an average with itself; and a layer to another place.
  t.deepEqual(await output(await assembled(t, recipe({}), { sd: both })), wanted)
  t.deepEqual(
    await output(
      await assembled(t, recipe({ mid_block: { average: [{ checkpoint: 'sd' }, { checkpoint: 'sd', share: 3 }] } }), { sd: both }),
    ),
    wanted,
  )
  const moved = await assembled(t, recipe({ 'down_blocks.0.0': { checkpoint: 'sd', prefix: 'down_blocks.0.1' } }), { sd: both })
  t.deepEqual(
    json(moved, 'unet', 'config.json').asdm.conditional,
    [{ prefix: at, experts: 3, router: 'sigmoid' }, { prefix: neighbour, experts: 3, router: 'sigmoid' }, projection],
  )
  t.true((await tensorsOf(moved))(`${at}.experts.weight`).bytes.equals(made(`${neighbour}.experts.weight`).bytes))

  // Converted, it stays what it is; the original names have none for it.
  const folder = path.join(temporaryFolder(t), 'converted')
  await convertModel(both, folder)
  t.deepEqual(json(folder, 'unet', 'config.json').asdm, json(both, 'unet', 'config.json').asdm)
  t.deepEqual(await output(folder), wanted)
  await t.throwsAsync(convertModel(
    both, path.join(temporaryFolder(t), 'one.safetensors'),
  ), { instanceOf: AsdmError, message: /resnets\.1\.conv1\.experts/ })
})

test('experts keep the dtype of their sources where these agree and get no noise', async t => {
  const dtype = (await tensorsOf(emoji))(`${at}.weight`).dtype
  t.not(dtype, 'F32')
  for (const [experts, wanted] of [
    [[{ checkpoint: 'sd' }, { checkpoint: 'sd', prefix: neighbour }], dtype],
    [[{ checkpoint: 'sd' }, { checkpoint: 'sd', noise: 0.01 }], 'F32'],
  ] as const)
    t.is((await tensorsOf(await assembled(t, recipe({ [at]: { experts } }), { sd: emoji })))(`${at}.experts.weight`).dtype, wanted)
})

test('slices within a mean and of an expert', async t => {
  const own = await tensorsOf(tiny)
  const slice = (begin: number) => [{ axis: 0, begin, end: begin + 16 }]
  const folder = await assembled(t, recipe({
    'conv_norm_out.bias': {
      average: [
        { checkpoint: 'sd', prefix: 'down_blocks.1.resnets.1.norm1.bias', slice: [{ axis: 0, begin: 0, end: 32 }] },
        { checkpoint: 'sd', prefix: 'down_blocks.1.resnets.1.norm1.bias', slice: [{ axis: 0, begin: 16, end: 48 }], share: 3 },
        { checkpoint: 'sd' },
      ],
    },
    'conv_in': { experts: [{ checkpoint: 'sd' }, { checkpoint: 'sd', slice: slice(8), fit: 'end' }] },
  }))
  const norm = own('down_blocks.1.resnets.1.norm1.bias').floats, plain = own('conv_norm_out.bias').floats
  const made = await tensorsOf(folder)
  t.deepEqual(
    [...made('conv_norm_out.bias').floats], [...plain].map((value, i) => Math.fround(norm[i] / 5 + norm[i + 16] * 3 / 5 + value / 5)),
  )
  const kernel = own('conv_in.weight').floats, each = kernel.length / 32
  t.deepEqual(
    [...made('conv_in.experts.weight').floats.subarray(32 * each)],
    [...kernel.subarray(8 * each, 24 * each), ...kernel.subarray(8 * each, 24 * each)],
  )
})

test('routers start where they are told to', t => {
  const bias = (router: ExpertsLine['router'], count = 4) =>
    [...routerBias({ experts: new Array(count).fill({ checkpoint: 'sd' }), router })]
  const sigmoid = (z: number): number => 1 / (1 + Math.exp(-z))
  t.true(bias(undefined).every(z => Math.abs(sigmoid(z) - 0.25) < 1e-7))
  t.deepEqual(bias({ start: 'mean' }, 1), [128])
  t.deepEqual(bias({ start: 'first' }), [128, -128, -128, -128])
  t.deepEqual(bias({ start: [0, 1, 0.5] }, 3), [-128, 128, 0])
  t.is(new Set(bias({ activation: 'softmax' })).size, 1)
  t.deepEqual(bias({ activation: 'softmax', start: [1, 0] }, 2), [0, -128])
})

const wrong: [string, (recipe: any) => void, ErrorCode, RegExp][] = [
  [
    'no convolution', r => { r.units['down_blocks.0.resnets.0'] = { experts: [{ checkpoint: 'sd' }] } }, 'INVALID_ARGUMENT',
    /recipe\.units\["down_blocks\.0\.resnets\.0"\] to give experts to a convolution/,
  ],
  [
    'a typing error', r => { r.units['down_blocks.0.resnets.0.conv3'] = { experts: [{ checkpoint: 'sd' }] } }, 'INVALID_ARGUMENT',
    /conv3"\].*did you mean "down_blocks\.0\.resnets\.\d\.conv\d"/,
  ],
  [
    'a weight', r => { r.units[`${at}.weight`] = { experts: [{ checkpoint: 'sd' }] } }, 'INVALID_ARGUMENT',
    /conv1\.weight"\] to give experts/,
  ],
  [
    'a linear layer', r => { r.units['time_embedding.linear_1'] = { experts: [{ checkpoint: 'sd' }] } }, 'INVALID_ARGUMENT',
    /linear_1"\] to give experts/,
  ],
  [
    'another shape', r => { r.units[at] = { experts: [{ checkpoint: 'sd' }, { checkpoint: 'sd', prefix: 'conv_in' }] } }, 'TENSOR_SHAPE',
    /conv1"\]\.experts\[1\]/,
  ],
  [
    'an unknown source', r => { r.units[at] = { experts: [{ checkpoint: 'sd', prefix: 'conv_inn' }] } }, 'TENSOR_MISSING',
    /conv_inn\.\w+ .*experts\[0\]/,
  ],
  [
    'two lines', r => { r.units[at] = { experts: [{ checkpoint: 'sd' }] }; r.units['down_blocks.0.0'] = { checkpoint: 'sd' } },
    'INVALID_ARGUMENT', /are in several: .*experts\.weight/,
  ],
  [
    'of what is dropped', r => { r.units[at] = { experts: [{ checkpoint: 'sd' }] }; r.units['down_blocks.0.0'] = { drop: true } },
    'INVALID_ARGUMENT', /conv1"\] to give experts/,
  ],
]
for (const [name, change, code, message] of wrong) {
  test(`experts that cannot be are told at their line: ${name}`, async t => {
    const folder = temporaryFolder(t)
    const value = recipe({})
    change(value)
    const error = await t.throwsAsync(
      assemble(value, { out: path.join(folder, 'out'), checkpoints: { sd: tiny } }), { instanceOf: AsdmError, message },
    )
    t.is(error.code, code)
    t.deepEqual(fs.readdirSync(folder), [])
  })
}

test('the command line knows shipped recipes, and prints JSON', t => {
  const folder = temporaryFolder(t)
  const main = path.join(__dirname, '..', '..', 'lib', 'cli', 'main.js')
  const asdm = (...args: string[]) => spawnSync(process.execPath, [main, 'assemble', ...args], { encoding: 'utf8' })
  const out = path.join(folder, 'out')
  const made = asdm('light-experts', '--out', out, '--checkpoint', `sd=${tiny}`, '--json')
  t.is(made.status, 0, made.stderr)
  const printed = JSON.parse(made.stdout)
  t.is(printed.path, out)
  t.deepEqual(printed.assembly, json(out, 'assembly.json'))
  t.is(printed.assembly.recipe.name, 'light-experts')
  t.true(printed.weights > 100)
  const unknown = asdm('light-expert', '--out', path.join(folder, 'b'), '--checkpoint', `sd=${tiny}`)
  t.is(unknown.status, 1)
  t.regex(unknown.stderr, /shipped recipe.*did you mean "light-experts"\?.*FILE_NOT_FOUND/)
})
