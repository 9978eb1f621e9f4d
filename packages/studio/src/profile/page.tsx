import { useSignal } from '@preact/signals'
import { api } from '../api/client'
import type { Profile, ProfileRow } from '../api/types'
import { attempt } from '../state/messages'
import { modelName } from '../state/models'
import { request } from '../state/request'
import { profileKey, profiles } from '../plan/state'
import { Button, Segments } from '../ui/controls'
import { bytes, count, duration, percent } from '../ui/format'

const kinds = ['blocks', 'kinds', 'units'] as const
const names = { blocks: 'Blocks', kinds: 'Kinds of arithmetic', units: 'Units' } as const

/** Where the time of a UNet pass goes, beside what the machine can do at most. */
export function ProfilePage() {
  const by = useSignal<typeof kinds[number]>('blocks'), busy = useSignal(false)
  const { width, height } = request.value
  const model = modelName.value
  const key = profileKey(model, width, height)
  const profile = profiles.value[key]
  const measure = async (): Promise<void> => {
    busy.value = true
    await attempt(async () => {
      const size = { ...(width !== undefined && { width }), ...(height !== undefined && { height }) }
      const found = await api.profile({ ...(model !== undefined && { model }), ...size })
      profiles.value = { ...profiles.value, [key]: found }
    })
    busy.value = false
  }
  return (
    <section class="page">
      <header class="bar">
        <h1>Profile</h1>
        <span class="hint">{model}{width === undefined && height === undefined ? '' : `, ${width ?? 'own'} × ${height ?? 'own'}`}</span>
        <Button kind={profile === undefined ? 'primary' : 'plain'} icon="profile" disabled={busy.value || model === undefined} onClick={() => void measure()}>
          {busy.value ? 'Measuring…' : profile === undefined ? 'Measure' : 'Measure again'}
        </Button>
      </header>
      {profile === undefined
        ? (
            <div class="blank tall">
              <div class="invite">
                <h2>{busy.value ? 'Measuring' : 'Not measured yet'}</h2>
                <p>{busy.value ? 'A process of its own loads the model, measures the machine, and times three guided passes of the UNet.' : 'Times every unit of a guided UNet pass and holds it against the machine’s own limits. The plan page then predicts times by it.'}</p>
                {busy.value && <progress aria-label="Measuring" />}
              </div>
            </div>
          )
        : <Measured profile={profile} by={by.value} onBy={value => { by.value = value }} />}
    </section>
  )
}

function Measured({ profile, by, onBy }: { profile: Profile, by: typeof kinds[number], onBy: (by: typeof kinds[number]) => void }) {
  const { whole, passMs, dtype, cpu, threads, peakGflops, peakGBs } = profile
  const rows = by === 'blocks' ? profile.blocks : [...profile[by]].sort((a, b) => b.ms - a.ms)
  const most = Math.max(...rows.map(({ ms }) => ms), 1e-9)
  return (
    <>
      <dl class="figures">
        <div class="big"><dt>A guided pass</dt><dd>{duration(passMs)}</dd></div>
        <div><dt>Arithmetic</dt><dd>{whole.gflops.toFixed(0)} GFLOP/s <small>of {peakGflops.toFixed(0)}</small></dd></div>
        <div><dt>Of the roofline</dt><dd>{percent(whole.ofRoofline)} <small>copies {peakGBs.toFixed(1)} GB/s</small></dd></div>
        <div><dt>Runs on</dt><dd>{cpu} <small>{dtype}, {threads} {threads === 1 ? 'thread' : 'threads'}</small></dd></div>
      </dl>
      <div class="bar"><Segments label="Rows" value={by} onChange={onBy} options={kinds.map(value => ({ value, label: names[value] }))} /></div>
      <div class="tablebox">
        <table class="units">
          <thead>
            <tr>
              <th>{names[by]}</th><th class="share">Time</th><th class="number">Share</th><th class="number">MACs</th><th class="number">GFLOP/s</th>
              <th class="number">Bytes</th><th class="number">Of roofline</th>
            </tr>
          </thead>
          <tbody>{rows.map(row => <Timed key={row.name} row={row} most={most} />)}</tbody>
        </table>
      </div>
    </>
  )
}

function Timed({ row: { name, ms, share, macs, gflops, bytes: size, ofRoofline, boundMs }, most }: { row: ProfileRow, most: number }) {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td class="share">
        <span class="weight two" aria-hidden="true"><i style={{ width: `${100 * ms / most}%` }} /><b style={{ width: `${100 * Math.min(ms, boundMs) / most}%` }} /></span>
        {duration(ms)}
      </td>
      <td class="number">{percent(share)}</td>
      <td class="number">{macs === 0 ? '–' : count(macs)}</td>
      <td class="number">{macs === 0 ? '–' : gflops.toFixed(0)}</td>
      <td class="number">{bytes(size)}</td>
      <td class="number">{percent(ofRoofline)}</td>
    </tr>
  )
}
