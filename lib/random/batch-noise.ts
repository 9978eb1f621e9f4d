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
  randn([, ...rest]: readonly number[]): Tensor {
    return join(this.#generators.map(generator => generator.randn([1, ...rest])))
  }
}
