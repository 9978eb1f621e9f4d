import { AsdmError } from '../base/errors'
import { locateModel } from '../hub/locate-model'
import type { CallRow, ForwardShape, NativeModelSpec } from '../native/binding'
import { loadAddon } from '../native/load'
import { Contender, type Answer } from './contender'
import { contest } from './contest'
import type { BenchContext } from './context'
import { imageContest, imageTask } from './images'
import { blockOf, kindOf, layerOf, mergePasses, rollUp, shapeOf, wholeOf } from './profile'
import type { BenchOps, BenchPart, BenchPlan, Suite } from './report'
import type { Peaks } from './roofline'
import { measured } from './statistics'

/** Starts a process of ours, uses it, ends it. */
async function withWorker<T>(
  context: BenchContext, spec: ReturnType<BenchContext['worker']>, use: (contender: Contender) => Promise<T>,
): Promise<T> {
  const contender = new Contender(spec, context.work, context.signal)
  try {
    return await use(contender)
  } finally {
    await contender.quit()
  }
}

/** Measures the machine, then runs the suites that were asked for, in the order in which a reader wants them to fail. */
export async function runSuites(context: BenchContext, tellPeaks: (peaks: Peaks) => void): Promise<void> {
  context.onProgress('the machine')
  const { peaks } = await withWorker(
    context, context.worker('machine', 'fp32'), contender => contender.ask('peaks'),
  ) as Answer & { peaks: Peaks }
  tellPeaks(peaks)
  for (const suite of context.suites) {
    if (suite === 'ops') await opsSuite(context, peaks)
    else if (suite === 'unet') await partSuite(context, 'unet', 'unet')
    else if (suite === 'pipeline') await pipelineSuite(context)
    else await plansSuite(context)
  }
  const { report, suites, imagePeers } = context
  if (suites.includes('unet') && !suites.includes('pipeline'))
    for (const name of imagePeers?.names ?? [])
      report.peers.push({ name, absent: 'it makes whole images only, so it takes part in the suite pipeline.' })
  // What gave another result has no time.
  report.ops = report.ops.filter(({ part, dtype }) => report.checks.every(({ name, ok }) => ok || name !== `${part} asdm ${dtype}`))
}

/** Every kernel call of the passes that an image consists of, against the roofline. */
async function opsSuite(context: BenchContext, peaks: Peaks): Promise<void> {
  for (const part of ['unet', 'vae-decoder', 'text-encoder'] as const) {
    const { name } = await context.inputs(part)
    const checkedBy: Record<BenchPart, Suite | undefined> = { 'unet': 'unet', 'vae-decoder': 'pipeline', 'text-encoder': undefined }
    if (!context.suites.some(suite => suite === checkedBy[part])) await partSuite(context, 'ops', part)
    for (const dtype of context.dtypes) {
      context.onProgress(`ops: ${part} in ${dtype}`)
      await withWorker(context, context.worker(part, dtype), async contender => {
        await contender.ask('load')
        const { ms, passes } = await contender.ask(`profile ${name} ${context.runs}`) as Answer & { passes: CallRow[][] }
        context.report.ops.push(opsOf(part, dtype, ms, passes, peaks))
      })
    }
  }
}

/** Passes of a part, rolled up. */
function opsOf(part: BenchPart, dtype: string, passMs: number, passes: readonly (readonly CallRow[])[], peaks: Peaks): BenchOps {
  const calls = mergePasses(passes, peaks)
  const layers = rollUp(calls, ({ name }) => layerOf(name)).map(row => {
    const inside = rollUp(calls.filter(({ name }) => layerOf(name) === row.name), kindOf)
    return { ...row, kinds: Object.fromEntries(inside.map(({ name, ms }) => [name, ms])) }
  })
  const first = new Map(calls.map(call => [`${shapeOf(call)} ${call.dtype}`, call]))
  const shapes = rollUp(calls, call => `${shapeOf(call)} ${call.dtype}`).map(row => {
    const call = first.get(row.name)!
    return { ...row, name: shapeOf(call), kind: kindOf(call), dtype: call.dtype }
  })
  return {
    part, dtype, passMs, whole: wholeOf(calls), kinds: rollUp(calls, kindOf), blocks: rollUp(calls, ({ name }) => blockOf(name)), layers,
    shapes,
  }
}

/** One part, ours and the peers'; for the suite `ops`, which times by kernel, its result is only checked. */
async function partSuite(context: BenchContext, suite: 'ops' | 'unet' | 'pipeline', part: BenchPart): Promise<void> {
  const { report, dtypes, work, signal, onProgress } = context
  const runs = suite === 'ops' ? 0 : context.runs
  const { name, input } = await context.inputs(part)
  const findPeers = suite === 'ops' ? undefined : context.findPeers
  const { found, absent } = await findPeers?.({
    part, model: context.checkpoint.path, work, inputs: name, threads: context.threads, dtypes, input,
  })
  ?? { found: [], absent: [] }
  for (const peer of [...found.map(spec => ({ name: `${spec.name} ${spec.dtype}` })), ...absent])
    if (!report.peers.some(known => known.name === peer.name && known.absent === ('absent' in peer ? peer.absent : undefined)))
      report.peers.push(peer)
  const reference = context.worker(part, 'fp32')
  const ours = dtypes.map(dtype => (dtype === 'fp32' ? reference : context.worker(part, dtype)))
  // fp32 against fp32; what rounds more against what rounds more. The first group holds three copies of the weights, no more fit.
  const groups = [true, false].map(exact =>
    [...ours, ...found].filter(spec => (spec.dtype === 'fp32') === exact)).filter(group => group.some(spec => spec.ours))
  const sets = loadAddon().cpuInfo().usable.filter(set =>
    set !== report.machine.set && !(set.startsWith('avx512') && report.machine.set.startsWith('avx512')))
  const second = sets[0] === undefined ? undefined : { ...context.worker(part, 'fp32', { cpu: sets[0] }), name: `asdm on ${sets[0]}` }
  const result = await contest({ suite, part, reference, groups, second, work, inputs: name, runs, signal, onProgress })
  report.cases.push(...result.cases)
  report.checks.push(...result.checks)
  report.ratios.push(...result.ratios)
  report.notes.push(...result.notes)
}

/** A whole image: memory, the time of each phase; the decoder beside the peers'; and loading against reading. */
async function pipelineSuite(context: BenchContext): Promise<void> {
  await partSuite(context, 'pipeline', 'vae-decoder')
  const { report, checkpoint } = context
  const { found, absent } = await context.imagePeers?.find({
    checkpoint, work: context.work, threads: context.threads, signal: context.signal,
  })
  ?? { found: [], absent: [] }
  report.peers.push(...found.map(({ name, dtype }) => ({ name: `${name} ${dtype}` })), ...absent)
  const task = imageTask(report.shape, report.size, checkpoint.schedulerConfig)
  const side = checkpoint.unet.config.sampleSize
  const count = (shape: NativeModelSpec, input: ForwardShape): number => {
    const model = loadAddon().createModel(shape, { dtype: 'fp32', threads: 1, cpu: context.cpu })
    const { macs } = model.describe(input)
    model.dispose()
    return macs
  }
  await imageContest({
    report, task, worker: dtype => context.worker('pipeline', dtype, { image: task }), dtypes: context.dtypes, peers: found,
    macs: {
      unet: count({
        kind: 'unet', config: checkpoint.unet.config,
      }, { batch: 2, height: side, width: side, length: checkpoint.textEncoder.config.maxPositionEmbeddings }),
      decoder: count({ kind: 'vae_decoder', config: checkpoint.vae.config }, { batch: 1, height: side, width: side }),
    },
    work: context.work, runs: context.runs, signal: context.signal, onProgress: context.onProgress,
  })
  for (const dtype of context.dtypes) {
    context.onProgress(`loading: ${dtype}`)
    // A process of its own, for that of the images tells how much memory they take.
    const { times } = await withWorker(
      context, context.worker('pipeline', dtype), contender => contender.ask(`loading ${context.runs}`),
    ) as Answer & { times: Record<'load' | 'fresh' | 'small', number[]> }
    report.loading.push({ dtype, load: measured(times.load), fresh: measured(times.fresh), small: measured(times.small) })
  }
}

/** What plans bring on this shape, and what they cost in likeness on the shipped model, whose images mean something. */
async function plansSuite(context: BenchContext): Promise<void> {
  const { report } = context
  // Where a plan's time is looked at, one number format is enough: the fastest.
  const dtype = context.dtypes.at(-1)!
  const rows: BenchPlan[] = []
  await withWorker(context, context.worker('unet', dtype), async contender => {
    await contender.ask('load')
    for (const plan of context.plans) {
      context.onProgress(`plans: ${plan} in ${dtype}`)
      const { speedUp, counted, fullMs, keptBytes } = await contender.ask(
        `plan ${plan.replace(/\s+/g, '')} 20 ${context.runs}`,
      ) as Answer & BenchPlan
      rows.push({ plan, speedUp, counted, fullMs, keptBytes })
    }
  })
  const emoji = report.shape === 'emoji' ? context.checkpoint.path : await locateModel('emoji', {}).then(({ path }) => path, (error: unknown) => {
    if (!(error instanceof AsdmError)) throw error
    return undefined
  })
  if (emoji === undefined) report.notes.push('The likeness of plans\' images was not measured: the package @asdm/emoji is not installed.')
  else await withWorker(context, context.worker('pipeline', 'fp32', { model: emoji }), async contender => {
    await contender.ask('load')
    for (const row of rows) {
      context.onProgress(`plans: images with ${row.plan}`)
      const { psnr, ssim } = await contender.ask(
        `quality ${row.plan.replace(/\s+/g, '')} 20 ${context.images}`,
      ) as Answer & { psnr: number, ssim: number }
      Object.assign(row, { psnr, ssim })
    }
  })
  report.plans.push(...rows)
}
