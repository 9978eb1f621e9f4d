import { AsdmError } from '../base/errors'
import { shownPath } from '../files/files'
import type { FoundTensor } from './weights'

/** The shapes of a part's tensors, by diffusers name, for questions about them. */
export class Shapes {
  private readonly shapes: Map<string, number[]>

  constructor(tensors: Iterable<Pick<FoundTensor, 'name' | 'shape'>>, readonly file: string) {
    this.shapes = new Map()
    for (const { name, shape } of tensors) this.shapes.set(name, shape)
  }

  has(name: string): boolean {
    return this.shapes.has(name)
  }

  /** Size of one dimension. @throws AsdmError `TENSOR_MISSING`, `TENSOR_SHAPE` */
  size(name: string, dimension: number): number {
    const shape = this.shapes.get(name)
    if (shape === undefined)
      throw new AsdmError('TENSOR_MISSING',
        `Expected ${name} in ${shownPath(this.file)}, whose config is inferred from it, but it is not there`)
    const size = shape[dimension]
    if (size === undefined || size < 1)
      throw new AsdmError('TENSOR_SHAPE',
        `Expected ${name} in ${shownPath(this.file)} to have at least ${dimension + 1} dimensions, none empty, but received [${shape}]`)
    return size
  }

  hasRank(name: string, rank: number): boolean {
    return this.shapes.get(name)?.length === rank
  }

  /** How many of `name(0)`, `name(1)`, ... there are, up to the first that is not. */
  count(name: (index: number) => string): number {
    let index = 0
    while (this.shapes.has(name(index))) index++
    return index
  }
}
