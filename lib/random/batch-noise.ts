import type { Slices } from '../base/slices'
import { join, type Tensor } from '../base/tensor'
import { TorchGenerator } from './torch-generator'

/** Random numbers for a batch of images, each of which has a generator of its own, as diffusers draws them for a list of generators. */
export class BatchNoise {
  readonly #generators: readonly TorchGenerator[]

  /** @param seeds one for each image @throws AsdmError `INVALID_ARGUMENT` */
  constructor(seeds: readonly (number | bigint)[]) {
    this.#generators = seeds.map(seed => new TorchGenerator(seed))
  }

  /** How many images draw by themselves: what is drawn once for an image handed in is drawn by each of them. */
  get streams(): number {
    return this.#generators.length
  }

  /** Standard normal values [streams, ...], each image's from its own generator. */
  async randnSliced([, ...rest]: readonly number[], slices: Slices): Promise<Tensor> {
    const drawn: Tensor[] = []
    for (const generator of this.#generators) drawn.push(await generator.randnSliced([1, ...rest], slices))
    return join(drawn)
  }
}
