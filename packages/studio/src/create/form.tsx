import { useId } from 'preact/hooks'
import { count } from '../ui/format'
import { Button, Field, NumberField, SelectField, Toggle } from '../ui/controls'
import { change, request } from '../state/request'
import { choices, details, modelName, modelProblem, models } from '../state/models'
import { running } from '../state/jobs'
import { go } from '../state/view'
import { planName, planned } from '../plan/state'
import { LoraList } from './loras'
import { SourcePicker } from './source'
import { generate } from './generate'

/** What is to be made. */
export function Form() {
  const form = request.value
  const model = details.value
  const promptId = useId(), negativeId = useId(), seedId = useId()
  const side = model?.sizes.default ?? 512, multiple = model?.sizes.multiple ?? 8
  const onKey = (event: KeyboardEvent): void => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) void generate()
  }
  return (
    <form class="form" onSubmit={event => event.preventDefault()} onKeyDown={onKey} aria-label="What to generate">
      <div class="grow">
        <Field label="Prompt" id={promptId}>
          <textarea id={promptId} rows={3} value={form.prompt} placeholder="What the image shows"
            onInput={event => change({ prompt: event.currentTarget.value })} />
        </Field>
        <Field label="Negative prompt" id={negativeId}>
          <textarea id={negativeId} rows={2} value={form.negativePrompt} placeholder="What it must not show"
            onInput={event => change({ negativePrompt: event.currentTarget.value })} />
        </Field>
        <SelectField label="Model" value={modelName.value ?? ''} onChange={name => change({ model: name })} disabled={models.value === undefined}
          hint={model === undefined ? undefined : `${count(model.parts.reduce((sum, part) => sum + part.parameters, 0))} parameters`}
          options={(models.value ?? []).map(({ name }) => ({ value: name, label: name }))} />
        {modelProblem.value !== undefined && <p class="problem" role="alert">{modelProblem.value}</p>}
        <div class="pair">
          <SelectField label="Sampler" value={form.sampler} onChange={sampler => change({ sampler })}
            options={[{ value: '', label: 'Default' }, ...samplersWith(model?.samplers ?? [], form.sampler)]} />
          <Field label="Seed" id={seedId}>
            <div class="joined">
              <input id={seedId} inputMode="numeric" value={form.seed} placeholder="Random"
                onInput={event => change({ seed: event.currentTarget.value.replace(/\D/g, '').slice(0, 20) })} />
              <Button icon="dice" title="Random seed" disabled={form.seed === ''} onClick={() => change({ seed: '' })} />
            </div>
          </Field>
        </div>
        <NumberField label="Steps" value={form.steps} standard={model?.defaults.steps ?? 20} min={1} max={1000} slideTo={60}
          onChange={steps => change({ steps })} />
        <NumberField label="Guidance" value={form.guidanceScale} standard={model?.defaults.guidanceScale ?? 7.5} min={0} max={30} slideTo={15}
          step={0.1} onChange={guidanceScale => change({ guidanceScale })} />
        <NumberField label="Width" value={form.width} standard={side} min={multiple} max={8192} slideTo={Math.max(side * 2, form.width ?? 0)} step={multiple}
          onChange={width => change({ width })} />
        <NumberField label="Height" value={form.height} standard={side} min={multiple} max={8192} slideTo={Math.max(side * 2, form.height ?? 0)} step={multiple}
          onChange={height => change({ height })} />
        <NumberField label="Images" value={form.count} standard={1} min={1} max={choices.value.maxImages} onChange={images => change({ count: images ?? 1 })} />
        {choices.value.loras.length > 0 && <LoraList />}
        <SourcePicker />
        <div class="planned">
          <Toggle label={<>Accelerate with <strong>{planName.value}</strong></>} checked={form.planned && planned.value}
            disabled={!planned.value} onChange={on => change({ planned: on })} />
          <Button kind="quiet" icon="plan" onClick={() => go('plan')}>Plan</Button>
        </div>
      </div>
      <div class="go">
        <Button kind="primary" title="Ctrl+Enter" disabled={modelName.value === undefined || modelProblem.value !== undefined}
          onClick={() => void generate()}>
          {running.value.length > 0 ? 'Generate next' : 'Generate'}
        </Button>
      </div>
    </form>
  )
}

/** A sampler of a file may be one that this model's list calls otherwise. */
function samplersWith(samplers: readonly string[], chosen: string) {
  const all = chosen === '' || samplers.includes(chosen) ? samplers : [chosen, ...samplers]
  return all.map(name => ({ value: name, label: name }))
}
