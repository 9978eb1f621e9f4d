import { modelName, modelProblem } from '../state/models'
import { Compare } from './compare'
import { PlanGrid } from './grid'
import { Figures, PlanPanel } from './panel'

/** The plan as a picture, what it costs, and what it does to an image. */
export function PlanPage() {
  return (
    <div class="planpage">
      <PlanPanel />
      <section class="page">
        <header class="bar">
          <h1>Plan</h1>
          <span class="hint">{modelName.value}</span>
          <ul class="legend" aria-label="Legend">
            <li><i class="cell full" /> runs</li><li><i class="cell part" /> in part</li>
            <li><i class="cell inherited" /> inherited</li><li><i class="cell idle" /> not needed</li>
          </ul>
        </header>
        {modelProblem.value !== undefined && <p class="problem" role="alert">{modelProblem.value}</p>}
        <Figures />
        <PlanGrid />
        <Compare />
      </section>
    </div>
  )
}
