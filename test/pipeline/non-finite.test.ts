import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { readSafetensorsHeader, writeSafetensors } from '../../lib/files/safetensors'
import type { Warning } from '../../lib/components/warnings'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'

/** Rewrites a weight file with one tensor of the largest floats there are nearly: finite, but what is computed of them overflows. */
async function enlarge(file: string, enlarged: string): Promise<void> {
  const bytes = fs.readFileSync(file)
  const { tensors } = await readSafetensorsHeader(file)
  if (!tensors.has(enlarged)) throw new Error(`no ${enlarged} in ${file}`)
  await writeSafetensors(file, [...tensors].map(([name, { dtype, shape, begin, end }]) => name === enlarged
    ? { name, dtype: 'F32', shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(3e38) }
    : { name, dtype, shape, data: bytes.subarray(begin, end) }))
}

const image = { width: 64, height: 64, data: new Uint8Array(64 * 64 * 3).map((_, i) => i % 251) }

for (const [part, file, weight, options, expected] of [
  ['the text encoder', 'text_encoder/model.safetensors', 'final_layer_norm.weight', {}, { part: 'textEncoder' }],
  ['the UNet', 'unet/diffusion_pytorch_model.safetensors', 'conv_norm_out.weight', {}, { part: 'unet', step: 1 }],
  ['the VAE', 'vae/diffusion_pytorch_model.safetensors', 'decoder.conv_norm_out.weight', {}, { part: 'vae' }],
  ["the VAE's encoder", 'vae/diffusion_pytorch_model.safetensors', 'encoder.conv_norm_out.weight', { image }, { part: 'vaeEncoder' }],
] as const)
  test(`${part} overflows with a warning that names it`, async t => {
    const folder = path.join(temporaryFolder(t), 'model')
    fs.cpSync(repoPath('models', 'emoji'), folder, { recursive: true })
    await enlarge(path.join(folder, file), weight)
    const warnings: Warning[] = []
    const sd = await StableDiffusion.load(folder, { threads: 2, onWarning: warning => warnings.push(warning) })
    t.teardown(() => sd.dispose())
    await sd.generate({ prompt: 'apple', steps: 2, seed: 1, guidanceScale: 1, ...options })
    const found = warnings.filter(({ code }) => code === 'NON_FINITE_OUTPUT')
    t.is(found.length, 1)
    t.like(found[0], expected)
    t.regex(found[0].message, /^The output of .* holds NaN or infinity/)
  })

test('a sound model gives no such warning', async t => {
  const warnings: Warning[] = []
  const sd = await StableDiffusion.load(repoPath('models', 'emoji'), { threads: 2, onWarning: warning => warnings.push(warning) })
  t.teardown(() => sd.dispose())
  await sd.generate({ prompt: 'apple', steps: 2, seed: 1, image })
  t.deepEqual(warnings, [])
})
