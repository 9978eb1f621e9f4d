import type { Tensor } from '../../lib/base/tensor'
import type { ForwardInputs, ForwardOutputs, NativeRun } from '../../lib/native/binding'
import type { InputTensor } from '../../lib/native/inputs'

interface Values {
  sample: Tensor
  timesteps: Float32Array | readonly number[]
  encoderHiddenStates: Tensor
  timestepCond: Tensor
}

function valuesOf({ sample, timesteps, encoderHiddenStates, timestepCond }: Partial<Values>): Record<string, InputTensor> {
  return {
    ...(sample && { sample }), ...(timesteps && { timesteps: { data: Float32Array.from(timesteps), shape: [timesteps.length] } }),
    ...(encoderHiddenStates && { encoder_hidden_states: encoderHiddenStates }), ...(timestepCond && { timestep_cond: timestepCond }),
  }
}

/** What a pass of a native model takes, by the names of the graph's inputs. */
export function passInputs({ taps, profile, ...values }: Partial<Values> & Omit<ForwardInputs, 'values'>): ForwardInputs {
  return { values: valuesOf(values), ...(taps && { taps }), ...(profile !== undefined && { profile }) }
}

/** The same for a text encoder. */
export function idInputs(ids: Int32Array, batch: number, clipSkip?: number): ForwardInputs {
  return { values: { ids: { data: ids, shape: [batch, ids.length / batch] } }, ...(clipSkip !== undefined && { clipSkip }) }
}

/** Other values for some inputs. */
export function withValues({ values, ...rest }: ForwardInputs, changed: Partial<Values>): ForwardInputs {
  return { values: { ...values, ...valuesOf(changed) }, ...rest }
}

/** Samples [from, to) of a batch. */
export function samplesOf({ values, ...rest }: ForwardInputs, from: number, to: number): ForwardInputs {
  const cut = ({ data, shape: [batch, ...shape] }: InputTensor): InputTensor =>
    ({ data: data.slice(from * data.length / batch, to * data.length / batch), shape: [to - from, ...shape] })
  return { values: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, cut(value)])), ...rest }
}

/** The conditional half of a batch. */
export function secondHalf(inputs: ForwardInputs): ForwardInputs {
  const batch = inputs.values.sample.shape[0]
  return samplesOf(inputs, batch / 2, batch)
}

/** A pass of a run with all of a plain pass's inputs: those that a run is conditioned by, then the others. */
export async function forwardStep(run: NativeRun, step: number, inputs: ForwardInputs, chosen?: number): Promise<ForwardOutputs> {
  const { sample, timesteps, ...conditions } = inputs.values
  await run.condition(conditions).promise
  return run.forward(step, { ...inputs, values: { sample, timesteps } }, chosen).promise
}

/** The probe of a step, likewise. */
export async function probeStep(run: NativeRun, step: number, renew: number[], inputs: ForwardInputs): Promise<number[]> {
  const { sample, timesteps, ...conditions } = inputs.values
  await run.condition(conditions).promise
  return run.probe(step, renew, { ...inputs, values: { sample, timesteps } }).promise
}
