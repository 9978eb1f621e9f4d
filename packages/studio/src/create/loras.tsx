import { Button, NumberField, SelectField } from '../ui/controls'
import { change, request } from '../state/request'
import { choices } from '../state/models'

/** LoRAs of the request, each with its weight. */
export function LoraList() {
  const { loras } = request.value
  const free = choices.value.loras.filter(name => !loras.some(each => each.name === name))
  const set = (name: string, weight: number): void => change({ loras: loras.map(each => (each.name === name ? { name, weight } : each)) })
  return (
    <fieldset>
      <legend>LoRA</legend>
      {loras.map(({ name, weight }) => (
        <div class="lora" key={name}>
          <NumberField label={name} value={weight} standard={1} min={-2} max={2} step={0.05} onChange={value => set(name, value ?? 1)} />
          <Button icon="close" kind="quiet" title={`Without ${name}`} onClick={() => change({ loras: loras.filter(each => each.name !== name) })} />
        </div>
      ))}
      {free.length > 0 && (
        <SelectField label="Add" value="" options={[{ value: '', label: 'Choose a LoRA' }, ...free.map(name => ({ value: name, label: name }))]}
          onChange={name => { if (name !== '') change({ loras: [...loras, { name, weight: 1 }] }) }} />
      )}
    </fieldset>
  )
}
