import { encodePng } from '../image/png/encode'
import { StableDiffusion } from '../stable-diffusion'
import type { DistillSettings } from './distill-options'
import type { Prepared } from './prepare'

const gap = 4
const shownPrompts = 8

interface Drawn { rgba: Uint8ClampedArray | Uint8Array, width: number, height: number }

/** Contact sheets of a distillation: the same prompts and seeds, the teacher's images above the student's. */
export class SheetPainter {
  readonly prompts: readonly string[]
  #teacher: Drawn[] | undefined

  constructor(
    readonly prepared: Prepared, readonly settings: DistillSettings,
    readonly context: { threads: number | undefined, cpu: string | undefined, signal: AbortSignal },
  ) {
    const { data } = prepared
    const captions = [...new Set([...data.validation, ...data.train].map(index => data.caption(index)))]
    this.prompts = settings.sheetPrompts ?? captions.filter(caption => caption !== '').slice(0, shownPrompts)
  }

  /** @param folder the student's model @returns a PNG */
  async paint(folder: string): Promise<Buffer> {
    const { signal, threads, cpu } = this.context
    this.#teacher ??= await this.#draw(this.prepared.teacher)
    const student = await StableDiffusion.load(folder, { signal, threads, cpu })
    try {
      return await grid([this.#teacher, await this.#draw(student)])
    } finally {
      await student.dispose()
    }
  }

  async #draw(sd: StableDiffusion): Promise<Drawn[]> {
    const { sampleSteps: steps, guidanceScale, seed } = this.settings
    const { prepared: { size }, context: { signal } } = this
    const drawn: Drawn[] = []
    for (const [i, prompt] of this.prompts.entries())
      drawn.push(...await sd.generate({ prompt, seed: seed + i, steps, guidanceScale, width: size, height: size, signal }))
    return drawn
  }
}

async function grid(rows: readonly (readonly Drawn[])[]): Promise<Buffer> {
  const { width, height } = rows[0]![0]!
  const columns = Math.max(...rows.map(row => row.length))
  const [w, h] = [columns * (width + gap) + gap, rows.length * (height + gap) + gap]
  const rgba = new Uint8ClampedArray(4 * w * h).fill(255)
  rows.forEach((row, j) => row.forEach((image, i) => {
    for (let y = 0; y < height; y++) {
      const at = 4 * ((gap + j * (height + gap) + y) * w + gap + i * (width + gap))
      rgba.set(image.rgba.subarray(4 * y * width, 4 * (y + 1) * width), at)
    }
  }))
  return encodePng(rgba, w, h, { Software: 'asdm' })
}
