import fs from 'node:fs'
import test from 'ava'
import type { Locator, Page } from 'playwright-core'
import { expandPlan, parsePlan, type StepPlan } from '../../lib'
import { ask } from '../server/support'
import { temporaryFolder } from '../support/temporary'
import { closeBrowser, driven, number, studio } from './support'

test.after.always(closeBrowser)

/** The cell of a block at a step, counted from 1. */
const cell = (page: Page, prefix: string, step: number): Locator => page.getByRole('gridcell', { name: new RegExp(`^${prefix.replaceAll('.', '\\.')}, step ${step}:`) })

async function drag(page: Page, from: Locator, to: Locator): Promise<void> {
  const [a, b] = [(await from.boundingBox())!, (await to.boundingBox())!]
  await page.mouse.move(a.x + a.width / 2, a.y + a.height / 2)
  await page.mouse.down()
  await page.mouse.move(b.x + b.width / 2, b.y + b.height / 2, { steps: 20 })
  await page.mouse.up()
}

const figure = (page: Page, name: string): Locator => page.getByLabel('Cost of the plan').locator('div', { has: page.getByText(name, { exact: true }) }).locator('dd')

driven('what is painted is inherited: figures follow, and the file is the plan', async t => {
  const { page, url } = await studio(t)
  await page.getByRole('link', { name: 'Plan' }).click()
  await page.getByRole('button', { name: 'Full', exact: true }).click()
  await number(page, 'Steps').fill('8')
  await number(page, 'Steps').blur()
  await page.locator('[role=grid][aria-colcount="9"]').waitFor()
  t.regex(await figure(page, 'Counted speed-up').innerText(), /^1\.00/)

  await drag(page, cell(page, 'up_blocks.2', 3), cell(page, 'up_blocks.2', 5))
  await page.getByRole('gridcell', { name: 'up_blocks.2, step 5: inherited' }).waitFor()
  // Nothing reads what only the inherited block would read.
  await page.getByRole('gridcell', { name: 'up_blocks.1, step 4: not needed' }).waitFor()
  t.regex(await figure(page, 'Counted speed-up').innerText(), /^1\.[1-9]/)
  t.regex(await figure(page, 'Memory').innerText(), /KiB/)

  // Painting over it computes it again; the first step always runs.
  await cell(page, 'up_blocks.2', 5).click()
  await page.getByRole('gridcell', { name: 'up_blocks.2, step 5: runs' }).waitFor()
  await cell(page, 'mid_block', 1).click()
  await page.getByRole('gridcell', { name: 'mid_block, step 1: runs' }).waitFor()
  await page.getByRole('gridcell', { name: /^Guidance, step 7/ }).click()
  await page.getByRole('gridcell', { name: 'Guidance, step 7: without the unconditional pass' }).waitFor()

  // By the keyboard, in a unit of an opened block.
  await page.getByRole('button', { name: 'Parts of up_blocks.3' }).click()
  await cell(page, 'up_blocks.3.1', 6).click()
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('Space')
  await page.getByRole('gridcell', { name: 'up_blocks.3.1, step 8: inherited' }).waitFor()

  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Save' }).click()])
  const plan = parsePlan(JSON.parse(fs.readFileSync(await file.path(), 'utf8'))) as StepPlan
  t.deepEqual(plan.steps, [
    {}, {}, { inherit: ['up_blocks.2'] }, { inherit: ['up_blocks.2'] }, {}, { inherit: ['up_blocks.3.1'] }, { guidance: 'conditional' },
    { inherit: ['up_blocks.3.1'] },
  ])
  t.is(expandPlan(plan, 8, true).length, 8)
  const cost = await ask(`${url}/api/plans/cost`, { plan, steps: 8 })
  t.true((await figure(page, 'Counted speed-up').innerText()).startsWith((cost.json.fullMacs / cost.json.macs).toFixed(2)))

  // Another number of steps stretches it, and a file opens again.
  await number(page, 'Steps').fill('16')
  await number(page, 'Steps').blur()
  await page.getByRole('gridcell', { name: 'up_blocks.2, step 8: inherited' }).waitFor()
  await page.locator('input[type=file]').setInputFiles({ name: 'plan.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(plan)) })
  await page.getByText('plan.json is open.').waitFor()
  t.is(await number(page, 'Steps').inputValue(), '8')
  await page.locator('input[type=file]').setInputFiles({ name: 'bad.json', mimeType: 'application/json', buffer: Buffer.from('{"version":1,"rules":[{"inherit":["up_blocks.9"],"when":{"mode":"uniform","every":2}}]}') })
  await page.getByText(/received "up_blocks.9"/).waitFor()
})

driven('a rule\'s interval is dragged, and presets show what they come to', async t => {
  const { page } = await studio(t)
  await page.getByRole('link', { name: 'Plan' }).click()
  await page.getByRole('button', { name: 'fast', exact: true }).click()
  await page.getByRole('gridcell', { name: 'mid_block, step 20: runs' }).waitFor()
  await page.getByRole('button', { name: 'Rule', exact: true }).click()
  const handle = page.getByRole('slider', { name: 'Interval between full steps' })
  t.is(await handle.getAttribute('aria-valuenow'), '3')
  await drag(page, handle, cell(page, 'conv_in', 6))
  t.is(await handle.getAttribute('aria-valuenow'), '5')
  await page.getByRole('gridcell', { name: 'mid_block, step 5: not needed' }).waitFor()
  await page.getByRole('gridcell', { name: 'mid_block, step 6: runs' }).waitFor()
  await handle.press('ArrowLeft')
  await page.getByRole('gridcell', { name: 'mid_block, step 5: runs' }).waitFor()
  t.is(await number(page, 'Interval').inputValue(), '4')
})

driven('the full run and the plan are made side by side and compared', async t => {
  const { page, url } = await studio(t)
  await page.getByRole('link', { name: 'Plan' }).click()
  await number(page, 'Steps').fill('16')
  await page.getByLabel('Prompt', { exact: true }).fill('a red heart')
  await page.getByRole('button', { name: 'Run both' }).click()
  const psnr = page.locator('[data-psnr]')
  await psnr.waitFor()
  const value = Number(await psnr.getAttribute('data-psnr'))
  t.true(value > 25 && value < 70, `${value} dB`)
  const seam = page.getByRole('slider', { name: 'How much of the full run is shown' })
  await seam.fill('20')
  t.regex(await page.locator('.over img').nth(1).getAttribute('style') ?? '', /inset\(0(?:px)? 80% 0/)
  await page.getByRole('button', { name: 'Difference' }).click()
  await page.getByRole('img', { name: 'Differences, 8 times amplified' }).waitFor()
  const { json } = await ask(`${url}/api/jobs`)
  const [full, plan] = json
  t.is(full.images[0].settings.seed, plan.images[0].settings.seed)
  t.is(full.statistics[0].share, 1)
  t.true(plan.statistics[0].share < 0.7)
  // Now times are predicted by the run.
  await page.getByText('by the last run').waitFor()
})

driven('a recipe drops and takes, is assembled, and its model generates', async t => {
  const models = temporaryFolder(t)
  const { page, url } = await studio(t, { models, model: 'emoji' })
  await page.getByRole('link', { name: 'Recipe' }).click()
  await page.getByLabel('Begin with').selectOption('bk-small')
  await page.getByText(/The target has 1 ResNet in a down block, no mid block/).waitFor()
  await page.getByLabel('Begin with').selectOption('')
  await page.getByRole('button', { name: 'Parts of down_blocks.1', exact: true }).click()
  await page.getByLabel('What becomes of down_blocks.1.1', { exact: true }).selectOption('drop')
  await page.getByRole('button', { name: 'Parts of down_blocks.1.0', exact: true }).click()
  await page.getByRole('button', { name: 'Parts of down_blocks.1.resnets.0', exact: true }).click()
  await page.getByLabel('What becomes of down_blocks.1.resnets.0.conv1').selectOption('experts:emoji')
  t.regex(await page.getByLabel('What is left').innerText(), /Lines\s+2/)
  await page.getByLabel('Name of the new model').fill('smaller')
  await page.getByRole('button', { name: 'Assemble' }).click()
  await page.getByText('smaller is assembled, and chosen.').waitFor()
  t.is(await page.getByLabel('Model').inputValue(), 'smaller')
  const { json: { units } } = await ask(`${url}/api/models/describe`, { model: 'smaller' })
  t.false(units.some(({ name }: any) => name.startsWith('down_blocks.1.resnets.1')))
  t.true(units.some(({ name, op }: any) => name === 'down_blocks.1.resnets.0.conv1' && op === 'CondConv'))
  await number(page, 'Steps').fill('2')
  await page.getByRole('button', { name: 'Generate' }).click()
  await page.locator('img.result').waitFor()
  t.regex(await page.locator('.inspector').innerText(), /Model\s+smaller/)
})

driven('a profile is measured, and predicts the times of plans', async t => {
  const { page } = await studio(t)
  await page.getByRole('link', { name: 'Profile' }).click()
  await page.getByRole('button', { name: 'Measure' }).click()
  await page.getByText('A guided pass').waitFor()
  t.true(await page.getByRole('rowheader', { name: 'mid_block' }).isVisible())
  await page.getByRole('button', { name: 'Kinds of arithmetic' }).click()
  t.true(await page.getByRole('rowheader', { name: 'conv 3x3' }).isVisible())
  await page.getByRole('link', { name: 'Plan' }).click()
  await page.getByText('by the profile').waitFor()
})
