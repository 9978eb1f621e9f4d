import { attempt, say } from '../state/messages'
import { choices, details, modelName } from '../state/models'
import { change, request } from '../state/request'
import { api } from '../api/client'
import type { PlanJson } from '../api/types'
import { useSignal } from '@preact/signals'
import { Button, FileButton, NumberField, Segments, SelectField, Toggle } from '../ui/controls'
import { download } from '../ui/files'
import { bytes, count, duration, percent } from '../ui/format'
import { toSteps, type RuleEdit } from './edited'
import { cost, counted, edited, prediction, problem, profileKey, profiles } from './state'
import { depthsOf } from './tree'

/** Where plans come from: presets, a rule, a file. */
export function PlanPanel() {
  const plan = edited.value
  const form = request.value
  return (
    <aside class="panel" aria-label="Plan">
      <Segments label="Kind of plan" value={plan.kind === 'none' ? 'none' : plan.kind === 'rule' ? 'rule' : plan.kind === 'preset' ? 'preset' : 'steps'}
        options={[{ value: 'none', label: 'Full' }, { value: 'preset', label: 'Preset' }, { value: 'rule', label: 'Rule' }, { value: 'steps', label: 'Paint' }]}
        onChange={choose} />
      {plan.kind === 'preset' && (
        <Segments label="Preset" value={plan.name} onChange={name => { edited.value = { kind: 'preset', name } }}
          options={choices.value.presets.map(name => ({ value: name, label: name }))} />
      )}
      {plan.kind === 'rule' && <RuleFields rule={plan} />}
      {(plan.kind === 'steps' || plan.kind === 'file') && (
        <p class="note">
          {plan.kind === 'file'
            ? `From a file: ${plan.plan.name ?? 'without a name'}. Painting changes it step by step.`
            : 'Painted step by step. Drag in the picture to inherit, and over painted cells to compute again.'}
        </p>
      )}
      {problem.value !== undefined && <p class="problem" role="alert">{problem.value}</p>}
      <NumberField label="Steps" value={form.steps} standard={details.value?.defaults.steps ?? 20} min={1} max={1000} slideTo={60} onChange={steps => change({ steps })} />
      <SelectField label="Sampler" value={form.sampler} onChange={sampler => change({ sampler })}
        options={[{ value: '', label: 'Default' }, ...(details.value?.samplers ?? []).map(name => ({ value: name, label: name }))]} />
      <div class="tools">
        <FileButton label="Open" accept=".json,application/json" onFile={file => void attempt(() => openPlan(file))} />
        <Button icon="download" disabled={counted.value !== edited.value || plan.kind === 'none'} onClick={save}>Save</Button>
      </div>
      <Toggle label="Use it in Create" checked={form.planned && plan.kind !== 'none'} disabled={plan.kind === 'none'} onChange={planned => change({ planned })} />
    </aside>
  )
}

function choose(kind: 'none' | 'preset' | 'rule' | 'steps'): void {
  const found = cost.value, model = details.value
  if (kind === 'none') edited.value = { kind: 'none' }
  else if (kind === 'preset') edited.value = { kind: 'preset', name: choices.value.presets[1] ?? 'balanced' }
  else if (kind === 'steps') { if (found !== undefined) edited.value = toSteps(edited.value, found) } else if (model !== undefined)
    edited.value = { kind: 'rule', every: 3, inherit: depthsOf(model).slice(0, 1), warmup: 0, final: 0, extrapolate: 0, otherwise: 'conditional', guidedTo: 1 }
}

async function openPlan(file: File): Promise<void> {
  let plan: PlanJson
  try {
    plan = JSON.parse(await file.text()) as PlanJson
  } catch {
    throw new Error(`Expected ${file.name} to hold a plan as JSON but it does not parse.`)
  }
  // The server says what is wrong with it, with the place.
  const model = modelName.value
  const steps = Array.isArray(plan.steps) ? plan.steps.length : undefined
  await api.cost({ ...(model !== undefined && { model }), ...(steps !== undefined && { steps }), plan: { ...plan } })
  if (steps !== undefined) change({ steps })
  edited.value = { kind: 'file', plan }
  say(`${file.name} is open.`)
}

function save(): void {
  const plan = cost.value?.plan as { name?: string } | undefined
  if (plan !== undefined) download(`plan-${(plan.name ?? 'asdm').replace(/\W+/g, '-')}.json`, `${JSON.stringify(plan, undefined, 2)}\n`)
}

function RuleFields({ rule }: { rule: RuleEdit }) {
  const set = (changes: Partial<RuleEdit>): void => { edited.value = { ...rule, ...changes } }
  const depths = details.value === undefined ? [] : depthsOf(details.value)
  const depth = depths.findIndex(prefix => rule.inherit.length === 1 && rule.inherit[0] === prefix)
  return (
    <>
      <NumberField label="Interval" hint={`a full step in ${rule.every}`} value={rule.every} standard={3} min={1} max={20} onChange={every => set({ every: every ?? 3 })} />
      <SelectField label="Inherits" value={depth < 0 ? rule.inherit.join(', ') : depths[depth] ?? ''} onChange={prefix => set({ inherit: [prefix] })}
        options={[...(depth < 0 ? [{ value: rule.inherit.join(', '), label: rule.inherit.join(', ') }] : []),
          ...depths.map((prefix, i) => ({ value: prefix, label: `${prefix} (depth ${i})` }))]} />
      <NumberField label="First in full" hint="steps" value={rule.warmup} standard={0} min={0} max={20} onChange={warmup => set({ warmup: warmup ?? 0 })} />
      <NumberField label="Last in full" hint="steps" value={rule.final} standard={0} min={0} max={20} onChange={final => set({ final: final ?? 0 })} />
      <NumberField label="Extrapolate" hint={rule.extrapolate === 0 ? 'values are repeated' : 'along their last change'} value={rule.extrapolate} standard={0}
        min={0} max={2} slideTo={1} step={0.05} onChange={extrapolate => set({ extrapolate: extrapolate ?? 0 })} />
      <NumberField label="Guided from" hint={rule.guidedTo === 1 ? 'at every step' : 'the first share of the run unguided from'} value={rule.guidedTo} standard={1} min={0} max={1} step={0.05}
        onChange={guidedTo => set({ guidedTo: guidedTo ?? 1 })} />
    </>
  )
}

/** What the plan costs: the numbers that change while one paints. */
export function Figures() {
  const found = cost.value, time = prediction.value
  const measuring = useSignal(false)
  if (found === undefined) return <div class="figures" />
  const sum = time?.steps.reduce((total, each) => total + each, 0)
  const fullMs = time === undefined ? undefined : time.fullStep * found.passes
  const measure = async (): Promise<void> => {
    measuring.value = true
    const { width, height } = request.value
    const model = modelName.value
    await attempt(async () => {
      const profile = await api.profile({
        ...(model !== undefined && { model }), ...(width !== undefined && { width }), ...(height !== undefined && { height }),
      })
      profiles.value = { ...profiles.value, [profileKey(model, width, height)]: profile }
    })
    measuring.value = false
  }
  return (
    <dl class="figures" aria-label="Cost of the plan">
      <div class="big"><dt>Counted speed-up</dt><dd>{(found.fullMacs / found.macs).toFixed(2)}<small>×</small></dd></div>
      <div>
        <dt>Multiply-accumulates</dt>
        <dd>{count(found.macs)} <small>{percent(found.macs / found.fullMacs)} of {count(found.fullMacs)}</small></dd>
      </div>
      <div>
        <dt>Predicted time</dt>
        {sum === undefined || fullMs === undefined
          ? <dd><Button kind="plain" icon="profile" disabled={measuring.value} onClick={() => void measure()}>{measuring.value ? 'Measuring…' : 'Measure'}</Button></dd>
          : <dd>{duration(sum)} <small>of {duration(fullMs)}, by {time?.by === 'profile' ? 'the profile' : 'the last run'}</small></dd>}
      </div>
      <div><dt>Memory</dt><dd>{bytes(found.keptBytes)} <small>kept, {bytes(found.arenaBytes)} at work</small></dd></div>
    </dl>
  )
}
