/**
 * Stable Diffusion for Node.js and Electron. `StableDiffusion.load` reads a checkpoint, `generate` makes pictures; the parts (UNet,
 * VAE, TextEncoder, Tokenizer, samplers) are there for those who build their own loops.
 * @module
 */
export { StableDiffusion } from './stable-diffusion'
export type { LoadOptions, LoadStep } from './stable-diffusion'
export type { GenerateOptions } from './request'
export type { DenoiseStep, DoneStep, Step } from './progress'
export { GeneratedImage, readSettings } from './image/generated-image'
export type { GenerationSettings } from './image/generated-image'
export type { ImageInput, Pixels } from './image/input'
export type { Preview } from './image/preview'
export { UNet } from './components/unet'
export type { UNetInputs, UNetOutput } from './components/unet'
export { VAE } from './components/vae'
export type { Posterior } from './components/vae'
export { TextEncoder } from './components/text-encoder'
export type { EncodeOptions } from './components/text-encoder'
export type { CallOptions, DType, PartLoadOptions, RuntimeOptions, Warning } from './components/part'
export { Tokenizer } from './text/tokenizer'
export type { Encoding } from './text/tokenizer'
export {
  createSampler, samplerNames, Sampler, DDIMSampler, DDPMSampler, PNDMSampler, EulerSampler, EulerAncestralSampler, DPMSolverMultistepSampler, UniPCSampler, LCMSampler,
} from './samplers'
export type { NoiseOptions, SamplerName, SchedulerConfig, StepOptions, TimestepOptions } from './samplers'
export { TorchGenerator } from './random/torch-generator'
export { guide } from './guidance'
export { AsdmError } from './errors'
export type { ErrorCode } from './errors'
export type { Tensor } from './tensor'
export type { TextEncoderConfig, UNetConfig, VAEConfig } from './model/config'
export type { CpuInfo, ProgramInfo, UnitRow } from './native/binding'
