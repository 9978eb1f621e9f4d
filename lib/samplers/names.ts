/**
 * Other programs' names for samplers: diffusers' class names, AUTOMATIC1111's labels ("DPM++ 2M Karras"), k-diffusion's functions
 * ("sample_dpmpp_2m"), InvokeAI's and ComfyUI's keys ("k_euler_a", "dpmpp_2m"). Most differ from asdm's only in letter case, punctuation
 * and "++" for "pp", which do not count; the table holds the others.
 */
const aliases: ReadonlyMap<string, string> = new Map(Object.entries({
  'plms': 'pndm',
  'euler a': 'euler-ancestral',
  'uni_pc': 'unipc',
  'uni_pc_bh2': 'unipc',
  'DDIMScheduler': 'ddim',
  'DDPMScheduler': 'ddpm',
  'PNDMScheduler': 'pndm',
  'EulerDiscreteScheduler': 'euler',
  'EulerAncestralDiscreteScheduler': 'euler-ancestral',
  'UniPCMultistepScheduler': 'unipc',
  'LCMScheduler': 'lcm',
}).map(([alias, name]) => [folded(alias), name]))

/** What of a name counts: letters and digits, lower case, `++` as `pp`, without k-diffusion's `sample_` and `k_`. */
function folded(name: string): string {
  return name.slice(0, 100).toLowerCase().replace(/^(?:sample_|k_)/, '').replaceAll('++', 'pp').replace(/[^a-z\d]/g, '')
}

/** asdm's name for a sampler that any of these programs names, `undefined` for what none does. @param known asdm's own names */
export function samplerNamed<Name extends string>(text: string, known: readonly Name[]): Name | undefined {
  if (known.includes(text as Name)) return text as Name
  const wanted = folded(text)
  const name = aliases.get(wanted)
  return known.find(each => each === name) ?? known.find(each => folded(each) === wanted)
}
