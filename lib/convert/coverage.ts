import { AsdmError, shown } from '../base/errors'
import { readSafetensorsHeader } from '../files/safetensors'
import type { WeightSource } from '../native/configs'

/** A tensor of the source that the new model does not have. */
export interface DroppedTensor {
  /** The file it is in. */
  file: string
  /** Its name there. */
  name: string
  /** As safetensors spells it: `F16`. */
  dtype: string
  /** As stored. */
  shape: number[]
  /** Why it is left out, in a few words. */
  reason: string
}

const reasons: [RegExp, string][] = [
  [/^model_ema\./, 'an averaged copy of the weights (EMA)'],
  [/position_ids$/, 'position ids, which are counted anew'],
  [/(?:text_projection|visual_projection|logit_scale|vision_model|\.visual\.|attn_mask)/, 'a part of CLIP that images do not need'],
  [
    /(?:^|\.)(?:betas|alphas_cumprod|sqrt_|posterior_|log_one_minus|lvlb_weights|logvar|ztsnr|v_pred)/,
    'a noise schedule, which is the scheduler\'s',
  ],
  [/(?:^|\.)loss\.|global_step$|embedding_manager/, 'training state'],
  [/resblocks\.\d+\./, 'the text encoder\'s last layer, which is not used'],
  [/safety_checker\./, 'the safety checker'],
]

/**
 * Compares the files that weights come from with the weights: every tensor is used whole and once, or not at all.
 * @returns the tensors that are not used, and why
 * @throws AsdmError `INTERNAL` for one that is used in part or twice
 */
export async function unusedTensors(weights: readonly WeightSource[]): Promise<DroppedTensor[]> {
  const byFile = new Map<string, WeightSource[]>()
  for (const source of weights) byFile.set(source.file, [...byFile.get(source.file) ?? [], source])
  const dropped: DroppedTensor[] = []
  for (const [file, sources] of byFile) {
    const { tensors } = await readSafetensorsHeader(file)
    // An empty tensor has no bytes to find it by; no graph asks for one.
    const stored = [...tensors].filter(([, { begin, end }]) => end > begin).sort(([, a], [, b]) => a.begin - b.begin)
    const used = [...sources].sort((a, b) => a.begin - b.begin)
    let next = 0
    for (const [name, { dtype, shape, begin, end }] of stored) {
      let at = begin
      for (let source = used[next]; source !== undefined && source.begin < end; source = used[++next]) {
        if (source.begin !== at || source.end > end)
          throw new AsdmError('INTERNAL', `Expected each tensor to be used once but ${shown(name)} is not`)
        at = source.end
      }
      if (at === begin)
        dropped.push({ file, name, dtype, shape, reason: reasons.find(([pattern]) => pattern.test(name))?.[1] ?? 'no part of the model' })
      else if (at !== end) throw new AsdmError('INTERNAL', `Expected each tensor to be used whole but ${shown(name)} is not`)
    }
    const outside = used[next]
    if (outside !== undefined) throw new AsdmError('INTERNAL', `Expected weights inside of tensors but ${shown(outside.name)} is not`)
  }
  return dropped
}
