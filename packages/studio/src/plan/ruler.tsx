import { useRef } from 'preact/hooks'
import { cost, edited } from './state'
import type { Picture } from './tree'

/** Steps by number, and marks at those that run in full. The second mark of a rule can be dragged: it sets the interval. */
export function Ruler({ picture }: { picture: Picture }) {
  const line = useRef<HTMLDivElement>(null)
  const plan = edited.value
  const passes = picture.cost.passes
  const full = new Set(picture.fullSteps)
  const set = (every: number): void => {
    if (edited.value.kind !== 'rule') return
    const next = Math.min(Math.max(1, passes - 1), Math.max(1, Math.round(every)))
    if (next !== edited.value.every) edited.value = { ...edited.value, every: next }
  }
  const drag = (event: PointerEvent): void => {
    if (event.buttons === 0 || line.current === null) return
    const { left, width } = line.current.getBoundingClientRect()
    set(Math.floor((event.clientX - left) / width * passes))
  }
  const gap = passes > 60 ? 10 : passes > 24 ? 5 : 1
  return (
    <div class="ruler">
      <span class="name">step</span>
      <div class="line" ref={line}>
        {picture.cost.steps.map((_, i) => (
          <span key={i} class={full.has(i) ? 'tick full' : 'tick'}>{i === 0 || (i + 1) % gap === 0 ? i + 1 : ''}</span>
        ))}
        {plan.kind === 'rule' && cost.value !== undefined && plan.every < passes && (
          <span class="handle" role="slider" tabIndex={0} aria-label="Interval between full steps" aria-valuemin={1} aria-valuemax={Math.max(1, passes - 1)}
            aria-valuenow={plan.every} aria-valuetext={`a full step in ${plan.every}`} title="Drag the interval"
            style={{ left: `${100 * (plan.every + 0.5) / passes}%` }}
            onPointerDown={event => {
              event.currentTarget.setPointerCapture(event.pointerId)
              event.preventDefault()
              event.currentTarget.focus()
            }}
            onPointerMove={drag}
            onKeyDown={event => {
              if (event.key === 'ArrowRight' || event.key === 'ArrowUp') set(plan.every + 1)
              else if (event.key === 'ArrowLeft' || event.key === 'ArrowDown') set(plan.every - 1)
              else return
              event.preventDefault()
            }} />
        )}
      </div>
    </div>
  )
}
