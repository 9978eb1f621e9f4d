import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { baselineOf, compareRatios } from '../../bench/compare'
import { contest } from '../../lib/measure/contest'
import type { ContenderSpec } from '../../lib/measure/contender'
import { doubts } from '../../lib/measure/doubts'
import { goalsOf } from '../../lib/measure/goals'
import { reportPage } from '../../lib/measure/html/page'
import { count, escaped, percent, time } from '../../lib/measure/html/text'
import { niceStep } from '../../lib/measure/html/charts'
import type { BenchCase, BenchOps, BenchReport } from '../../lib/measure/report'
import { measured, median, pairedRatio, relativeRms } from '../../lib/measure/statistics'
import { randomModel, writeRandomModel } from '../../lib/measure/random-model'
import { shapes } from '../../lib/measure/shapes'
import { reportText } from '../../lib/measure/text'
import { writeTensors } from '../../lib/measure/tensors'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { Tokenizer } from '../../lib/text/tokenizer'
import { addon } from '../graph/support'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { asdm } from './support'

test('statistics', t => {
  t.is(median([3, 1, 2]), 2)
  t.is(median([4, 1, 2, 3]), 2.5)
  t.deepEqual(measured([10, 8, 12]), { values: [10, 8, 12], median: 10, least: 8, most: 12, spread: 0.2 })
  t.is(measured([5]).spread, 0)
  // The machine is twice as slow in the second round: the quotients do not see it.
  t.deepEqual(pairedRatio([1, 2, 1], [2, 4, 2]), { values: [0.5, 0.5, 0.5], median: 0.5, least: 0.5, most: 0.5, spread: 0 })
  t.is(relativeRms([1, 2], [1, 2]), 0)
  t.is(relativeRms([3, 5], [3, 4]), 0.2)
  t.true(Number.isNaN(relativeRms([1], [1, 2])))
  t.true(Number.isNaN(relativeRms([NaN, 1], [1, 1])))
})

/** A contender that gives `values`, takes `ms`, and notes its runs in a common log. */
function fake(folder: string, name: string, dtype: string, values: number[] | string, ms: number, ours = false): ContenderSpec {
  const file = path.join(folder, `${name}-${dtype}.js`)
  fs.writeFileSync(file, `
    const fs = require('node:fs')
    require('node:readline').createInterface({ input: process.stdin }).on('line', line => {
      const [command, , to] = line.split(' ')
      if (command === 'quit') process.exit(0)
      if (command === 'run') {
        fs.appendFileSync('log', ${JSON.stringify(`${name} `)})
        ${typeof values === 'string' ? values : `
        const data = Float32Array.from(${JSON.stringify(values)}), header = JSON.stringify({ sample: { dtype: 'F32', shape: [data.length], data_offsets: [0, data.byteLength] } })
        const length = Buffer.alloc(8)
        length.writeBigUInt64LE(BigInt(header.length))
        fs.writeFileSync(to, Buffer.concat([length, Buffer.from(header), Buffer.from(data.buffer)]))`}
      }
      console.log(JSON.stringify({ ms: ${ms}, peakBytes: 1000, macs: ${ours ? 5e6 : 0}, version: '1.2' }))
    })`)
  return { name, dtype, ours, command: process.execPath, args: [file] }
}

async function hold(
  folder: string, groups: ContenderSpec[][],
  more: { second?: ContenderSpec, reference?: ContenderSpec, signal?: AbortSignal, turnMs?: number } = {},
) {
  await writeTensors(path.join(folder, 'in.safetensors'), { sample: { data: Float32Array.of(1), shape: [1] } })
  const result = await contest({
    suite: 'unet', part: 'unet', reference: more.reference ?? groups[0][0], groups, ...more, work: folder, inputs: 'in.safetensors',
    runs: 3, turnMs: more.turnMs ?? 0, onProgress: () => {},
  })
  return { ...result, log: fs.readFileSync(path.join(folder, 'log'), 'utf8').trim().split(' ') }
}

test('a contest checks results first, then lets all take turns in alternating order', async t => {
  const folder = temporaryFolder(t)
  const [ours, peer] = [fake(folder, 'us', 'fp32', [1, 2], 4, true), fake(folder, 'them', 'fp32', [1, 2.0001], 8)]
  const { cases, checks, ratios, notes, log } = await hold(folder, [[ours, peer]])
  t.deepEqual(log, ['us', 'them', 'us', 'them', 'them', 'us', 'us', 'them'])
  t.deepEqual(checks.map(({ name, against, ok }) => ({ name, against, ok })), [{ name: 'unet them fp32', against: 'us fp32', ok: true }])
  t.deepEqual(notes, [])
  t.like(cases[0], { contender: 'us', dtype: 'fp32', ours: true, macs: 5e6, peakBytes: 1000, version: '1.2' })
  t.is(cases[1].ms.median, 8)
  t.is(cases[1].macs, 5e6)
  t.deepEqual(ratios.map(({ name, value }) => [name, value.median]), [['unet fp32 / them fp32', 0.5]])
})

test('who takes milliseconds runs several times a turn', async t => {
  const folder = temporaryFolder(t)
  const { cases, log } = await hold(
    folder,
    [[fake(folder, 'us', 'fp32', [1, 2], 4, true), fake(folder, 'them', 'fp32', [1, 2], 30), fake(folder, 'tiny', 'fp32', [1, 2], 0)]],
    { turnMs: 10 },
  )
  const count = (name: string): number => log.filter(each => each === name).length
  t.deepEqual([count('us'), count('them'), count('tiny')], [1 + 3 * 3, 1 + 3, 1 + 3 * 20])
  t.deepEqual(cases.map(({ ms }) => ms.values), [[4, 4, 4], [30, 30, 30], [0, 0, 0]])
})

test('who gives another result is not timed, who fails is told, and the others go on', async t => {
  const folder = temporaryFolder(t)
  const [ours, wrong, broken, silent] = [
    fake(folder, 'us', 'fp32', [1, 2], 4, true), fake(folder, 'wrong', 'fp32', [1, 2.1], 1), fake(
      folder, 'broken', 'fp32', 'console.error("no luck"); process.exit(3)', 1,
    ), fake(folder, 'odd', 'fp32', 'console.log("hello")', 1),
  ]
  const { cases, checks, notes } = await hold(folder, [[ours, wrong, broken, silent]])
  t.deepEqual(cases.map(({ contender }) => contender), ['us'])
  t.deepEqual(checks.map(({ ok }) => ok), [false])
  t.regex(notes[0], /wrong fp32 differs/)
  t.regex(notes[1], /broken fp32 failed: .*ended with code 3: no luck/)
  t.regex(notes[2], /odd fp32 failed: .*said "hello"/)
})

test('ours that fails is an error; without a peer in fp32 another kernel set checks', async t => {
  const folder = temporaryFolder(t)
  await t.throwsAsync(hold(
    folder, [[fake(folder, 'us', 'fp32', 'process.exit(9)', 1, true)]],
  ), { code: 'INTERNAL', message: /Expected us \(fp32\) to answer "run .*ended with code 9/ })
  const [ours, half, peer, second] = [
    fake(folder, 'us', 'fp32', [1, 2], 4, true), fake(folder, 'us', 'bf16', [1, 2.01], 2, true), fake(folder, 'them', 'bf16', [1, 1.99], 3),
    fake(folder, 'us on portable', 'fp32', [1, 2], 9, true),
  ]
  const { checks, ratios, cases } = await hold(folder, [[ours], [half, peer]], { second })
  t.deepEqual(checks.map(({ name }) => name), ['unet us on portable fp32', 'unet us bf16', 'unet them bf16'])
  t.deepEqual(ratios.map(({ name }) => name), ['unet bf16 / them bf16'])
  t.is(cases.length, 3)
  // Ours in fp32 is the reference even where its time is not asked for.
  const only = await hold(folder, [[half, peer]], { reference: ours })
  t.deepEqual(only.cases.map(({ contender, dtype }) => `${contender} ${dtype}`), ['us bf16', 'them bf16'])
})

test('an abort ends whoever is running', async t => {
  const folder = temporaryFolder(t)
  const controller = new AbortController()
  const stuck = fake(folder, 'us', 'fp32', 'fs.writeFileSync(\'pid\', String(process.pid)); setInterval(() => {}, 1000); return', 1, true)
  const held = hold(folder, [[stuck]], { signal: controller.signal })
  const file = path.join(folder, 'pid')
  while (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') === '') await new Promise(resolve => setTimeout(resolve, 20))
  controller.abort()
  t.is(await held.then(() => 'done', (error: Error) => error.name), 'AbortError')
  t.throws(() => process.kill(Number(fs.readFileSync(file, 'utf8')), 0), { code: 'ESRCH' })
})

const ratio = (value: number, spread = 0): { value: number, spread: number } => ({ value, spread })

test('a comparison fails for what is worse by more than both spreads', t => {
  const verdicts = (stored: number, found: number, before = 0, now = 0): string =>
    compareRatios({ a: ratio(stored, before) }, { a: ratio(found, now) })[0].verdict
  t.is(verdicts(0.8, 0.805), 'even')
  t.is(verdicts(0.8, 0.82), 'worse')
  t.is(verdicts(0.8, 0.82, 0.05), 'even')
  t.is(verdicts(0.8, 0.82, 0, 0.05), 'even')
  t.is(verdicts(0.8, 0.7), 'better')
  t.deepEqual(
    compareRatios({ a: ratio(1) }, { b: ratio(2) }).map(({ name, verdict }) => [name, verdict]), [['a', 'not measured'], ['b', 'new']],
  )
})

const timed = (more: Partial<BenchCase>): BenchCase =>
  ({
    suite: 'unet', name: 'unet', contender: 'asdm', dtype: 'fp32', ours: true, ms: measured([10, 11, 12]), macs: 1e9, peakBytes: 1e9,
    loadMs: 100, ...more,
  })

test('goals: speed and memory at Stable Diffusion 1.5\'s size only, accuracy everywhere', t => {
  const found = {
    ratios: [
      { name: 'unet bf16 / PyTorch bf16', value: measured([0.7]) }, { name: 'unet fp32 / onnxruntime fp32', value: measured([0.9]) },
    ],
    cases: [timed({ name: 'generate', dtype: 'bf16', peakBytes: 2.7e9 }), timed({ name: 'generate', dtype: 'fp32', peakBytes: 9e9 })],
    loading: [
      { dtype: 'bf16', load: measured([30, 14, 14]), fresh: measured([10, 10, 20]), small: measured([1, 1, 1]) },
      { dtype: 'fp32', load: measured([16]), fresh: measured([10]), small: measured([20]) },
    ],
    checks: [{ name: 'unet asdm bf16', against: 'asdm fp32', difference: 5e-3, limit: 3e-2, ok: true }],
  }
  const report = { ...found, ops: [] }
  t.deepEqual(
    goalsOf({ ...report, shape: 'emoji' }).map(({ name, met }) => [name, met]), [['difference of a UNet pass from fp32, bf16', true]],
  )
  t.deepEqual(goalsOf({ ...report, shape: 'sd15' }).slice(1).map(({ name, met }) => [name, met]), [
    ['unet bf16 / PyTorch bf16', true], ['unet fp32 / onnxruntime fp32', false], ['memory for an image, bf16', false], [
      'loading / reading into new memory, bf16', true,
    ], ['loading / reading into new memory, fp32', false],
  ])
})

/** A profile of one call for each row: its kernel's size, time and least time. */
const opsWith = (part: BenchOps['part'], dtype: string, rows: [string, number, number][]): BenchOps => {
  const row = (name: string, ms: number, boundMs: number) =>
    ({ name, calls: 1, ms, share: 0, macs: 1, gflops: 1, bytes: 1, boundMs, ofRoofline: boundMs / ms, kind: 'linear', dtype })
  const sum = (i: 1 | 2): number => rows.reduce((total, each) => total + each[i], 0)
  return {
    part, dtype, passMs: sum(1), whole: row('all', sum(1), sum(2)), kinds: [], blocks: [], layers: [],
    shapes: rows.map(each => row(...each)),
  }
}

test('a missed goal says which kernels miss it, and by how much', t => {
  const ops = [
    opsWith('vae-decoder', 'fp32', [['z', 1, 1]]), opsWith('unet', 'fp32', [['slow', 60, 20], ['fair', 30, 20], ['fast', 10, 10]]),
  ]
  const report = {
    shape: 'sd15', cases: [], checks: [], loading: [], ops,
    ratios: [{ name: 'unet fp32 / onnxruntime fp32', value: measured([1]) }, { name: 'unet fp32 / PyTorch fp32', value: measured([0.5]) }],
  }
  const [goal, met] = goalsOf(report)
  // 100 ms at the ratio 1; 0.85 leaves 85 ms, which is 1.7 times the least time of all.
  t.like(goal, { met: false, missedBy: { part: 'unet', dtype: 'fp32', allowedMs: 85, excessMs: 15 } })
  t.deepEqual(goal.missedBy!.ops.map(op => op.name), ['slow'])
  t.deepEqual([goal.missedBy!.ops[0].allowedMs, goal.missedBy!.ops[0].ms], [34, 60])
  t.is(met.missedBy, undefined)
  t.is(goalsOf({ ...report, ops: [] })[0].missedBy, undefined)
  // Over and under add up to what must go.
  const all = ops[1].shapes.reduce((total, { ms, boundMs }) => total + ms - boundMs * 1.7, 0)
  t.true(Math.abs(all - 15) < 1e-9)
})

test('figures that contradict each other are told', t => {
  const withLinear = (ofRoofline: number): BenchOps => {
    const ops = opsWith('unet', 'fp32', [['a', 11, 5]])
    return {
      ...ops,
      kinds: [{ ...ops.whole, name: 'conv 3x3', share: 0.5, ofRoofline: 2 }, { ...ops.whole, name: 'linear', share: 0.5, ofRoofline }],
    }
  }
  const cases = [timed({ ms: measured([1]), ours: false }), timed({ ms: measured([2]), dtype: 'bf16' }), timed({})]
  t.deepEqual(doubts({ ops: [], cases }), [])
  t.deepEqual(doubts({ ops: [withLinear(0.98)], cases }), [])
  t.regex(doubts({ ops: [withLinear(0.5), withLinear(1.26)], cases })[0], /reached 126 % of the roofline/)
  const taking = (ms: number): BenchOps[] => [opsWith('unet', 'fp32', [['a', ms, 5]])]
  t.regex(doubts({ ops: taking(22), cases })[0], /kernels of unet in fp32 took 2\.0 times as long as its pass/)
  t.regex(doubts({ ops: taking(5.5), cases })[0], /pass of unet in fp32 by itself took 2\.0 times as long as its kernels/)
  t.deepEqual(doubts({ ops: taking(22), cases: [] }), [])
})

test('figures for people', t => {
  t.deepEqual([time(1.234), time(12.34), time(123.4), time(1234), time(12345)], ['1.23 ms', '12.3 ms', '123 ms', '1.23 s', '12.3 s'])
  t.deepEqual([percent(0.0512), percent(0.512), percent(1.5)], ['5.1 %', '51 %', '150 %'])
  t.deepEqual([count(12), count(999.9), count(12345)], ['12', '1.00 k', '12.3 k'])
  t.is(escaped('<a href="x">\'&'), '&lt;a href=&quot;x&quot;&gt;&#39;&amp;')
  for (const most of [0.003, 1, 7, 9.9, 120, 5e6]) t.true(most / niceStep(most) >= 3 && most / niceStep(most) <= 8.01, String(most))
})

/** Elements that have no end. */
const empty = new Set(['meta'])

/** Fails where tags do not nest, attributes are not quoted, or a figure is no number. */
function checkPage(
  t: {
    is(a: unknown, b: unknown, message?: string): unknown
    notRegex(text: string, pattern: RegExp, message?: string): unknown
    true(value: boolean, message?: string): unknown
  },
  page: string,
): void {
  t.true(page.startsWith('<!doctype html>'))
  const stack: string[] = []
  const body = page.replace(/<style>[^]*?<\/style>/, '')
  for (const [, closing, name, attributes, selfClosing] of body.matchAll(/<(\/?)([a-z0-9]+)((?:\s+[a-zA-Z0-9-]+="[^"<]*")*)\s*(\/?)>/g)) {
    if (closing === '/') t.is(stack.pop(), name)
    else if (selfClosing !== '/' && !empty.has(name)) stack.push(name)
    if (attributes.includes('NaN')) t.true(false, attributes)
  }
  t.is(stack.length, 0, stack.join(' '))
  // All that looks like a tag was one.
  t.notRegex(body.replace('<!doctype html>', '').replace(/<(\/?)([a-z0-9]+)((?:\s+[a-zA-Z0-9-]+="[^"<]*")*)\s*(\/?)>/g, ''), /</)
  t.notRegex(page, /https?:|src=|href=|url\(|@import|<script|<link|<img|\son[a-z]+=/i)
  t.notRegex(body, /NaN|Infinity|undefined|\[object/)
}

test('asdm bench: all suites on a small model, as JSON, text and a page that agree', async t => {
  const folder = temporaryFolder(t)
  const { code, stderr, stdout } = await asdm(
    folder, 'bench', '--shape', fixture('sd15-tiny'), '--threads', '1', '--runs', '2', '--images', '1', '--plan', 'deepcache:2,0',
    'guidance:0.5', '--work', 'work', '--out', 'out',
  )
  t.is(code, 0, stderr)
  t.true(stdout.includes(`${path.join('out', 'report.html')}\n`))
  const report = JSON.parse(fs.readFileSync(path.join(folder, 'out', 'report.json'), 'utf8')) as BenchReport
  t.like(report, { format: 'asdm-bench', version: 1, threads: 1, runs: 2, suites: ['ops', 'unet', 'pipeline', 'plans'] })
  t.true(report.machine.set !== '' && report.peaks.arithmetic.fp32 > 0 && report.seconds > 0 && !Number.isNaN(Date.parse(report.date)))
  t.true(report.checks.length >= report.dtypes.length && report.checks.every(({ ok }) => ok))
  if (addon.cpuInfo().usable.length > 1) t.true(report.checks.some(({ name }) => /^unet asdm on \w+ fp32$/.test(name)))
  for (const name of ['unet', 'vae-decoder', 'generate'])
    t.deepEqual(report.cases.filter(each => each.name === name).map(({ dtype }) => dtype), report.dtypes)
  for (const each of report.cases) t.true(each.ms.median > 0 && each.peakBytes > 2e7 && each.macs > 0 && each.loadMs > 0, each.name)
  t.deepEqual(report.loading.map(({ dtype }) => dtype), report.dtypes)
  for (const { load, fresh, small } of report.loading)
    for (const { values } of [load, fresh, small]) t.true(values.length === 2 && values.every(ms => ms > 0))
  t.deepEqual(
    report.ops.map(({ part, dtype }) => `${part} ${dtype}`),
    ['unet', 'vae-decoder', 'text-encoder'].flatMap(part => report.dtypes.map(dtype => `${part} ${dtype}`)),
  )
  for (const { whole, kinds, layers, shapes } of report.ops) {
    for (const rows of [kinds, layers, shapes]) t.true(Math.abs(rows.reduce((sum, { ms }) => sum + ms, 0) / whole.ms - 1) < 1e-9)
    for (const { ms, kinds: parts } of layers) t.true(Math.abs(Object.values(parts).reduce((a, b) => a + b, 0) - ms) < 1e-9)
  }
  const unet = report.cases.find(({ name }) => name === 'unet')!
  t.is(report.ops[0].whole.macs, unet.macs)
  t.deepEqual(report.plans.map(({ plan }) => plan), ['deepcache:2,0', 'guidance:0.5'])
  for (const plan of report.plans) t.true(plan.speedUp > 0 && plan.counted > 1.1 && plan.psnr! > 5 && plan.ssim! <= 1)

  const page = fs.readFileSync(path.join(folder, 'out', 'report.html'), 'utf8')
  t.is(page, reportPage(report))
  checkPage(t, page)
  for (const each of report.cases) t.true(page.includes(`>${time(each.ms.median)}<`), `${each.name} ${each.dtype}`)
  for (const { load, fresh, small } of report.loading)
    for (const { median } of [load, fresh, small]) t.true(page.includes(`>${time(median)} ±`))
  for (const { whole } of report.ops) t.true(page.includes(time(whole.ms)))
  for (const { plan, speedUp } of report.plans) t.true(page.includes(`<td>${plan}</td><td>${speedUp.toFixed(2)}x</td>`))
  t.is((page.match(/<rect /g) ?? []).length > 50, true)
  t.is(stdout.split(/\n\n/).length > 10, true)
  t.true(stdout.startsWith(reportText(report)))

  // As a baseline of itself nothing is worse.
  const baseline = baselineOf(report)
  t.true(Object.keys(baseline.ratios).includes('unet fp32 / roofline'))
  t.true(compareRatios(baseline.ratios, baseline.ratios).every(({ verdict }) => verdict === 'even'))
})

test('a model with random weights is a model like any other, the same each time', async t => {
  const { sd15 } = shapes
  const small = {
    ...sd15, unet: {
      ...sd15.unet, block_out_channels: [32, 32, 32, 32], cross_attention_dim: 64, attention_head_dim: 4, sample_size: 8,
    }, vae: { ...sd15.vae, block_out_channels: [32, 32, 32, 32] },
    textEncoder: { ...sd15.textEncoder, hidden_size: 64, intermediate_size: 64, num_attention_heads: 2, num_hidden_layers: 2 },
  }
  const folder = temporaryFolder(t)
  await writeRandomModel(small, path.join(folder, 'a'))
  await writeRandomModel({ ...small, padToken: '!' }, path.join(folder, 'b'))
  const read = (name: string): Buffer => fs.readFileSync(path.join(folder, name, 'unet', 'diffusion_pytorch_model.fp16.safetensors'))
  t.true(read('a').equals(read('b')))
  const sd = await StableDiffusion.load(path.join(folder, 'a'), { threads: 1 })
  t.teardown(() => sd.dispose())
  const [image] = await sd.generate({ prompt: 'a cat', steps: 1, seed: 1 })
  // Windows are filled as the published models' are.
  const fill = async (name: string): Promise<number> =>
    (await Tokenizer.load(path.join(folder, name, 'tokenizer'))).encodeWithDetails('a').ids[76]
  t.deepEqual([await fill('a'), await fill('b')], [49407, 0])
  t.is(shapes.sd21.padToken, '!')
  // Activations neither died nor exploded on the way.
  t.true(new Set(image.rgba).size > 30)
  await t.throwsAsync(randomModel('sd99', folder), { code: 'INVALID_ARGUMENT' })
  fs.writeFileSync(path.join(folder, 'file'), '')
  await t.throwsAsync(writeRandomModel(small, path.join(folder, 'file')), { code: 'FILE_WRITE' })
})

test('asdm bench --shape emoji --suite unet, as JSON; hostile names stay text', async t => {
  const folder = temporaryFolder(t)
  const { code, stderr, stdout } = await asdm(
    folder, 'bench', '--shape', 'emoji', '--suite', 'unet', '--dtype', 'fp32', '--runs', '1', '--threads', '1', '--work', 'work', '--json',
  )
  t.is(code, 0, stderr)
  const report = JSON.parse(stdout) as BenchReport
  t.deepEqual(report.cases.map(({ name, dtype, contender }) => `${name} ${dtype} ${contender}`), ['unet fp32 asdm'])
  t.true(Math.abs(report.cases[0].macs / 9.3e8 - 1) < 1e-3) // what `asdm inspect` says
  const page = reportPage({
    ...report, commit: '</footer><script>',
    goals: [{
      name: 'unet fp32 / <b>', value: 1, limit: 0.9, unit: 'ratio', met: false,
      missedBy: { part: 'unet', dtype: 'fp32', allowedMs: 9, excessMs: 1, ops: [{ name: '<s>', dtype: 'bf16', ms: 5, allowedMs: 4 }] },
    }],
    checks: [...report.checks, { name: 'image <u>', against: '<p>', difference: 0.01, psnr: 41.27, limit: 0.1, ok: true }],
    notes: ['a <b> & "c"'], peers: [{ name: '<img src=x>', absent: '\'"' }],
    cases: [
      ...report.cases, timed({ contender: '<svg onload="x">', ours: false }),
    ], ratios: [{ name: 'unet fp32 / <i>', value: measured([0.5]) }],
  })
  // The figure at the top is the ratio to the nearest peer.
  const [near, far] = [
    { name: 'unet fp32 / near fp32', value: measured([0.8, 0.8]) }, { name: 'unet fp32 / far fp32', value: measured([0.1]) },
  ]
  t.regex(
    reportPage({ ...report, ratios: [far, near] }),
    /UNet: asdm fp32 \/ near fp32<\/div><div class="value">0\.80<\/div><div class="more">of the time, ±0\.0 %/,
  )
  t.true(page.includes('>5.00 ms<') && page.includes('(41.3 dB)') && page.includes('&lt;s&gt; (bf16)'))
  checkPage(t, page.replaceAll('&lt;img src=x&gt;', '').replaceAll('&lt;svg onload=&quot;x&quot;&gt;', ''))
})

test('asdm bench: what makes no sense is refused', async t => {
  const folder = temporaryFolder(t)
  for (const [args, said] of [
    [
      ['--shape', 'sd99'], /Expected --shape to be emoji, sd15, sd21/,
    ], [['--suite', 'unet,toys'], /Expected --suite/], [['--dtype', 'fp64'], /Expected --dtype/], [['--runs', '0'], /Expected --runs/],
    [['--threads', '0'], /Expected threads/], [
      ['--plan', 'nonsense:1', '--suite', 'plans', '--dtype', 'fp32', '--runs', '1'], /Expected plan to be/,
    ],
  ] as [string[], RegExp][]) {
    const { code, stderr } = await asdm(folder, 'bench', '--work', 'work', ...args)
    t.is(code, 1)
    t.regex(stderr, said)
  }
})
