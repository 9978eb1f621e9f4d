import { InvalidArgumentError, Option, type Command } from 'commander'
import { locateModel } from '../hub/locate-model'
import { openCheckpoint, type Checkpoint } from '../model/checkpoint'
import type { LoraOptions } from '../lora/options'
import type { EmbeddingOptions } from '../text/embeddings'
import type { LoadOptions } from '../stable-diffusion'
import { given, parseNumber } from './options'

/** Flags that say how a model is loaded; each command has those that it can heed. */
export interface ModelFlags {
  threads?: number
  cpu?: string
  dtype?: string
  device?: string
  variant?: string
  revision?: string
  tokenizer?: string
  vae?: string
  textEncoder?: string
  config?: string
  unet?: Record<string, string>
  packedCache?: true
  packedCacheIn?: string
  lora?: LoraOptions[]
  loraFolder?: string
  embedding?: EmbeddingOptions[]
}

/** What a model is, in help. */
export const modelHelp = 'diffusers folder, .safetensors file, hf:owner/name on the Hugging Face hub (owner/name where it is downloaded '
  + 'already), or emoji, of the package @asdm/emoji'

const options: Readonly<Record<keyof ModelFlags, () => Option>> = {
  threads: () => new Option('-t, --threads <number>', 'threads that compute (all cores)').argParser(parseNumber),
  cpu: () => new Option('--cpu <set>', 'kernel set: auto, or one that asdm doctor lists'),
  dtype: () => new Option('--dtype <dtype>', 'number format: fp32 (the default), bf16 or int8'),
  device: () => new Option('--device <device>', 'where it runs: auto (the default), or one that asdm doctor lists'),
  variant: () => new Option('--variant <name>', 'variant of the weight files, as fp16'),
  revision: () => new Option('--revision <name>', 'branch, tag or commit of a model on the hub (main)'),
  tokenizer: () => new Option('--tokenizer <folder>', "tokenizer to use instead of the checkpoint's"),
  vae: () => new Option('--vae <path>', "VAE to use instead of the checkpoint's: a folder or a .safetensors file"),
  textEncoder: () => new Option('--text-encoder <path>', "text encoder to use instead of the checkpoint's, likewise"),
  config: () => new Option('--config <folder>', "configs to use instead of the checkpoint's"),
  unet: () => new Option(
    '--unet <name=path>', 'a further UNet that plans may name: its folder, or a diffusers folder with one; may be repeated',
  ).argParser(parseUNet),
  packedCache: () => new Option('--packed-cache', 'keep the weights as packed beside those they come from, and read them next time'),
  packedCacheIn: () => new Option('--packed-cache-in <folder>', 'the same in a folder of their own'),
  lora: () => new Option('--lora <file[:weight]>', 'a LoRA to merge into the weights, as style.safetensors:0.8 (1); may be repeated').argParser(parseLora),
  loraFolder: () => new Option('--lora-folder <folder>', 'where --lora finds names, as style:0.8, and prompts <lora:style:0.8>'),
  embedding: () => new Option(
    '--embedding <[word=]file>', 'a textual inversion embedding and the word for it (its own); may be repeated',
  ).argParser(parseEmbedding),
}

/** Adds some of the flags of {@link ModelFlags} to a command. */
export function addModelFlags(command: Command, ...names: (keyof ModelFlags)[]): Command {
  for (const name of names) command.addOption(options[name]())
  return command
}

function parseUNet(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [, name, path] = /^([^=]+)=(.+)$/s.exec(text) ?? []
  if (name === undefined || path === undefined) throw new InvalidArgumentError('Expected name=path, as light=models/light.')
  if (Object.hasOwn(before, name)) throw new InvalidArgumentError(`Expected each UNet once but ${name} was given twice.`)
  return { ...before, [name]: path }
}

/** `style.safetensors:0.8`; a colon that no number follows belongs to the path. */
function parseLora(text: string, before: LoraOptions[] = []): LoraOptions[] {
  const [, path, weight] = /^(.+):(-?\d*\.?\d+)$/s.exec(text) ?? []
  return [...before, path === undefined ? { path: text } : { path, weight: Number(weight) }]
}

/** With a folder for LoRAs what looks like a name is one of a file there. */
function byName({ path, ...rest }: LoraOptions): LoraOptions {
  return path === undefined || /[/\\]|\.safetensors$/i.test(path) ? { path, ...rest } : { name: path, ...rest }
}

/** `EasyNegative=file.safetensors`; what is before an equals sign in a folder's name is no word. */
function parseEmbedding(text: string, before: EmbeddingOptions[] = []): EmbeddingOptions[] {
  const [, token, path] = /^([^=/\\\s]+)=(.+)$/s.exec(text) ?? []
  return [...before, path === undefined ? { path: text } : { path, token }]
}

/** The flags as options of `StableDiffusion.load`, which checks them. */
export function loadOptions(
  {
    threads, cpu, dtype, device, variant, revision, tokenizer, vae, textEncoder, config, unet, packedCache, packedCacheIn, lora,
    loraFolder, embedding,
  }: ModelFlags,
): LoadOptions {
  return given({
    threads, cpu, dtype: dtype as LoadOptions['dtype'], device: device as LoadOptions['device'], variant, revision, tokenizer, vae,
    textEncoder, config, unets: unet, packedCache: packedCacheIn ?? packedCache,
    loras: loraFolder === undefined ? lora : lora?.map(byName), loraFolder, embeddings: embedding,
  })
}

/** A checkpoint's configs and headers, for commands that read no weights or only some. */
export async function openModel(path: string, { variant, revision, config }: ModelFlags, signal: AbortSignal): Promise<Checkpoint> {
  const found = await locateModel(path, { variant, signal, ...given({ revision }) })
  return openCheckpoint(found.path, { ...given({ variant: found.variant, config }), signal })
}
