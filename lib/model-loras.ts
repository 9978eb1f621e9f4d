import { throwIfAborted } from './base/errors'
import type { NativePart } from './components/part'
import type { Warning } from './components/warnings'
import { productOf } from './lora/adapter'
import type { LoraPart } from './lora/keys'
import { sourcesOf, writeMerged, type ChangedLayer } from './lora/merge'
import { findChanges, type Change, type LoraToMerge } from './lora/open'
import type { WeightSource } from './native/configs'
import type { Parts } from './parts'

/** What became of a layer. */
interface LayerState {
  /** What was merged into it; none where that is not known for sure. */
  key: string | undefined
  /** Weights of it that are not the checkpoint's. */
  names: readonly string[]
}

/** One native part whose weights LoRAs change. */
class ChangedPart {
  readonly #sources: ReadonlyMap<string, WeightSource>
  #layers = new Map<string, LayerState>()

  /** @param changing called before weights change */
  constructor(readonly part: NativePart, private readonly changing: () => void = () => {}) {
    this.#sources = new Map(part.sources.map(source => [source.name, source]))
  }

  /** Has a LoRA changed anything? */
  get changed(): boolean {
    return this.#layers.size > 0
  }

  /**
   * Gives each layer what `wanted` says, and the checkpoint's weights to all others. Only layers that differ are read.
   * @throws as {@link ModelLoras.use}
   */
  async set(
    wanted: ReadonlyMap<string, readonly Change[]>, signal: AbortSignal | undefined, warn: (warning: Warning) => void,
  ): Promise<void> {
    const states = new Map<string, LayerState>()
    const sources: WeightSource[] = []
    const slow: (ChangedLayer & { layer: string })[] = []
    const differing = [...new Set([...this.#layers.keys(), ...wanted.keys()])].filter(layer => {
      const changes = wanted.get(layer)
      return this.#layers.get(layer)?.key !== (changes && keyOf(changes)) || this.#layers.get(layer)?.key === undefined
    })
    if (differing.length === 0) return
    for (const layer of differing) {
      throwIfAborted(signal)
      const changes = wanted.get(layer)
      const [weight, bias] = sourcesOf(layer, this.#sources)
      if (changes === undefined) continue
      const products = await Promise.all(changes.map(({ adapter, amount }) => productOf(adapter, weight!.shape, amount)))
      if (products.every(product => product !== undefined)) {
        sources.push({ ...weight!, products })
        states.set(layer, { key: keyOf(changes), names: [weight!.name] })
      } else {
        slow.push({ layer, sources: bias === undefined ? [weight!] : [weight!, bias], changes })
      }
    }
    const { merged, dispose } = await writeMerged(slow, { signal })
    try {
      for (const { layer, sources: own, changes } of slow) {
        const replaced = own.map(source => merged.get(source)).filter(source => source !== undefined)
        sources.push(...replaced)
        states.set(layer, { key: keyOf(changes), names: replaced.map(({ name }) => name) })
      }
      // What is not changed any more is read from the checkpoint again.
      const given = new Set(sources.map(({ name }) => name))
      for (const layer of differing)
        for (const name of this.#layers.get(layer)?.names ?? []) if (!given.has(name)) sources.push(this.#sources.get(name)!)
      const before = new Map(differing.map(layer => [layer, this.#layers.get(layer)]))
      // A call may be aborted after its work is done, so what is there is not known until it ends.
      for (const layer of differing)
        this.#layers.set(layer, {
          key: undefined, names: [...new Set([...before.get(layer)?.names ?? [], ...states.get(layer)?.names ?? []])],
        })
      this.changing()
      await this.part.change(sources, signal, warn)
      for (const layer of differing) {
        const state = states.get(layer)
        if (state === undefined) this.#layers.delete(layer)
        else this.#layers.set(layer, state)
      }
    } finally {
      await dispose()
    }
  }
}

function keyOf(changes: readonly Change[]): string {
  return changes.map(({ stamp }) => stamp).join()
}

/** The LoRAs of a model: what its weights hold at the time, and how they come to hold others. */
export class ModelLoras {
  readonly #unets: readonly { name: string | undefined, part: ChangedPart }[]
  readonly #text: ChangedPart
  readonly #warned = new Set<string>()

  readonly #warn: (warning: Warning) => void

  /**
   * @param parts of the model, whose weights are loaded when {@link use} is called
   * @param textChanges called before the text encoder's change
   */
  constructor({ unet, unets, textEncoder }: Parts, { warn, textChanges }: { warn: (warning: Warning) => void, textChanges: () => void }) {
    this.#warn = warn
    this.#text = new ChangedPart(textEncoder.part, textChanges)
    this.#unets = [
      { name: undefined, part: new ChangedPart(unet.part) },
      ...Object.entries(unets).map(([name, each]) => ({ name, part: new ChangedPart(each.part) })),
    ]
  }

  /**
   * Opens LoRAs, without merging them.
   * @throws AsdmError as `findChanges`
   */
  async find(loras: readonly LoraToMerge[], signal: AbortSignal | undefined) {
    const found: { part: ChangedPart, layers: Map<string, Change[]> }[] = []
    for (const { name, part } of this.#unets) {
      const sources: Record<LoraPart, readonly WeightSource[]> = { unet: part.part.sources, text_encoder: this.#text.part.sources }
      const { layers, warnings } = await findChanges(sources, loras, signal)
      for (const warning of warnings) this.#warnOnce(name === undefined ? warning : `The UNet ${name}: ${warning}`)
      found.push({ part, layers: layers.unet })
      if (name === undefined) found.unshift({ part: this.#text, layers: layers.text_encoder })
    }
    return found
  }

  /**
   * Has the weights hold these LoRAs and no others. Layers are merged in float32, rounded and quantised as in a checkpoint that has them;
   * what no LoRA touches, or as before, is not read.
   * @throws AsdmError `TENSOR_SHAPE` for another base model's, `TENSOR_DTYPE`, `FILE_WRITE`, `OUT_OF_MEMORY`, `DISPOSED`, and as
   * {@link find}; an `AbortError`. Each part then has its old weights or the new ones, and the next call changes what is to be changed.
   */
  async use(loras: readonly LoraToMerge[], signal: AbortSignal | undefined): Promise<void> {
    if (loras.length === 0 && !this.#text.changed && !this.#unets.some(({ part }) => part.changed)) return
    for (const { part, layers } of await this.find(loras, signal)) await part.set(layers, signal, this.#warn)
  }

  #warnOnce(message: string): void {
    if (this.#warned.has(message)) return
    this.#warned.add(message)
    this.#warn({ code: 'LORA', message })
  }
}
