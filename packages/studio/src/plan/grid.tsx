import { useSignal } from '@preact/signals'
import { useMemo, useRef } from 'preact/hooks'
import { details } from '../state/models'
import { percent } from '../ui/format'
import { Icon } from '../ui/icons'
import { paint, toSteps, turnGuidance } from './edited'
import { Ruler } from './ruler'
import { cost, edited, prediction } from './state'
import { Picture, rowsOf, shownRows, type Cell, type Row } from './tree'

const guidanceWords = { full: 'guided', conditional: 'without the unconditional pass', inherit: 'guided along the last guided step’s direction' } as const
const stateWords: Readonly<Record<Cell['state'], string>> = { full: 'runs', part: 'runs in part', inherited: 'inherited', idle: 'not needed' }

/** The plan as a picture: steps across, blocks and units down. Dragging over cells paints what they inherit. */
export function PlanGrid() {
  const model = details.value, found = cost.value
  const open = useSignal<ReadonlySet<string>>(new Set())
  const cursor = useSignal<{ row: number, step: number }>({ row: 0, step: 1 })
  const hover = useSignal<{ row: number, step: number } | undefined>(undefined)
  const painting = useRef<boolean | undefined>(undefined)
  const rows = useMemo(() => (model === undefined ? [] : rowsOf(model)), [model])
  const picture = useMemo(() => (model === undefined || found === undefined ? undefined : new Picture(found, model)), [model, found])
  const visible = shownRows(rows, open.value)
  if (picture === undefined || found === undefined || model === undefined) return <div class="plangrid shimmer" aria-busy="true" />

  const paintCell = (row: Row, step: number, on: boolean): void => {
    if (step === 0) return
    const steps = toSteps(edited.value, found)
    const next = paint(steps.steps, step, row.prefix, on)
    if (JSON.stringify(next) !== JSON.stringify(steps.steps)) edited.value = { ...steps, steps: next }
  }
  /** What the plan under the hand says of a cell, which may be newer than what was counted. */
  const isNamed = (row: Row, step: number): boolean =>
    edited.value.kind === 'steps'
      ? edited.value.steps[step]?.inherit.some(({ prefix }) => prefix === row.prefix) ?? false
      : picture.cell(row, step).named
  const begin = (row: Row, step: number): void => {
    const { within } = picture.cell(row, step)
    painting.current = !(isNamed(row, step) || within !== undefined)
    paintCell(row, step, painting.current)
  }
  const turn = (step: number): void => {
    const steps = toSteps(edited.value, found)
    edited.value = { ...steps, steps: turnGuidance(steps.steps, step) }
  }
  const place = (target: EventTarget | null): { row: number, step: number } | undefined => {
    const cell = target instanceof Element ? target.closest<HTMLElement>('[data-step]') : null
    return cell === null ? undefined : { row: Number(cell.dataset.row), step: Number(cell.dataset.step) }
  }
  const onMove = (event: PointerEvent): void => {
    const at = place(document.elementFromPoint(event.clientX, event.clientY))
    hover.value = at
    const row = at === undefined ? undefined : visible[at.row]
    const on = event.buttons > 0 ? painting.current : undefined
    if (at !== undefined && row !== undefined && on !== undefined) paintCell(row, at.step, on)
  }
  const toggle = (row: Row): void => {
    const next = new Set(open.value)
    if (!next.delete(row.prefix)) next.add(row.prefix)
    open.value = next
  }
  const onKey = (event: KeyboardEvent): void => {
    const { row, step } = cursor.value
    const move = (rows: number, steps: number): void => {
      const within = (value: number, last: number): number => Math.min(last, Math.max(0, value))
      cursor.value = { row: within(row + rows, visible.length), step: within(step + steps, found.passes - 1) }
    }
    const at = visible[row]
    switch (event.key) {
      case 'ArrowUp': move(-1, 0); break
      case 'ArrowDown': move(1, 0); break
      case 'ArrowLeft': move(0, -1); break
      case 'ArrowRight': move(0, 1); break
      case 'Home': move(0, -found.passes); break
      case 'End': move(0, found.passes); break
      case 'Enter': if (at !== undefined && at.children.length > 0) toggle(at); break
      case ' ':
        if (at === undefined) turn(step)
        else { begin(at, step); painting.current = undefined }
        break
      default: return
    }
    hover.value = cursor.value
    event.preventDefault()
  }
  const steps = Array.from({ length: found.passes }, (_, i) => i)
  const most = Math.max(...visible.map(({ macs }) => macs), 1)
  return (
    <div class="plangrid" style={{ '--steps': found.passes }}>
      <Ruler picture={picture} />
      <div class="cells" role="grid" aria-label="What each step runs and inherits" aria-rowcount={visible.length + 1} aria-colcount={found.passes + 1} tabIndex={0}
        aria-activedescendant={`cell-${cursor.value.row}-${cursor.value.step}`} onKeyDown={onKey}
        onPointerDown={event => {
          const at = place(event.target)
          if (at === undefined || event.button !== 0) return
          event.currentTarget.focus()
          event.preventDefault()
          cursor.value = at
          const row = visible[at.row]
          if (row === undefined) turn(at.step)
          else begin(row, at.step)
        }}
        onPointerMove={onMove} onPointerLeave={() => { hover.value = undefined }}
        onPointerUp={() => { painting.current = undefined }} onPointerCancel={() => { painting.current = undefined }}>
        {visible.map((row, r) => (
          <div class={`row depth${row.depth}`} role="row" key={row.prefix}>
            <div class="name" role="rowheader" title={`${row.prefix}: ${percent(row.macs / sumOf(rows))} of a pass`}>
              {row.children.length > 0
                ? <button type="button" tabIndex={-1} class={open.value.has(row.prefix) ? 'fold open' : 'fold'} aria-expanded={open.value.has(row.prefix)}
                    aria-label={`Parts of ${row.prefix}`} onClick={() => toggle(row)}><Icon name="chevron" /></button>
                : <span class="fold" />}
              <span class="label">{row.label}</span>
              <span class="weight" aria-hidden="true"><i style={{ width: `${100 * row.macs / most}%` }} /></span>
            </div>
            {steps.map(step => {
              const cell = picture.cell(row, step)
              const named = isNamed(row, step)
              const state = named ? 'inherited' : cell.state
              const focused = cursor.value.row === r && cursor.value.step === step
              return (
                <div key={step} id={`cell-${r}-${step}`} role="gridcell" data-row={r} data-step={step} aria-selected={named}
                  class={`cell ${state}${named ? ' named' : cell.holds ? ' holds' : ''}${focused ? ' cursor' : ''}`} aria-label={`${row.prefix}, step ${step + 1}: ${stateWords[state]}`}>
                  {(state === 'part' || state === 'full') && <i style={{ height: `${state === 'full' ? 100 : Math.max(12, 100 * cell.runs)}%` }} />}
                </div>
              )
            })}
          </div>
        ))}
        {found.guided && (
          <div class="row guidance" role="row">
            <div class="name" role="rowheader"><span class="fold" /><span class="label">guidance</span></div>
            {steps.map(step => {
              const { guidance } = edited.value.kind === 'steps' ? edited.value.steps[step] ?? { guidance: 'full' as const } : found.steps[step]!
              const focused = cursor.value.row === visible.length && cursor.value.step === step
              return <div key={step} id={`cell-${visible.length}-${step}`} role="gridcell" data-row={visible.length} data-step={step}
                class={`cell guide-${guidance}${focused ? ' cursor' : ''}`} aria-label={`Guidance, step ${step + 1}: ${guidanceWords[guidance]}`}><i /></div>
            })}
          </div>
        )}
      </div>
      <Costs />
      <p class="reading" aria-live="polite">{readingOf(hover.value, visible, picture)}</p>
    </div>
  )
}

const sumOf = (rows: readonly Row[]): number => rows.reduce((sum, { macs }) => sum + macs, 0) || 1

/** What is under the pointer, in words. */
function readingOf(at: { row: number, step: number } | undefined, rows: readonly Row[], picture: Picture): string {
  const step = at === undefined ? undefined : picture.cost.steps[at.step]
  if (at === undefined || step === undefined) return 'Drag over cells to paint what is inherited. Keyboard: arrows move, Space paints, Enter opens a block.'
  const row = rows[at.row]
  const share = `${percent(step.macs * picture.cost.passes / picture.cost.fullMacs)} of a full step`
  if (row === undefined) return `Step ${at.step + 1}: ${guidanceWords[step.guidance]}; ${share}`
  if (at.step === 0) return 'The first step runs in full: there is nothing to inherit yet.'
  const { state, runs, within } = picture.cell(row, at.step)
  const from = picture.sourceOf(row, at.step)
  const said = state === 'inherited'
    ? `inherited${from === undefined ? '' : ` from step ${from + 1}`}${within !== undefined && within !== row.prefix ? `, with ${within}` : ''}`
    : state === 'part' ? `${percent(runs)} of it runs` : state === 'idle' ? 'not run: nothing reads it' : 'runs in full'
  return `Step ${at.step + 1}, ${row.prefix}: ${said}. The step takes ${share}.`
}

/** What each step costs, as bars. */
function Costs() {
  const found = cost.value
  if (found === undefined) return null
  const time = prediction.value
  const full = time?.fullStep ?? found.fullMacs / found.passes
  return (
    <div class="costs" aria-hidden="true">
      <span class="name">{time === undefined ? 'cost of a step' : 'time of a step'}</span>
      {found.steps.map(({ macs }, i) => <span key={i} class="bar"><i style={{ height: `${Math.min(100, 100 * (time?.steps[i] ?? macs) / full)}%` }} /></span>)}
    </div>
  )
}
