/** What the public index exports, and what each of it takes where all is well. */
import fs from 'node:fs'
import path from 'node:path'
import * as asdm from '../../lib/index'
import { fixture } from '../support/fixtures'

export type Call = (...args: any[]) => unknown

/** What one public name is called with where all is well; each place in it is then replaced by each hostile value. */
export interface Subject { call: Call, args: () => unknown[], construct?: boolean }

export interface Surroundings {
  sd: asdm.StableDiffusion
  disposed: asdm.StableDiffusion
  trainer: asdm.Trainer
  drawings: asdm.Drawings
  folder: string
  png: string
}

const none = (): unknown[] => []
const tensor = (...shape: number[]): asdm.Tensor => ({ data: new Float32Array(shape.reduce((a, b) => a * b)), shape })
const pixels = () => ({ rgba: new Uint8ClampedArray(16 * 16 * 4), width: 16, height: 16 })
const plan = () => ({
  version: 1, rules: [{ inherit: ['mid_block'], when: { mode: 'uniform', every: 2 } }], guidance: { otherwise: 'conditional',
    when: { mode: 'window', from: 0, to: 1 } },
})
const rule = () => ({ inherit: ['mid_block'], warmup: 1, final: 1, window: [0, 1] })
const settings = () => ({ prompt: 'x', negativePrompt: '', seed: 1, steps: 1, sampler: 'ddim', guidanceScale: 1, eta: 0, width: 16,
  height: 16, clipSkip: 0, promptWeighting: false, count: 1, index: 0 })

function recipe(): Record<string, unknown> {
  return { version: 1, name: 'x', checkpoints: { sd: null }, target: { from: 'sd' }, rest: 'sd',
    units: { 'mid_block.attentions.0': { drop: true } } }
}

function scoreReport(): Record<string, unknown> {
  return { units: [{ prefix: 'mid_block.attentions.0', share: 0.1 }] }
}

function evaluation(): Record<string, unknown> {
  return {
    report: { format: 'asdm-evaluation', version: 1, about: {}, settings: {}, images: [{ set: 'prompts', prompt: 'x', seed: 1 }],
      sets: {} }, images: [pixels()],
  }
}

function distillation(): Record<string, unknown> {
  return {
    version: 1, recipe: 'light', styles: ['flat'], batch: 2, accumulate: 1, rate: 1e-3, warmup: 1, size: 32, seed: 0,
    stages: [{ steps: 1, train: ['mid_block'], losses: { task: { weight: 1, minSnr: 5 }, feature: { units: ['mid_block'], loss: 'cosine' } } }],
  }
}

/** Functions, and what they take. */
export function functions({ sd, disposed, folder, png }: Surroundings): Record<string, Subject> {
  const to = (name: string): string => path.join(folder, name)
  const model = fixture('sd15-tiny')
  const context = () => ({ unets: { unet: { config: sd.unet.config, prefixes: new Set(sd.unet.tapNames()) } }, steps: 4,
    stochastic: false })
  const built = (builder: Call): Call => (...args) => {
    const made = builder(...args)
    return typeof made === 'function' ? made(context()) : made
  }
  const lookedAt = (builder: asdm.PlanBuilder): Subject => ({ call: builder as Call, args: () => [context()] })
  const list: Record<string, Subject> = {
    readSettings: { call: asdm.readSettings, args: () => [png] },
    readAlpha: { call: asdm.readAlpha, args: () => [new Uint8Array(fs.readFileSync(png)), { maxPixels: 100_000 }] },
    guidanceEmbedding: { call: asdm.guidanceEmbedding, args: () => [7, 8, 2] },
    createSampler: { call: asdm.createSampler as Call, args: () => ['ddim',
      { ...asdm.createSampler({ _class_name: 'DDIMScheduler' }).config }] },
    samplersFor: { call: asdm.samplersFor as Call, args: () => [{ ...asdm.createSampler({ _class_name: 'DDIMScheduler' }).config }] },
    adaptive: { call: built(asdm.adaptive as Call), args: () => [{ ...rule(), threshold: 0.1, most: 3, probe: 'conv_in' }] },
    combine: { call: built(asdm.combine as Call), args: () => [plan(), asdm.deepcache(2)] },
    deepcache: { call: built(asdm.deepcache as Call), args: () => [2, 0, { warmup: 1 }] },
    extrapolate: { call: asdm.extrapolate, args: () => [0.75] },
    gateGuidance: { call: asdm.gateGuidance as Call, args: () => [0.5, 'conditional'] },
    list: { call: asdm.list as Call, args: () => [{ ...rule(), full: [0, 1] }] },
    mapFeatures: { call: asdm.mapFeatures as Call, args: () => ['a', 'unet', ['mid_block', { from: 'mid_block', to: 'mid_block' }],
      { mutual: true }] },
    phases: { call: asdm.phases as Call, args: () => [{ ...rule(), early: 2, late: 3, split: 0.5 }] },
    quadratic: { call: asdm.quadratic as Call, args: () => [{ ...rule(), every: 2, center: 0, power: 2 }] },
    switchUNet: { call: asdm.switchUNet, args: () => ['light', 0, 0.5] },
    uniform: { call: asdm.uniform as Call, args: () => [{ ...rule(), every: 2 }] },
    preset: { call: built(asdm.preset as Call), args: () => ['fast'] },
    formatPlan: { call: asdm.formatPlan as Call, args: () => [plan()] },
    loadPlan: { call: asdm.loadPlan, args: () => [to('plan.json')] },
    savePlan: { call: asdm.savePlan as Call, args: () => [plan(), to('saved.json')] },
    expandPlan: { call: asdm.expandPlan as Call, args: () => [plan(), 4, true, 'plan'] },
    parsePlan: { call: asdm.parsePlan, args: () => [plan(), 'plan'] },
    scoreUnits: {
      call: asdm.scoreUnits as Call,
      args: () => [to('none'), { prompts: ['a', 'b'], count: 1, seed: 1, steps: 1, guidanceScale: 1, sampler: 'ddim', height: 8,
        width: 8, units: ['mid_block'], signal: undefined, onProgress: () => {}, variant: 'fp16', threads: 1, dtype: 'fp32',
        device: 'cpu', cpu: 'auto' }],
    },
    dropRecipe: { call: asdm.dropRecipe as Call, args: () => [scoreReport(), 0.1] },
    assemble: { call: asdm.assemble as Call, args: () => [recipe(), { checkpoints: { sd: to('none') }, out: to('assembled'),
      signal: undefined, onProgress: () => {} }] },
    distill: {
      call: asdm.distill as Call,
      args: () => [{ ...distillation(), teacher: to('none'), data: to('none'), out: to('distilled'), stopAt: 1, threads: 1, cpu: 'auto',
        signal: undefined, onProgress: () => {}, onWarning: () => {} }],
    },
    loadRecipe: { call: asdm.loadRecipe, args: () => [to('recipe.json')] },
    parseRecipe: { call: asdm.parseRecipe, args: () => [recipe(), 'recipe'] },
    convertModel: {
      call: asdm.convertModel as Call,
      args: () => [to('none'), to('converted'), { to: 'folder', dtype: 'fp16', variant: 'fp16', config: model, tokenizer: model,
        overwrite: false, signal: undefined, onProgress: () => {} }],
    },
    exportOnnx: {
      call: asdm.exportOnnx as Call,
      args: () => [to('none'), to('x.onnx'), { part: 'unet', batch: 1, height: 8, width: 8, length: 7, clipSkip: 0, dtype: 'fp32',
        externalData: false, variant: 'fp16', config: model, overwrite: true }],
    },
    evaluate: {
      call: asdm.evaluate as Call,
      args: () => [disposed, { prompts: ['a'], count: 1, seed: 1, steps: 1, guidanceScale: 1, sampler: 'ddim', eta: 0, width: 32,
        height: 32, drawings: undefined, reference: evaluation(), judge: sd.vae, about: { a: 1 }, onProgress: () => {} }],
    },
    loadEvaluation: { call: asdm.loadEvaluation, args: () => [to('evaluation')] },
    saveEvaluation: { call: asdm.saveEvaluation as Call, args: () => [evaluation(), to('evaluation'), evaluation()] },
    psnr: { call: asdm.psnr, args: () => [pixels(), pixels()] },
    ssim: { call: asdm.ssim, args: () => [pixels(), pixels()] },
    contactSheet: { call: asdm.contactSheet as Call, args: () => [evaluation(), evaluation()] },
    pullModel: {
      call: asdm.pullModel as Call,
      args: () => ['owner/name', { revision: 'main', variant: 'fp16', endpoint: 'http://127.0.0.1:1', token: false, cache: to('cache'),
        offline: true, verify: true, onProgress: () => {} }],
    },
    guide: { call: asdm.guide, args: () => [tensor(2, 4, 8, 8), 7.5] },
    // What builders give is called by others too.
    'what deepcache gives': lookedAt(asdm.deepcache(2)),
    'what combine gives': lookedAt(asdm.combine(asdm.deepcache(2), asdm.extrapolate())),
    'what preset gives': lookedAt(asdm.preset('fast')),
    'what adaptive gives': lookedAt(asdm.adaptive({ threshold: 0.1, inherit: ['mid_block'] })),
  }
  return list
}

const scheduler = () => ({ _class_name: 'DDIMScheduler', beta_start: 0.00085, beta_end: 0.012, trained_betas: null,
  num_train_timesteps: 1000 })

/** Classes: their constructors, and what their static and other methods take. `undefined` for what callers have no business with. */
export function classes({ sd, trainer, drawings, folder }: Surroundings): Record<string, { make?: () => object, members: Record<string,
  (() => unknown[]) | undefined> }> {
  const load = () => [path.join(folder, 'none'), { variant: 'fp16', packedCache: true, signal: undefined, onProgress: () => {},
    onWarning: () => {}, dtype: 'fp32', threads: 1, device: 'auto', cpu: 'auto' }]
  const component = { loadWeights: undefined, trim: none, dispose: undefined, packedCache: none }
  const image = {
    'png': none, 'toBuffer': () => ['png', { quality: 3 }], 'toDataURL': () => ['png', { quality: 3 }], 'texts': undefined,
    'save': () => [path.join(folder, 'saved.png'), { format: 'png', folders: true, quality: 3 }],
    'new': () => [new Uint8ClampedArray(16 * 16 * 4), 16, 16],
  }
  const sampler = {
    new: () => [scheduler()], name: none, trainTimesteps: none, stochastic: none, multistep: undefined, timesteps: none, sigmas: none,
    initNoiseSigma: none, setTimesteps: () => [4, { strength: 1 }], scaleInput: () => [tensor(1, 4, 8, 8), 0], needsNoise: () => [0,
      { eta: 0.5 }],
    step: () => [tensor(1, 4, 8, 8), 0, tensor(1, 4, 8, 8), { noise: tensor(1, 4, 8, 8), eta: 0.5 }], addNoise: () => [tensor(1, 4, 8,
      8), tensor(1, 4, 8, 8), 0],
    addNoiseAt: () => [tensor(1, 4, 8, 8), tensor(1, 4, 8, 8), [1]], getVelocity: () => [tensor(1, 4, 8, 8), tensor(1, 4, 8, 8), [1]],
    levels: undefined, course: undefined, checkTrained: undefined, checkInput: undefined, options: undefined,
    order: none, draws: undefined, forget: undefined, lay: undefined, advance: undefined,
  }
  const ready = (name: string) => (): asdm.Sampler => {
    const made = asdm.createSampler(name, { _class_name: 'DDIMScheduler' })
    made.setTimesteps(4)
    return made
  }
  const samplers = Object.fromEntries(asdm.samplerNames.map(name =>
    [ready(name)().constructor.name, {
      make: ready(name), members: { new: sampler.new, step: sampler.step, scaleInput: sampler.scaleInput },
    }]))
  // The rest is the base's, which is swept once.
  return {
    AsdmError: { members: { new: () => ['INVALID_ARGUMENT', 'x', { cause: 1 }] } },
    StableDiffusion: {
      make: () => sd,
      members: {
        load: () => [path.join(folder, 'none'), { variant: 'fp16', revision: 'main', tokenizer: folder, config: folder,
          unets: { light: folder }, taesd: path.join(folder, 'none'), embeddings: [{ path: path.join(folder, 'none.safetensors'), token: 'x' }],
          loras: [{ path: path.join(folder, 'none.safetensors'), weight: 1, textWeight: 1 }], loraFolder: folder, packedCache: true,
          download: false, onProgress: () => {}, onDownload: () => {},
          onWarning: () => {}, dtype: 'fp32', threads: 1, device: 'auto', cpu: 'auto' }],
        new: () => [{}, {}, {}], sizes: none, samplers: none, queue: none, dispose: undefined,
        generate: () => [{ ...request(), loras: [{ path: path.join(folder, 'none.safetensors'), weight: 1, textWeight: 1 }], image: undefined, mask: undefined, latents: tensor(1, 4, 16, 16), onProgress: () => {},
          signal: undefined, preview: false, seed: [1], seeds: 'per-image', index: 0, priority: 1,
          buffer: true, pauseTimeout: 1000 }],
        steps: () => [{ ...request(), image: { data: new Uint8Array(32 * 32 * 3), width: 32, height: 32 },
          mask: { data: new Uint8Array(32 * 32), width: 32, height: 32 }, fit: 'cover', keepOutside: true, strength: 1, from: 'inpaint',
          plan: plan() }],
      },
    },
    GeneratedImage: {
      make: () => new asdm.GeneratedImage(new Uint8ClampedArray(16 * 16 * 4), 16, 16, settings() as any),
      members: { ...image, 'seed': none, 'toJSON': none, 'from': () => [{ ...pixels(), settings: settings() }],
        'new': () => [new Uint8ClampedArray(16 * 16 * 4), 16, 16, settings()] },
    },
    RgbaImage: { make: () => new asdm.RgbaImage(new Uint8ClampedArray(16 * 16 * 4), 16, 16), members: image },
    Preview: { make: () => new asdm.Preview(new Uint8ClampedArray(16 * 16 * 4), 16, 16), members: image },
    UNet: {
      make: () => sd.unet,
      members: {
        ...component, load, 'new': () => [{}, {}, {}], 'part': undefined, 'tapNames': none, 'describe': () => [{ batch: 2, height: 8,
          width: 8, length: 7 }],
        'forward': () => [{ sample: tensor(1, 4, 8, 8), timestep: 1, encoderHiddenStates: tensor(1, 7,
          sd.unet.config.crossAttentionDim), taps: ['mid_block'], signal: undefined }],
        'createRun': () => [{ batch: 2, height: 8, width: 8, length: 7 }, [{ inherit: [] }, { inherit: [{ prefix: 'mid_block',
          feature: 'output' }] }], { extrapolate: 0.5 }, []],
      },
    },
    VAE: {
      make: () => sd.vae,
      members: {
        ...component, load, 'new': () => [{}, {}, {}], 'factor': none, 'hasEncoder': none, 'decoderPart': undefined, 'encoderPart': undefined,
        'encodeOwned': undefined, 'share': undefined, 'shareEncoder': undefined,
        'describe': () => [{ batch: 1, height: 8, width: 8 }], 'decode': () => [tensor(1, 4, 8, 8), { signal: undefined, tiling: 'auto' }],
        'encode': () => [tensor(1, 3, 16, 16), { signal: undefined, tiling: true }],
      },
    },
    TextEncoder: {
      make: () => sd.textEncoder,
      members: {
        ...component, load, new: () => [{}, {}, {}], part: undefined, describe: () => [{ batch: 1, length: 77 }],
        encode: () => [[new Int32Array(77)], { clipSkip: 0, signal: undefined }],
      },
    },
    Tokenizer: {
      make: () => sd.tokenizer,
      members: {
        new: () => [{}], load: () => [path.join(folder, 'none')], default: () => [{ padToken: '!' }], encode: () => ['a cat'],
        encodeWithDetails: () => ['a cat'],
        frame: () => [[1, 2]], withEmbeddings: undefined, isSpecial: undefined, tokenize: () => ['a cat'], take: () => ['a cat', 3], decode: () => [[1, 2], { specialTokens: true }],
      },
    },
    Sampler: { make: ready('ddim'), members: sampler },
    ...samplers,
    Trainer: {
      make: () => trainer,
      members: {
        load: () => [path.join(folder, 'none'), { losses: [{ name: 'task', unit: 'mid_block', loss: 'squared', adapter: { from: 2, to: 2 } }],
          train: ['mid_block'], average: true, textGradient: true, threads: 1, cpu: 'auto', signal: undefined }],
        new: () => [{}, [], {}], open: undefined, measure: undefined, reaches: undefined, cpu: none, steps: none,
        memory: () => [{ batch: 1, height: 8, width: 8, length: 7 }], accumulate: () => [batch(), { signal: undefined }],
        evaluate: () => [batch(), { signal: undefined }], firstNonFinite: () => [batch(), { signal: undefined }],
        update: () => [{ rate: 1e-3, beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0, clip: 1, keep: 0.9, signal: undefined }],
        tensors: () => ['weight', 'x.', () => true], rows: () => ['weight', 'conv_in.bias', undefined], read: () => ['weight', 'conv_in.bias'],
        write: () => ['weight', 'conv_in.bias', new Float32Array(trainer.weight('conv_in.bias').shape)], begin: none,
        restore: () => ['weight', path.join(folder, 'none.safetensors'), '', () => true, undefined], resume: () => [0, undefined],
        weight: () => ['conv_in.bias'], dispose: undefined,
      },
    },
    TorchGenerator: { make: () => new asdm.TorchGenerator(1), members: { new: () => [1], seed: none, manualSeed: () => [1],
      randn: () => [[1, 4, 8, 8]], randnSliced: undefined } },
    Drawings: { make: () => drawings, members: { new: () => [folder, 1, 1, [], {}, '', 'x'], open: () => [path.join(folder, 'none')],
      pixels: () => [[0]], ofStyle: () => ['x'], features: undefined } },
  }
}

const request = () => ({
  prompt: ['x'], negativePrompt: '', guidanceScale: 2, steps: 1, sampler: 'ddim', eta: 0, seed: 1, width: 32, height: 32, count: 1,
  clipSkip: 0,
  promptWeighting: true, longPrompts: true, tiling: 'auto', loras: [{ path: 'none.safetensors', weight: 1, textWeight: 1 }],
})

/** Of a training of `sd15-tiny`. */
const batch = () => ({
  sample: tensor(1, 4, 8, 8), timesteps: [1], encoderHiddenStates: tensor(1, 7, 48), targets: { task: tensor(1, 4, 8, 8) },
  weights: { task: [1] },
})

/** A model and files to call things with, in the folder. */
export async function surroundings(folder: string): Promise<Surroundings> {
  const sd = await asdm.StableDiffusion.load(fixture('sd15-tiny'), { threads: 1 })
  // What would take long is asked of a model that refuses once all is checked.
  const disposed = await asdm.StableDiffusion.load(fixture('sd15-tiny'), { threads: 1 })
  await disposed.dispose()
  const encoded = await new asdm.RgbaImage(new Uint8ClampedArray(16 * 16 * 4), 16, 16).png()
  const png = path.join(folder, 'x.png')
  fs.writeFileSync(png, encoded)
  const bytes = Buffer.alloc(3)
  fs.writeFileSync(path.join(folder, 'pixels.bin'), bytes)
  fs.writeFileSync(path.join(folder, 'drawings.json'), JSON.stringify({
    format: 'asdm-drawings', version: 1, width: 1, height: 1, drawings: [{ style: 'x', name: 'x', caption: 'x', heldOut: false }],
    evaluation: { seen: [0], heldOut: [] }, pixels: { file: 'pixels.bin', sha256: '0'.repeat(64) },
  }))
  const trainer = await asdm.Trainer.load(path.join(fixture('sd15-tiny'), 'unet'), { threads: 1 })
  return { sd, disposed, trainer, folder, png, drawings: await asdm.Drawings.open(folder) }
}
