import { printable } from '../base/errors'

/** Something the user should know that is no error. */
export interface Warning {
  /**
   * - `PROMPT_TRUNCATED`: a prompt is longer than the text encoder's window; `prompt` and `cut` say which and what was left out.
   * - `PROMPT_SYNTAX`: a prompt holds what another program would read as a command, as `<lora:name:1>`; it is read as text.
   * - `NON_FINITE_WEIGHTS`: weights hold NaN or infinity; `weights` names them.
   * - `NON_FINITE_OUTPUT`: a part's output holds NaN or infinity; `part`, and for the UNet `step`, say where that began.
   * - `PACKED_CACHE`: the packed cache that was asked for could not be written.
   * - `CHECKPOINT`: how a checkpoint was read, where that may surprise.
   * - `LORA`: layers of a LoRA that the model does not have were left out.
   */
  code: 'PROMPT_TRUNCATED' | 'PROMPT_SYNTAX' | 'NON_FINITE_WEIGHTS' | 'NON_FINITE_OUTPUT' | 'PACKED_CACHE' | 'CHECKPOINT' | 'LORA'
  /** One sentence. */
  message: string
  /** The prompt, whole. */
  prompt?: string
  /** What was left out of it. */
  cut?: string
  /** Names of the weights. */
  weights?: string[]
  /** The part whose output is not finite. */
  part?: 'textEncoder' | 'unet' | 'vaeEncoder' | 'vae'
  /** The denoising step that gave it, counted from 1. */
  step?: number
}

/** Hands a warning to whoever listens, or else to the process, where it is printed once and can be silenced. */
export function warn(warning: Warning, listener: ((warning: Warning) => void) | undefined): void {
  const shown = { ...warning, message: printable(warning.message) }
  if (listener !== undefined) listener(shown)
  else process.emitWarning(shown.message, { type: 'AsdmWarning', code: warning.code })
}
