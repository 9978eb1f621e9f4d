import fs from 'node:fs'
import path from 'node:path'
import test from 'ava'
import { assemble } from '../../lib/assembly/assemble'
import { convertModel } from '../../lib/convert/convert'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { requestDefaults, schedulerDefaults } from '../../lib/model/defaults'
import { StableDiffusion } from '../../lib/stable-diffusion'
import { fixture, repoPath } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { copyCheckpoint, editJson } from './checkpoints'

const common = { guidanceScale: 7.5, steps: 20, clipSkip: 0 }

test('requests use the defaults that a model recommends, where they do not say otherwise', async t => {
  const model = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  editJson(path.join(model, 'model_index.json'), json => {
    json._asdm = { version: 1, defaults: { guidanceScale: 2.5, steps: 3, clipSkip: 1 } }
  })
  const [own, plain] = await Promise.all([model, fixture('sd15-tiny')].map(async each => StableDiffusion.load(each, { threads: 1 })))
  t.teardown(async () => Promise.all([own.dispose(), plain.dispose()]))
  t.deepEqual(own.defaults, { guidanceScale: 2.5, steps: 3, clipSkip: 1 })
  t.deepEqual(plain.defaults, common)
  t.true(Object.isFrozen(own.defaults))
  const size = { width: 64, height: 64, seed: 1 }
  const [image] = await own.generate({ prompt: 'a cat', ...size })
  t.like(image.settings, own.defaults)
  const [same] = await plain.generate({ prompt: 'a cat', ...size, ...own.defaults })
  t.deepEqual(image.rgba, same.rgba)
  const asked = { guidanceScale: 1, steps: 2, clipSkip: 0 }
  t.like((await own.generate({ prompt: 'a cat', ...size, ...asked }))[0].settings, asked)
})

test('the shipped model has its own, and converted and assembled ones keep them', async t => {
  t.deepEqual((await openCheckpoint(repoPath('models', 'emoji'))).defaults, { guidanceScale: 3, steps: 20, clipSkip: 0 })
  const folder = temporaryFolder(t)
  await convertModel(repoPath('models', 'emoji'), path.join(folder, 'bf16'), { dtype: 'bf16' })
  await assemble('light', { out: path.join(folder, 'light'), checkpoints: { sd: repoPath('models', 'emoji') } })
  for (const name of ['bf16', 'light']) t.is((await openCheckpoint(path.join(folder, name))).defaults.guidanceScale, 3, name)
})

test('a scheduler of distilled models tells the defaults, and what the model recommends counts more', async t => {
  const trailing = { timestep_spacing: 'trailing' }
  const few = (steps: number, guidanceScale: number): object => ({ steps, guidanceScale, clipSkip: 0 })
  for (const [scheduler, guidanceInput, wanted] of [
    [{ _class_name: 'LCMScheduler' }, false, few(4, 1)],
    [{ _class_name: 'LCMScheduler' }, true, few(4, 8.5)],
    [{ _class_name: 'TCDScheduler' }, false, few(4, 1)],
    [{ _class_name: 'EulerDiscreteScheduler', prediction_type: 'epsilon', ...trailing }, false, few(1, 1)],
    [{ _class_name: 'EulerAncestralDiscreteScheduler', ...trailing }, false, few(1, 1)],
    [{ _class_name: 'EulerDiscreteScheduler', prediction_type: 'v_prediction', ...trailing }, false, common],
    [{ _class_name: 'EulerDiscreteScheduler', rescale_betas_zero_snr: true, ...trailing }, false, common],
    [{ _class_name: 'EulerDiscreteScheduler', timestep_spacing: 'leading' }, false, common],
    [{ _class_name: 'DDIMScheduler', ...trailing }, false, common],
    [{ _class_name: 'PNDMScheduler' }, false, common],
  ] as const) t.deepEqual(schedulerDefaults(scheduler, guidanceInput), wanted as typeof common, JSON.stringify(scheduler))

  const model = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  editJson(path.join(model, 'scheduler', 'scheduler_config.json'), json => { json._class_name = 'LCMScheduler' })
  editJson(path.join(model, 'model_index.json'), json => { json._asdm = { version: 1, defaults: { steps: 6, clipSkip: 1 } } })
  t.deepEqual((await openCheckpoint(model)).defaults, { guidanceScale: 1, steps: 6, clipSkip: 1 })
})

test('a sampler for distilled networks brings its own defaults, unless the model has one', t => {
  const own = { guidanceScale: 3, steps: 25, clipSkip: 2 }
  const [plain, lcm, tcd] = ['PNDMScheduler', 'LCMScheduler', 'TCDScheduler'].map(name => ({ _class_name: name }))
  t.deepEqual(requestDefaults(own, plain, lcm, false), { guidanceScale: 1, steps: 4, clipSkip: 2 })
  t.deepEqual(requestDefaults(own, plain, tcd, false), { guidanceScale: 1, steps: 4, clipSkip: 2 })
  t.is(requestDefaults(own, plain, { _class_name: 'DDIMScheduler' }, false), own)
  t.is(requestDefaults(own, lcm, tcd, false), own)
  t.is(requestDefaults(own, lcm, plain, false), own)
})

test('recommendations that are none are refused', async t => {
  const model = copyCheckpoint('sd15-tiny', temporaryFolder(t))
  const index = path.join(model, 'model_index.json')
  const text = fs.readFileSync(index, 'utf8')
  for (const [section, code, message] of [
    [3, 'BAD_CONFIG', /_asdm in .*model_index\.json to be an object/],
    [{}, 'UNSUPPORTED_CONFIG', /version 1 .*version undefined/],
    [{ version: 2 }, 'UNSUPPORTED_CONFIG', /version 2/],
    [{ version: 1, plan: 'fast' }, 'UNSUPPORTED_CONFIG', /"plan"/],
    [{ version: 1, defaults: [] }, 'BAD_CONFIG', /_asdm\.defaults .* to be an object/],
    [{ version: 1, defaults: { guidance: 3 } }, 'UNSUPPORTED_CONFIG', /"guidance"/],
    [{ version: 1, defaults: { steps: 0 } }, 'BAD_CONFIG', /_asdm\.defaults\.steps .* whole number from 1 to 1000 but received 0/],
    [{ version: 1, defaults: { steps: 2.5 } }, 'BAD_CONFIG', /steps/],
    [{ version: 1, defaults: { guidanceScale: '3' } }, 'BAD_CONFIG', /guidanceScale .* number from 0 to 1000 but received "3"/],
    [{ version: 1, defaults: { clipSkip: -1 } }, 'BAD_CONFIG', /clipSkip/],
  ] as const) {
    fs.writeFileSync(index, text)
    editJson(index, json => { json._asdm = section })
    await t.throwsAsync(openCheckpoint(model), { code, message }, JSON.stringify(section))
  }
  fs.writeFileSync(index, text)
  editJson(index, json => { json._asdm = null })
  t.deepEqual((await openCheckpoint(model)).defaults, common)
})
