import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { exportOnnx } from '../../lib/onnx/export'
import { readSafetensorsHeader } from '../../lib/assembly/safetensors'
import { fixture } from '../support/fixtures'
import { count, numbers, readOnnx } from '../support/onnx'
import { temporaryFolder } from '../support/temporary'

test('every weight is there once, as it is stored or transposed', async t => {
  const folder = temporaryFolder(t)
  const written = await exportOnnx(fixture('sd15-tiny'), path.join(folder, 'unet.onnx'), { part: 'unet', batch: 2, height: 8, width: 8, length: 77 })
  const model = readOnnx(written.path)
  t.is(model.opset, 17)
  t.is(model.nodes.length, written.nodes)
  const file = fixture('sd15-tiny', 'unet', 'diffusion_pytorch_model.safetensors')
  const { tensors } = await readSafetensorsHeader(file)
  const bytes = fs.readFileSync(file)
  for (const [name, { dtype, shape, begin, end }] of tensors) {
    const { data, shape: own } = model.constants.get(name)!
    const stored = numbers(bytes.subarray(begin, end), { F32: 1, F16: 10, BF16: 16 }[dtype]!, count(shape))
    const turned = shape.length === 2 && own[0] === shape[1] && own[1] === shape[0]
    const at = turned ? (i: number): number => (i % own[1]) * own[0] + Math.floor(i / own[1]) : (i: number): number => i
    t.true(data.every((value, i) => value === stored[at(i)]), name)
  }
})
