import { useSignal } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import type { Job, JobBody, Statistics } from '../api/types'
import { randomSeed } from '../create/generate'
import { urlOf, type Item } from '../state/gallery'
import { cancelAll, running, submit } from '../state/jobs'
import { attempt } from '../state/messages'
import { modelName } from '../state/models'
import { bodyOf, change, request, source } from '../state/request'
import { Button, NumberField, Segments } from '../ui/controls'
import { pixelsOf } from '../ui/files'
import { duration, percent } from '../ui/format'
import { cost, planForRequest, planName } from './state'
import { differenceOf, likeness } from './likeness'

interface Side { item: Item, ms: number | undefined }

interface Pair { full: Side, plan: Side, name: string, psnr: number, difference: ImageData, share: number | undefined }

/** Runs the same request in full and by the plan, and shows both over each other. */
export function Compare() {
  const pair = useSignal<Pair | undefined>(undefined)
  const busy = useSignal<'full' | 'plan' | undefined>(undefined)
  const run = async (): Promise<void> => {
    await attempt(async () => {
      const name = planName.value, plan = planForRequest.value
      const seed = request.value.seed === '' ? randomSeed() : request.value.seed
      const body = bodyOf({ ...request.value, seed, count: 1 }, modelName.value, source.value)
      busy.value = 'full'
      // A plan without rules is a full run, to the bit; with it comes the time of each pass.
      const full = sideOf(await submit({ ...body, plan: { version: 1, name: 'full', rules: [] } }))
      if (full === undefined) return
      busy.value = 'plan'
      const fast = await submit({ ...body, ...(plan !== undefined && { plan }) } as JobBody)
      const side = sideOf(fast)
      if (side === undefined) return
      const [a, b] = await Promise.all([pixelsOf(full.item.blob), pixelsOf(side.item.blob)])
      const [statistics] = (fast.job.statistics ?? []) as unknown as Statistics[]
      pair.value = { full, plan: side, name, psnr: likeness(a, b), difference: differenceOf(a, b), share: statistics?.share }
    })
    busy.value = undefined
  }
  const [job] = running.value
  return (
    <section class="compare" aria-label="Compare with the full run">
      <header class="bar">
        <h2>Side by side</h2>
        <input type="text" aria-label="Prompt" placeholder="Prompt" value={request.value.prompt} onInput={event => change({ prompt: event.currentTarget.value })} />
        {busy.value === undefined
          ? <Button kind="primary" icon="compare" disabled={cost.value === undefined} onClick={() => void run()}>Run both</Button>
          : <Button kind="danger" icon="stop" onClick={() => void attempt(cancelAll)}>Cancel</Button>}
      </header>
      {busy.value !== undefined && (
        <div class="said" role="status">
          <strong>{busy.value === 'full' ? 'The full run' : planName.value}</strong>
          <progress max={1} value={job?.job.progress.fraction ?? 0} aria-label="Progress" />
        </div>
      )}
      {pair.value !== undefined
        ? <Result pair={pair.value} />
        : busy.value === undefined && <p class="note">Runs the prompt twice with one seed, in full and by the plan, and shows where the images differ.</p>}
    </section>
  )
}

function sideOf({ job, items: [item] }: { job: Job, items: Item[] }): Side | undefined {
  if (item === undefined) return undefined
  const [statistics] = (job.statistics ?? []) as unknown as Statistics[]
  if (statistics === undefined) return { item, ms: undefined }
  // The first pass also lays out memory, which later runs find in place.
  const [first = 0, ...rest] = statistics.stepMs
  return { item, ms: rest.reduce((sum, ms) => sum + ms, rest.length > 0 ? Math.min(first, Math.max(...rest)) : first) }
}

function Result({ pair }: { pair: Pair }) {
  const { full, plan, name, psnr, difference, share } = pair
  const at = useSignal(50), view = useSignal<'slide' | 'difference'>('slide'), gain = useSignal(8)
  const [a, b] = [urlOf(full.item.blob), urlOf(plan.item.blob)]
  const ratio = `${difference.width} / ${difference.height}`
  return (
    <div class="pair">
      <div class="over" style={{ aspectRatio: ratio }}>
        {view.value === 'slide'
          ? (
              <>
                <img src={b} alt={`By ${name}`} />
                <img src={a} alt="In full" style={{ clipPath: `inset(0 ${100 - at.value}% 0 0)` }} />
                <span class="tag left">full</span><span class="tag right">{name}</span>
                <span class="seam" style={{ left: `${at.value}%` }} aria-hidden="true" />
                <input type="range" min={0} max={100} step={0.5} value={at.value} aria-label="How much of the full run is shown"
                  onInput={event => { at.value = Number(event.currentTarget.value) }} />
              </>
            )
          : <Difference pixels={difference} gain={gain.value} />}
      </div>
      <div class="facts">
        <Segments label="View" value={view.value} onChange={value => { view.value = value }} options={[{ value: 'slide', label: 'Slider' }, { value: 'difference', label: 'Difference' }]} />
        {view.value === 'difference' && <NumberField label="Amplified" hint="times" value={gain.value} standard={8} min={1} max={64} onChange={value => { gain.value = value ?? 8 }} />}
        <dl class="figures">
          <div class="big"><dt>PSNR</dt><dd data-psnr={psnr}>{psnr === Infinity ? 'identical' : <>{psnr.toFixed(1)}<small> dB</small></>}</dd></div>
          <div><dt>UNet time</dt><dd>{plan.ms === undefined ? '–' : duration(plan.ms)} <small>of {full.ms === undefined ? '–' : duration(full.ms)}</small></dd></div>
          <div><dt>Measured speed-up</dt><dd>{plan.ms === undefined || full.ms === undefined ? '–' : (full.ms / plan.ms).toFixed(2)}<small>×</small></dd></div>
          {share !== undefined && <div><dt>Multiply-accumulates</dt><dd>{percent(share)}</dd></div>}
        </dl>
      </div>
    </div>
  )
}

function Difference({ pixels, gain }: { pixels: ImageData, gain: number }) {
  const canvas = useRef<HTMLCanvasElement>(null)
  useEffect(() => {
    const shown = new ImageData(pixels.width, pixels.height)
    for (let i = 0; i < pixels.data.length; i++) shown.data[i] = i % 4 === 3 ? 255 : pixels.data[i]! * gain
    canvas.current?.getContext('2d')?.putImageData(shown, 0, 0)
  }, [pixels, gain])
  return <canvas ref={canvas} width={pixels.width} height={pixels.height} role="img" aria-label={`Differences, ${gain} times amplified`} />
}
