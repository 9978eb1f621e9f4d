/**
 * The original latent diffusion names of diffusers' weights, by formula from the layout: written apart from lib/model/ldm-keys.ts,
 * which goes the other way by walking over the blocks it finds.
 */

const sum = (numbers: number[]): number => numbers.reduce((a, b) => a + b, 0)

/** @param layers ResNets per down block @param upAttention per up block, in running order */
export function ldmUNetName(name: string, layers: number[], upAttention: boolean[]): string {
  const up = [...layers].reverse().map(count => count + 1)
  const prefix = 'model.diffusion_model.'
  const plain = name
    .replace('time_embedding.linear_1', 'time_embed.0').replace('time_embedding.linear_2', 'time_embed.2')
    .replace(/^conv_in/, 'input_blocks.0.0').replace('conv_norm_out', 'out.0').replace('conv_out', 'out.2')
    .replace(/^mid_block\.resnets\.0/, 'middle_block.0').replace(/^mid_block\.attentions\.0/, 'middle_block.1').replace(
      /^mid_block\.resnets\.1/, 'middle_block.2',
    )
    .replace(/^(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)(\.conv(?=\.(?:weight|bias)))?/, (_, way, s, kind, j) => {
      const [stage, layer] = [Number(s), Number(j)]
      if (way === 'down') {
        const first = 1 + sum(layers.slice(0, stage).map(count => count + 1))
        return kind === 'downsamplers'
          ? `input_blocks.${first + layers[stage]}.0.op`
          : `input_blocks.${first + layer}.${kind === 'resnets' ? 0 : 1}`
      }
      const first = sum(up.slice(0, stage))
      return kind === 'upsamplers'
        ? `output_blocks.${first + up[stage] - 1}.${upAttention[stage] ? 2 : 1}.conv`
        : `output_blocks.${first + layer}.${kind === 'resnets' ? 0 : 1}`
    })
  if (!/\.resnets\./.test(name)) return prefix + plain
  return prefix + plain.replace(/\.norm1\./, '.in_layers.0.').replace(/\.conv1\./, '.in_layers.2.').replace(/\.norm2\./, '.out_layers.0.')
    .replace(/\.conv2\./, '.out_layers.3.').replace('.time_emb_proj.', '.emb_layers.1.').replace('.conv_shortcut.', '.skip_connection.')
}

/** @param name in the current spelling or in that of SD 1.x's folders */
export function ldmVAEName(name: string, stages: number): string {
  return 'first_stage_model.' + name
    .replace('conv_norm_out', 'norm_out').replace('conv_shortcut', 'nin_shortcut')
    .replace(/mid_block\.resnets\.(\d)/, (_, i) => `mid.block_${Number(i) + 1}`)
    .replace('mid_block.attentions.0', 'mid.attn_1').replace('.group_norm.', '.norm.')
    .replace(/\.(?:to_q|query)\./, '.q.').replace(/\.(?:to_k|key)\./, '.k.').replace(/\.(?:to_v|value)\./, '.v.').replace(
      /\.(?:to_out\.0|proj_attn)\./, '.proj_out.',
    )
    .replace(/down_blocks\.(\d)\.resnets\.(\d)/, 'down.$1.block.$2').replace(/down_blocks\.(\d)\.downsamplers\.0/, 'down.$1.downsample')
    .replace(/up_blocks\.(\d)\.resnets\.(\d)/, (_, i, j) => `up.${stages - 1 - Number(i)}.block.${j}`)
    .replace(/up_blocks\.(\d)\.upsamplers\.0/, (_, i) => `up.${stages - 1 - Number(i)}.upsample`)
}

/** OpenCLIP's name; the three projections, which it stacks, all give the name of the stack. @param name without `text_model.` */
export function openClipName(name: string): string {
  return 'cond_stage_model.model.' + name
    .replace('embeddings.position_embedding.weight', 'positional_embedding').replace(
      'embeddings.token_embedding', 'token_embedding',
    ).replace('final_layer_norm', 'ln_final')
    .replace(
      'encoder.layers.', 'transformer.resblocks.',
    ).replace('layer_norm1', 'ln_1').replace('layer_norm2', 'ln_2').replace('mlp.fc1', 'mlp.c_fc').replace('mlp.fc2', 'mlp.c_proj')
    .replace(/self_attn\.[qkv]_proj\./, 'attn.in_proj_').replace('self_attn', 'attn')
}
