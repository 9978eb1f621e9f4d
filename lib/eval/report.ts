import type { GenerationSettings } from '../image/generation-settings'

/** The two kinds of true drawings: those of training, and those kept from it; or prompts without true drawings. */
export type SetName = 'seen' | 'heldOut' | 'prompts'

/** How alike images are to those of a reference run with the same prompts and seeds. */
export interface Likeness {
  /** PSNR over all channels, in decibels. */
  psnr: {
    /** Over the images; equal ones count as 100. */
    mean: number
    /** Of the image that differs most; 100 where all are equal. */
    least: number
    /** Of the mean squared error of all images together; `null` where all are equal. */
    pooled: number | null
  }
  /** SSIM of luma, see {@link ssim}. */
  ssim: {
    /** Over the images. */
    mean: number
    /** Of the image that differs most. */
    least: number
  }
  /** Images without any difference. */
  equal: number
}

/** What a set of prompts gave. */
export interface SetReport {
  /** How many. */
  images: number
  /**
   * Share of images to which the drawing asked for is the nearest of its style: by L2 on the encoder's latents, 2x2 pooled. With true
   * drawings only.
   */
  top1?: number
  /** Share of images to which it is among the five nearest. */
  top5?: number
  /** Fréchet distance between images and the drawings asked for, on latents pooled to 4x4. */
  frechet?: number
  /** PSNR of the images' mean squared error to the drawings asked for, in decibels. */
  psnrToDrawing?: number
  /** Where there is a reference run. */
  likeness?: Likeness
}

/** One image of an evaluation. */
export interface ImageReport {
  /** Which prompts it belongs to. */
  set: SetName
  /** What it was made of. */
  prompt: string
  /** `asdm generate` makes the image again with it. */
  seed: number
  /** The drawing asked for. */
  style?: string
  /** The drawing asked for. */
  name?: string
  /** Place of the drawing asked for among those of its style, nearest first, from 1. */
  rank?: number
  /** To the image of the reference run, in decibels; `null` where they are equal. */
  psnr?: number | null
  /** To the image of the reference run. */
  ssim?: number
}

/** What an evaluation found. Everything but `measured` is the same each time, with the same binary and kernel set. */
export interface EvaluationReport {
  /** Says what this is. */
  format: 'asdm-evaluation'
  /** Of the format. */
  version: 1
  /** What the caller said of the model: its path, number format. */
  about: Readonly<Record<string, string | number>>
  /** The kernel set. */
  cpu: string
  /** What every image was made with. */
  settings: Pick<GenerationSettings, 'guidanceScale' | 'steps' | 'sampler' | 'eta' | 'width' | 'height' | 'plan'> & {
    /** Image number k was made with this plus k. */
    seed: number
  }
  /** The true drawings, where there were some. */
  drawings?: {
    /** Of their pixels. */
    sha256: string
    /** How many drawings of each style an image was compared with. */
    candidates: Readonly<Record<string, number>>
  }
  /** `seen` and `heldOut`, or `prompts`; and `all`, where these are two. */
  sets: Readonly<Partial<Record<SetName | 'all', SetReport>>>
  /** What the reference run was made with, where there was one. */
  reference?: Pick<EvaluationReport, 'about' | 'cpu' | 'settings'>
  /**
   * Bytes beside the weights. Activations include kernel scratch; of the three parts the largest counts, since one runs after the other.
   */
  memory: {
    /** Activations of the text encoder. */
    textEncoder: number
    /** Activations of the UNet. */
    unet: number
    /** Activations of the decoder. */
    vaeDecoder: number
    /** What a plan holds between steps. */
    kept: number
  }
  /** Varies from run to run. */
  measured: {
    /** Milliseconds of one image: medians over the images, without the first one, which also lays out memory. */
    msPerImage: {
      /** From the request to the image. */
      all: number
      /** Of that the text encoder. */
      text: number
      /** Of that all denoising steps. */
      denoise: number
      /** Of that the decoder. */
      decode: number
    }
    /** Most memory that the process had by the end of generation: weights, activations, and all else in it. */
    peakBytes: number
  }
  /** The images in the order in which they were made. */
  images: readonly ImageReport[]
}
