import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { findSd, makeImage, sdArguments, sdModel, sdPeer } from '../../bench/peers/sd'
import { isSdHelp, parseSdOutput, sdVersion } from '../../bench/peers/sd-output'
import { imageTask, type ImageTask } from '../../lib/measure/images'
import { readSafetensorsHeader } from '../../lib/files/safetensors'
import { encodePng } from '../../lib/image/png/encode'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { aborts } from '../support/aborts'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

/** What `sd-cli` of master-827-97d2990 printed for an image of 128x128, without the lines that say nothing of times. */
const recorded = [
  "[INFO ] stable-diffusion.cpp:713  - loading model from 'm'",
  '\r  |##########                                        | 212/1130 - 1.08GB/s\x1b[K\r  '
  + '|##################################################| 1130/1130 - 1.24GB/s\x1b[K',
  '[INFO ] model_loader.cpp:1304 - loading tensors completed, taking 1.60s (read: 1.30s, memcpy: 0.00s, convert: 0.01s, '
  + 'copy_to_backend: 0.00s)',
  '[INFO ] stable-diffusion.cpp:5628 - generate_image 128x128',
  '[INFO ] stable-diffusion.cpp:4380 - sampling using Euler method',
  '[INFO ] stable-diffusion.cpp:5296 - get_learned_condition completed, taking 0.46s',
  '[INFO ] stable-diffusion.cpp:5679 - generating image: 1/1 - seed 7',
  '\r  |=========================>                        | 1/2 - 1.76s/it\x1b[K\r  |==================================================| '
  + '2/2 - 1.70s/it\x1b[K',
  '[INFO ] stable-diffusion.cpp:5711 - sampling completed, taking 3.46s',
  '[INFO ] stable-diffusion.cpp:5723 - generating 1 latent images completed, taking 3.46s',
  '[INFO ] stable-diffusion.cpp:5321 - decoding 1 latents',
  '[INFO ] stable-diffusion.cpp:5387 - latent 1 decoded, taking 3.33s',
  '[INFO ] stable-diffusion.cpp:5391 - decode_first_stage completed, taking 3.33s',
  '[INFO ] stable-diffusion.cpp:5861 - generate_image completed in 7.25s',
  "[INFO ] main.cpp:490  - save result image 0 to 'out.png' (success)",
].join('\n')

const version = 'stable-diffusion.cpp version master-827-97d2990, commit 97d2990\n'

test('times are read from what stable-diffusion.cpp prints', t => {
  t.deepEqual(parseSdOutput(recorded, 2), { load: 1.6, text: 0.46, steps: [1.76, 1.7], sampling: 3.46, decode: 3.33 })
  // Fast steps come as steps per second, colours may be on, and bars of loading in the same unit are none of steps.
  const fast = recorded.replace('1.70s/it', '4.00it/s').replace('1.24GB/s', '812.00it/s').replaceAll('[INFO ]', '\x1b[32m[INFO ]\x1b[0m')
  t.deepEqual((parseSdOutput(fast, 2) as { steps: number[] }).steps, [1.76, 0.25])
  for (const [text, steps, missing] of [
    ['', 2, /no sampling/], [
      recorded, 3, /no time for each of 3 steps/,
    ], [recorded, 1, /no time for each of 1 steps/], [recorded.replace('1.70s/it', '0.00s/it'), 2, /no time for each/],
    [
      recorded.replace('decode_first_stage', 'x'), 2, /no time of the decoder/,
    ], [recorded.replace('get_learned_condition', 'x'), 2, /no time of the text encoder/],
    [recorded.replace('sampling completed', 'sampling failed'), 2, /no sampling/],
  ] as [string, number, RegExp][]) t.regex(parseSdOutput(text, steps) as string, missing)
})

test('the version tells stable-diffusion.cpp from others of the name', t => {
  t.is(sdVersion(version), 'master-827-97d2990')
  t.is(sdVersion('sd 1.0.0\n'), undefined)
  t.true(isSdHelp('  --sampling-method, --cfg-scale --rng --vae-tiling'))
  t.false(isSdHelp('Usage: sd [OPTIONS] <FIND> <REPLACE_WITH> [FILES]...'))
})

const posix = process.platform === 'win32' ? test.skip : test

/** A program that answers --version and --help, and else runs `body` with the value of an option by `option(name)`. */
function program(folder: string, name: string, body: string, { told = version, help = '--eager-load' } = {}): string {
  fs.mkdirSync(folder, { recursive: true })
  const file = path.join(folder, name)
  fs.writeFileSync(file, `#!${process.execPath}
const fs = require('node:fs')
const args = process.argv.slice(2), option = name => args[args.indexOf(name) + 1]
if (args[0] === '--version') process.stdout.write(${JSON.stringify(told)})
else if (args[0] === '--help') process.stdout.write(${JSON.stringify(help)})
else { ${body} }
`, { mode: 0o755 })
  return file
}

posix('the binary is found on the PATH or by name, and must be the right one', t => {
  const folder = temporaryFolder(t)
  const [a, b] = [path.join(folder, 'a'), path.join(folder, 'b')]
  const other = program(a, 'sd', '', { told: 'sd 1.0.0\n', help: 'find and replace' })
  const both = [a, '', b].join(path.delimiter)
  t.regex(findSd(undefined, b) as string, /no sd-cli or sd on the PATH/)
  t.is(findSd(undefined, both), `${other} is another program; --sd names another.`)
  const right = program(b, 'sd', '')
  t.like(findSd(undefined, both), { file: right, version: 'master-827-97d2990', help: '--eager-load\n' })
  // Builds of old tell no version; sd-cli is the newer name.
  const cli = program(a, 'sd-cli', '', { told: '', help: '--sampling-method --cfg-scale --vae-tiling --rng' })
  t.like(findSd(undefined, both), { file: cli, version: 'unknown' })
  t.like(findSd(right, ''), { file: right })
  t.like(findSd('sd', both), { file: right })
  t.regex(findSd(path.join(folder, 'none'), both) as string, /none does not run/)
  t.regex(findSd('other', both) as string, /no other on the PATH/)
})

const task: ImageTask = imageTask('sd15', 16, {
  _class_name: 'PNDMScheduler', beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear', skip_prk_steps: true,
})

test('the image is the same for all: Euler over even steps, of the checkpoint\'s noise', t => {
  t.deepEqual(task.sampler, {
    _class_name: 'EulerDiscreteScheduler', beta_start: 0.00085, beta_end: 0.012, beta_schedule: 'scaled_linear',
    timestep_spacing: 'linspace',
  })
  t.is(task.steps, 2)
  t.like(imageTask('emoji', 64, {}), { steps: 20, sampler: undefined })
  const args = sdArguments({ help: '' }, 'm', task, 'o.png', 3).join(' ')
  for (const part of [
    '--model m', '--seed 7', '--steps 2', '--cfg-scale 7.5', '--width 16', '--sampling-method euler --scheduler discrete --rng cpu',
    '--threads 3', '--output o.png',
  ]) t.true(args.includes(part), part)
  t.false(args.includes('--eager-load'))
  t.true(sdArguments({ help: '  --eager-load  load' }, 'm', task, 'o.png', 3).includes('--eager-load'))
})

/** Writes an image of this size with a gradient, prints `text`, and lives long enough for its memory to be seen. */
async function painter(folder: string, text: string, size = 16): Promise<string> {
  const rgba = Uint8ClampedArray.from({ length: 4 * size * size }, (_, i) => (i % 4 === 3 ? 255 : i % 251))
  const png = path.join(folder, 'gradient.png')
  fs.writeFileSync(png, await encodePng(rgba, size, size))
  return program(
    folder, 'sd-cli',
    `process.stdout.write(${JSON.stringify(text)}); fs.copyFileSync(${JSON.stringify(png)}, option('--output')); `
    + 'fs.writeFileSync(option(\'--output\') + \'.args\', args.join(\' \')); setTimeout(() => {}, 500)',
  )
}

posix('a run gives the image, times and memory; one that fails says why', async t => {
  const folder = temporaryFolder(t)
  const out = path.join(folder, 'out.png')
  const run = (file: string, signal?: AbortSignal) => makeImage({ file, version: '', help: '' }, ['--output', out], task, out, signal)
  const made = await run(await painter(folder, recorded))
  t.like(made, { loadMs: 1600, phases: { text: 460, denoise: 3460, step: 1700, decode: 3330 } })
  t.like(made.image, { width: 16, height: 16 })
  t.true(process.platform !== 'linux' || (made.peakBytes > 1e6 && made.peakBytes < 1e9), String(made.peakBytes))
  for (const [body, said] of [
    [
      'console.log("[ERROR] model_loader.cpp:1 - failed to open text_encoder_2"); console.error("[ERROR] a.cpp:1 - no memory"); '
      + 'process.exit(1)',
      /ended with code 1: \[ERROR\] a\.cpp:1 - no memory$/,
    ],
    [
      'process.kill(process.pid, "SIGKILL"); setInterval(() => {}, 1000)', /ended with SIGKILL/,
    ], [`process.stdout.write(${JSON.stringify(recorded)})`, /wrote none/], ['console.log("hello")', /printed no sampling/],
  ] as [string, RegExp][]) await t.throwsAsync(run(program(folder, 'sd-cli', body)), { code: 'INTERNAL', message: said })
  await t.throwsAsync(run(path.join(folder, 'none')), { code: 'INTERNAL', message: /ENOENT/ })
})

posix('an abort ends the process', async t => {
  const folder = temporaryFolder(t)
  const controller = new AbortController()
  const pid = path.join(folder, 'pid')
  const file = program(folder, 'sd-cli', `fs.writeFileSync(${JSON.stringify(pid)}, String(process.pid)); setInterval(() => {}, 1000)`)
  const making = makeImage({ file, version: '', help: '' }, [], task, path.join(folder, 'out.png'), controller.signal)
  while (!fs.existsSync(pid) || fs.readFileSync(pid, 'utf8') === '') await new Promise(resolve => setTimeout(resolve, 20))
  controller.abort()
  await aborts(t, making)
  t.throws(() => process.kill(Number(fs.readFileSync(pid, 'utf8')), 0), { code: 'ESRCH' })
  await aborts(t, makeImage({ file, version: '', help: '' }, [], task, path.join(folder, 'out.png'), controller.signal))
})

test('weights are handed over under the names that published files have', async t => {
  const folder = temporaryFolder(t)
  const checkpoint = await openCheckpoint(fixture('sd15-tiny'))
  const again = async (): Promise<string> => (await sdModel(checkpoint, path.join(folder, 'm'))).folder
  const given = await again()
  const original = async (part: 'unet' | 'vae' | 'textEncoder'): Promise<string[]> =>
    [...(await readSafetensorsHeader(checkpoint[part].weights[0].file)).tensors.keys()].sort()
  const written = async (file: string): Promise<string[]> =>
    [...(await readSafetensorsHeader(path.join(given, file))).tensors.keys()].sort()
  t.deepEqual(await written('unet/diffusion_pytorch_model.safetensors'), await original('unet'))
  t.deepEqual(await written('vae/diffusion_pytorch_model.safetensors'), await original('vae'))
  t.true((await written('text_encoder/model.safetensors')).every(name => name.startsWith('text_model.')))

  // Whatever the files were, the folder is the same model, byte for byte.
  const bare = {
    ...checkpoint,
    textEncoder: {
      ...checkpoint.textEncoder,
      weights: checkpoint.textEncoder.weights.map((weight, i) =>
        ({ ...weight, file: i === 0 ? path.join(folder, 'copy.safetensors') : weight.file })),
    },
  }
  fs.copyFileSync(checkpoint.textEncoder.weights[0].file, path.join(folder, 'copy.safetensors'))
  const { folder: copied } = await sdModel(bare, path.join(folder, 'copied'))
  const bytesOf = (file: string, begin: number, end: number): Buffer => fs.readFileSync(file).subarray(begin, end)
  const { tensors } = await readSafetensorsHeader(path.join(copied, 'text_encoder', 'model.safetensors'))
  t.is(tensors.size, checkpoint.textEncoder.weights.length)
  for (const { name, file, begin, end } of checkpoint.textEncoder.weights) {
    const found = tensors.get(`text_model.${name}`)!
    t.true(bytesOf(path.join(copied, 'text_encoder', 'model.safetensors'), found.begin, found.end).equals(bytesOf(file, begin, end)), name)
  }
  // A second time everything is there.
  t.is(await again(), given)
})

posix('models of other sizes are refused with the reason, and the peer takes the model\'s prediction', async t => {
  const folder = temporaryFolder(t)
  const file = await painter(folder, recorded)
  const checkpoint = await openCheckpoint(fixture('sd15-tiny'))
  const request = { checkpoint, work: path.join(folder, 'work'), threads: 1 }
  t.regex((await sdPeer(request, file)).absent[0].absent, /published sizes of UNets only/)
  t.regex((await sdPeer(request, path.join(folder, 'none'))).absent[0].absent, /does not run/)
  const config = {
    ...checkpoint.unet.config, blockOutChannels: [320, 640, 1280, 1280], crossAttentionDim: 768, layersPerBlock: [2, 2, 2, 2],
  }
  for (const [prediction, said] of [['epsilon', 'eps'], ['v_prediction', 'v']]) {
    const { found: [peer], absent } = await sdPeer(
      {
        ...request,
        checkpoint: {
          ...checkpoint, unet: { ...checkpoint.unet, config },
          schedulerConfig: { ...checkpoint.schedulerConfig, prediction_type: prediction },
        },
      },
      file,
    )
    t.deepEqual(absent, [])
    t.like(peer, { name: 'stable-diffusion.cpp', version: 'master-827-97d2990' })
    const out = path.join(folder, `${prediction}.png`)
    t.is((await peer.make(task, out, undefined)).phases.step, 1700)
    t.regex(fs.readFileSync(`${out}.args`, 'utf8'), new RegExp(`--eager-load --prediction ${said}$`))
  }
})
