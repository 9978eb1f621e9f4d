import path from 'node:path'
import { AsdmError } from '../base/errors'
import { shownPath } from './files'

/** File names that PyTorch gives to pickles. */
const pickleExtensions = ['.bin', '.ckpt', '.pt', '.pth', '.pkl']

export function isPickleName(file: string): boolean {
  return pickleExtensions.includes(path.extname(file).toLowerCase())
}

/** Do these first bytes of a file look like a pickle: PyTorch's zip container, or the bare stream of older versions? */
export function isPickleStart(bytes: Uint8Array): boolean {
  const [first, second = 0, third, fourth] = bytes
  const zip = first === 0x50 && second === 0x4b && third === 0x03 && fourth === 0x04
  const stream = first === 0x80 && second >= 2 && second <= 5 && (third === 0x8a || third === 0x7d || third === 0x63)
  return zip || stream
}

/** The refusal of a pickle: why, and how to convert it. */
export function pickleError(file: string): AsdmError {
  const name = path.basename(file)
  const target = `${name.slice(0, name.length - path.extname(name).length)}.safetensors`
  const script = 'import sys, torch; from safetensors.torch import save_file; '
    + "d = torch.load(sys.argv[1], map_location='cpu', weights_only=True); d = d.get('state_dict', d); "
    + 'save_file({k: v.clone().contiguous() for k, v in d.items() if torch.is_tensor(v)}, sys.argv[2])'
  return new AsdmError('UNSUPPORTED_FORMAT',
    `Expected weights as safetensors but ${shownPath(file)} is a Python pickle, which is never read because opening a pickle can run any `
    + 'code it holds; '
    + `convert it once with: python -c "${script}" ${JSON.stringify(name)} ${JSON.stringify(target)}`)
}
