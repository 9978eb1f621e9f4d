import type { GenerationSettings } from '../image/generation-settings'

/** The two kinds of true drawings: those of training, and those kept from it; or prompts without true drawings. */
export type SetName = 'seen' | 'heldOut' | 'prompts'

/** How alike pictures are to those of a reference run with the same prompts and seeds. */
export interface Likeness {
  /** PSNR over all channels, in decibels. */
  psnr: {
    /** Over the pictures; equal ones count as 100. */
    mean: number
    /** Of the picture that differs most; 100 where all are equal. */
    least: number
    /** Of the mean squared error of all pictures together; `null` where all are equal. */
    pooled: number | null
  }
  /** SSIM of luma, see {@link ssim}. */
  ssim: {
    /** Over the pictures. */
    mean: number
    /** Of the picture that differs most. */
    least: number
  }
  /** Pictures without any difference. */
  equal: number
}

/** What a set of prompts gave. */
export interface SetReport {
  /** How many. */
  pictures: number
  /**
   * Share of pictures to which the drawing asked for is the nearest of its style: by L2 on the encoder's latents, 2x2 pooled. With true
   * drawings only.
   */
  top1?: number
  /** Share of pictures to which it is among the five nearest. */
  top5?: number
  /** Fréchet distance between pictures and the drawings asked for, on latents pooled to 4x4. */
  frechet?: number
  /** PSNR of the pictures' mean squared error to the drawings asked for, in decibels. */
  psnrToDrawing?: number
  /** Where there is a reference run. */
  likeness?: Likeness
}

/** One picture of an evaluation. */
export interface PictureReport {
  /** Which prompts it belongs to. */
  set: SetName
  /** What it was made of. */
  prompt: string
  /** `asdm generate` makes the picture again with it. */
  seed: number
  /** The drawing asked for. */
  style?: string
  /** The drawing asked for. */
  name?: string
  /** Place of the drawing asked for among those of its style, nearest first, from 1. */
  rank?: number
  /** To the picture of the reference run, in decibels; `null` where they are equal. */
  psnr?: number | null
  /** To the picture of the reference run. */
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
  /** What every picture was made with. */
  settings: Pick<GenerationSettings, 'guidanceScale' | 'steps' | 'sampler' | 'eta' | 'width' | 'height' | 'plan'> & {
    /** Picture number k was made with this plus k. */
    seed: number
  }
  /** The true drawings, where there were some. */
  drawings?: {
    /** Of their pixels. */
    sha256: string
    /** How many drawings of each style a picture was compared with. */
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
    /** Milliseconds of one picture: medians over the pictures, without the first one, which also lays out memory. */
    msPerPicture: {
      /** From the request to the picture. */
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
  /** The pictures in the order in which they were made. */
  pictures: readonly PictureReport[]
}
