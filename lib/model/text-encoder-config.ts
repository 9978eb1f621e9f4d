import { AsdmError } from '../base/errors'
import { shownPath } from '../files/files'
import { isJsonObject, type JsonObject } from '../files/json'
import type { TextEncoderConfig } from '../native/configs'
import { checkRange, ConfigReader, type Range } from './config-reader'

const widths: Range = { min: 1, max: 65_536 }
const tokens: Range = { min: 1, max: 10_000_000 }
const layers: Range = { min: 1, max: 256 }
const positions: Range = { min: 2, max: 65_536 }

/** What every transformers config may hold and a text encoder that only runs does not look at: training, labels, generation, storage. */
const notes = [
  'architectures', 'attention_dropout', 'dropout', 'initializer_factor', 'initializer_range', 'projection_dim', 'torch_dtype', 'dtype',
  'transformers_version', 'bos_token_id', 'eos_token_id', 'pad_token_id', 'sep_token_id', 'decoder_start_token_id', 'return_dict',
  'use_cache', 'gradient_checkpointing', 'output_attentions', 'output_hidden_states', 'torchscript', 'tf_legacy_loss', 'use_bfloat16',
  'id2label', 'label2id', 'problem_type', 'finetuning_task', 'task_specific_params', 'tokenizer_class', 'prefix', 'max_length', 'min_length',
  'do_sample', 'early_stopping', 'num_beams', 'num_beam_groups', 'diversity_penalty', 'temperature', 'top_k', 'top_p', 'typical_p',
  'repetition_penalty', 'length_penalty', 'no_repeat_ngram_size', 'encoder_no_repeat_ngram_size', 'bad_words_ids', 'num_return_sequences',
  'chunk_size_feed_forward', 'output_scores', 'return_dict_in_generate', 'forced_bos_token_id', 'forced_eos_token_id', 'remove_invalid_values',
  'exponential_decay_length_penalty', 'suppress_tokens', 'begin_suppress_tokens', 'tie_word_embeddings',
]

/** Models that hold CLIP's text encoder under the same names; what else they hold is passed over, as in transformers. */
const relatives: readonly unknown[] = ['CLIPTextModel', 'CLIPTextModelWithProjection', 'CLIPModel']

/**
 * Parses the config of a transformers `CLIPTextModel`, or of a relative that diffusers loads as one: `CLIPTextModelWithProjection`, or a
 * whole `CLIPModel`, whose `text_config` counts. Absent options take transformers' defaults.
 * @param json the parsed `config.json` @param file its path, for messages
 * @throws AsdmError `BAD_CONFIG` for values that make no sense, `UNSUPPORTED_CONFIG` for options that asdm does not have
 */
export function parseTextEncoderConfig(json: JsonObject, file: string): TextEncoderConfig {
  if (json.model_type === 'clip' && isJsonObject(json.text_config)) {
    checkArchitectures(new ConfigReader(json, file))
    json = json.text_config
  }
  const reader = new ConfigReader(json, file)
  checkArchitectures(reader)
  reader.only('model_type', 'clip_text_model', 'clip')
  const pruned = reader.raw('pruned_heads') ?? null
  if (pruned !== null && !(isJsonObject(pruned) && Object.keys(pruned).length === 0))
    throw reader.unsupported('pruned_heads', 'empty', pruned)
  reader.without(...notes)

  const hiddenAct = reader.raw('hidden_act', 'quick_gelu')
  if (hiddenAct !== 'quick_gelu' && hiddenAct !== 'gelu') throw reader.unsupported('hidden_act', '"quick_gelu" or "gelu"', hiddenAct)
  const config: TextEncoderConfig = {
    vocabSize: reader.integer('vocab_size', 49_408, tokens),
    hiddenSize: reader.integer('hidden_size', 512, widths),
    intermediateSize: reader.integer('intermediate_size', 2_048, widths),
    numHiddenLayers: reader.integer('num_hidden_layers', 12, layers),
    numAttentionHeads: reader.integer('num_attention_heads', 8, { min: 1, max: 1_024 }),
    maxPositionEmbeddings: reader.integer('max_position_embeddings', 77, positions),
    hiddenAct,
    layerNormEps: reader.number('layer_norm_eps', 1e-5, { min: 1e-12, max: 1 }),
  }
  reader.finish()
  checkTextEncoderConfig(config, shownPath(file))
  return config
}

function checkArchitectures(reader: ConfigReader): void {
  const architectures = reader.raw('architectures') ?? null
  if (architectures !== null && !(Array.isArray(architectures) && architectures.length === 1 && relatives.includes(architectures[0])))
    throw reader.unsupported('architectures', `one of ${relatives.join(', ')}, in a list`, architectures)
}

/**
 * Checks that the numbers of a config fit each other.
 * @param where what the config belongs to, for messages
 * @throws AsdmError `BAD_CONFIG`
 */
export function checkTextEncoderConfig(config: TextEncoderConfig, where: string): void {
  const { hiddenSize, numAttentionHeads } = config
  checkRange('vocab_size', config.vocabSize, tokens, where)
  checkRange('hidden_size or intermediate_size', [hiddenSize, config.intermediateSize], widths, where)
  checkRange('num_hidden_layers', config.numHiddenLayers, layers, where)
  checkRange('max_position_embeddings', config.maxPositionEmbeddings, positions, where)
  if (!Number.isInteger(numAttentionHeads) || numAttentionHeads < 1 || hiddenSize % numAttentionHeads !== 0)
    throw new AsdmError('BAD_CONFIG',
      `Expected the text encoder config of ${where} to fit together but hidden_size is ${hiddenSize}, which num_attention_heads `
      + `${numAttentionHeads} does not divide`)
}
