import type { ComponentChildren } from 'preact'
import { useId, useState } from 'preact/hooks'
import { Icon, type IconName } from './icons'

interface Labelled {
  label: string
  /** A word behind the label. */
  hint?: ComponentChildren
}

function Head({ label, hint, id }: Labelled & { id: string }) {
  return <div class="head"><label for={id}>{label}</label>{hint !== undefined && <span class="hint" id={`${id}-hint`}>{hint}</span>}</div>
}

/** A label over what it belongs to. */
export function Field({ label, hint, id, children }: Labelled & { id: string, children: ComponentChildren }) {
  return (
    <div class="field">
      <Head label={label} hint={hint} id={id} />
      {children}
    </div>
  )
}

interface Numeric extends Labelled {
  value: number | undefined
  /** What holds where nothing is chosen. */
  standard: number
  min: number
  max: number
  step?: number
  /** The greatest that the slider reaches; numbers beyond it can be typed. */
  slideTo?: number
  onChange: (value: number | undefined) => void
}

/** A number with a slider. */
export function NumberField({ label, hint, value, standard, min, max, step = 1, slideTo = max, onChange }: Numeric) {
  const id = useId()
  const shown = value ?? standard
  // What is being typed stays, whatever is drawn anew meanwhile.
  const [typed, setTyped] = useState<string | undefined>(undefined)
  const take = (text: string): void => {
    const number = Number(text)
    const near = step < 1 ? number : min + Math.round((number - min) / step) * step
    if (text === '') onChange(undefined)
    else if (Number.isFinite(number)) onChange(Math.min(max, Math.max(min, near)))
  }
  return (
    <div class={hint === undefined ? 'field numeric' : 'field'}>
      <Head label={label} hint={hint} id={id} />
      <div class="slide">
        <input type="range" aria-label={`${label}, slider`} min={min} max={slideTo} step={step} value={Math.min(shown, slideTo)}
          onInput={event => take(event.currentTarget.value)} />
        <input id={id} type="number" aria-describedby={hint === undefined ? undefined : `${id}-hint`} min={min} max={max} step={step} value={typed ?? shown}
          onInput={event => setTyped(event.currentTarget.value)}
          onChange={event => {
            setTyped(undefined)
            take(event.currentTarget.value)
          }} />
      </div>
    </div>
  )
}

interface Choosing extends Labelled {
  value: string
  options: readonly { value: string, label: string }[]
  onChange: (value: string) => void
  disabled?: boolean
}

export function SelectField({ label, hint, value, options, onChange, disabled = false }: Choosing) {
  const id = useId()
  return (
    <Field label={label} hint={hint} id={id}>
      <select id={id} value={value} disabled={disabled} onChange={event => onChange(event.currentTarget.value)}>
        {options.map(option => <option key={option.value} value={option.value}>{option.label}</option>)}
      </select>
    </Field>
  )
}

interface Pressing {
  children?: ComponentChildren
  icon?: IconName
  kind?: 'primary' | 'plain' | 'quiet' | 'danger'
  title?: string
  disabled?: boolean
  pressed?: boolean
  onClick: () => void
}

export function Button({ children, icon, kind = 'plain', title, disabled = false, pressed, onClick }: Pressing) {
  const bare = children === undefined
  return (
    <button type="button" class={`button ${kind}${bare ? ' bare' : ''}`} title={title} aria-label={bare ? title : undefined} disabled={disabled}
      aria-pressed={pressed} onClick={onClick}>
      {icon !== undefined && <Icon name={icon} />}
      {children}
    </button>
  )
}

interface Switching {
  label: ComponentChildren
  checked: boolean
  disabled?: boolean
  onChange: (on: boolean) => void
}

export function Toggle({ label, checked, disabled = false, onChange }: Switching) {
  return (
    <label class="toggle">
      <input type="checkbox" role="switch" checked={checked} disabled={disabled} onChange={event => onChange(event.currentTarget.checked)} />
      <span class="track" aria-hidden="true" />
      <span>{label}</span>
    </label>
  )
}

/** Buttons of which one is chosen. */
export function Segments<Value extends string>({ label, value, options, onChange }: {
  label: string
  value: Value | undefined
  options: readonly { value: Value, label: ComponentChildren }[]
  onChange: (value: Value) => void
}) {
  return (
    <div class="segments" role="group" aria-label={label}>
      {options.map(option => (
        <button key={option.value} type="button" aria-pressed={option.value === value} onClick={() => onChange(option.value)}>{option.label}</button>
      ))}
    </div>
  )
}

/** A button that opens files. */
export function FileButton({ label, accept, onFile }: { label: string, accept: string, onFile: (file: File) => void }) {
  return (
    <label class="button plain filebutton">
      <Icon name="upload" />
      {label}
      <input type="file" accept={accept} class="unseen" onChange={event => {
        const [file] = event.currentTarget.files ?? []
        if (file !== undefined) onFile(file)
        event.currentTarget.value = ''
      }} />
    </label>
  )
}
