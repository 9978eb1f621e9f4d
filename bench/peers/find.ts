import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import type { ContenderSpec } from '../../lib/measure/contender'
import type { PeerRequest, Peers } from '../../lib/measure/context'
import { packageRoot } from '../../lib/files/package-root'
import { exportOnnx } from '../../lib/onnx/export'

const folder = path.join(packageRoot()!, 'bench', 'peers')

/** How peers are looked for. */
export interface PeerOptions {
  /** The Python to try PyTorch with. */
  python: string
  /** Names of peers to leave out. */
  without: readonly string[]
}

/** Finds who else on this machine can run a part; who is not there is said with the reason. */
export async function findPeers(request: PeerRequest, options: PeerOptions): Promise<Peers> {
  const peers: Peers = { found: [], absent: [] }
  if (request.part === 'text-encoder') return peers
  for (const [name, find] of [['onnxruntime', onnxruntime], ['PyTorch', pytorch]] as const) {
    if (options.without.includes(name)) {
      peers.absent.push({ name, absent: 'it was left out by --without.' })
      continue
    }
    const found = await find(request, options)
    if (typeof found === 'string') peers.absent.push({ name, absent: found })
    else peers.found.push(...found)
  }
  return peers
}

/** onnxruntime-node on our own export of the graph. */
async function onnxruntime({ part, model, work, threads, input, dtypes }: PeerRequest): Promise<ContenderSpec[] | string> {
  if (!dtypes.includes('fp32')) return 'it runs in fp32, which is not measured.'
  if (!fs.existsSync(path.join(folder, 'node_modules', 'onnxruntime-node')))
    return 'it is not installed; npm run bench:peers installs it, without install scripts.'
  const file = path.join(work, `${part}-${path.basename(model)}-${Object.values(input).join('x')}.onnx`)
  // Kept from run to run, unless the model's files are newer.
  const weights = fs.readdirSync(path.join(model, part === 'unet' ? 'unet' : 'vae')).map(name =>
    fs.statSync(path.join(model, part === 'unet' ? 'unet' : 'vae', name)).mtimeMs)
  if (!fs.existsSync(file) || fs.statSync(file).mtimeMs < Math.max(...weights))
    await exportOnnx(model, file, { part: part === 'unet' ? 'unet' : 'vae_decoder', ...input, overwrite: true })
  return [{
    name: 'onnxruntime', dtype: 'fp32', ours: false, command: process.execPath,
    args: [path.join(folder, 'ort_worker.mjs'), file, String(threads)],
  }]
}

/** PyTorch's CPU build: fp32, and bf16 with channels last, which is its faster layout there. */
async function pytorch({ part, model, threads, dtypes }: PeerRequest, { python }: PeerOptions): Promise<ContenderSpec[] | string> {
  const probe = spawnSync(python, ['-c', 'import torch, safetensors; print(torch.__version__)'], { encoding: 'utf8', timeout: 60_000 })
  if (probe.error !== undefined)
    return `${python} does not run (${(probe.error as NodeJS.ErrnoException).code ?? probe.error.message}); --python names another.`
  if (probe.status !== 0)
    return `${python} has no torch and safetensors (${probe.stderr.trim().split('\n').at(-1) ?? ''}); --python names another.`
  const [script, weights] = part === 'unet' ? ['torch_unet.py', 'unet'] : ['torch_vae.py', 'vae']
  const spec = (dtype: string, more: string[]): ContenderSpec => ({
    name: 'PyTorch', dtype, ours: false, command: python, args: [
      path.join(folder, script), path.join(model, weights), '--threads', String(threads), '--dtype', dtype, ...more,
    ],
  })
  return [
    ...dtypes.includes('fp32') ? [spec('fp32', [])] : [],
    ...dtypes.some(dtype => dtype !== 'fp32') ? [spec('bf16', ['--channels-last'])] : [],
  ]
}
