import fs from 'node:fs'
import { createRequire } from 'node:module'
import test from 'ava'
import type { Page } from 'playwright-core'
import { closeBrowser, driven, generate, number, studio } from './support'

test.after.always(closeBrowser)

const axe = fs.readFileSync(createRequire(__filename).resolve('axe-core/axe.min.js'), 'utf8')

/** Serious and critical faults of accessibility, each with the first place where it is. */
async function faults(page: Page): Promise<string[]> {
  // In a world of its own, since the page runs no foreign scripts.
  await page.evaluate(axe)
  return page.evaluate(async () => {
    const { violations } = await (globalThis as any).axe.run()
    return violations.filter(({ impact }: any) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }: any) => `${id}: ${nodes[0].html.slice(0, 200)} ${nodes[0].failureSummary}`)
  })
}

for (const colorScheme of ['dark', 'light'] as const) {
  for (const [name, viewport] of [['a desk', { width: 1280, height: 800 }], ['a phone', { width: 390, height: 844 }]] as const) {
    driven(`axe finds no serious fault on any page: ${colorScheme}, ${name}`, async t => {
      const { page } = await studio(t, {}, { colorScheme, viewport })
      const wide = (): Promise<number> => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)
      const check = async (what: string): Promise<void> => {
        t.deepEqual(await faults(page), [], what)
        t.is(await wide(), 0, `${what} scrolls sideways`)
      }
      await page.getByText(/parameters/).waitFor()
      await check('empty')
      await number(page, 'Steps').fill('6')
      await generate(page, 'a red heart')
      await page.locator('img.result').waitFor()
      await check('create')
      await page.getByRole('button', { name: 'Start from it' }).click()
      await page.getByRole('button', { name: 'Mask', exact: true }).click()
      await check('mask')
      await page.keyboard.press('Escape')
      await page.getByRole('link', { name: 'Gallery' }).click()
      await check('gallery')
      await page.locator('.tiles button').click()
      await check('image')
      await page.keyboard.press('Escape')
      await page.getByRole('link', { name: 'Plan' }).click()
      await page.getByRole('button', { name: 'Rule', exact: true }).click()
      await page.getByRole('slider', { name: 'Interval between full steps' }).waitFor()
      await page.getByRole('button', { name: 'Run both' }).click()
      await page.locator('[data-psnr]').waitFor()
      await check('plan')
      await page.getByRole('link', { name: 'Recipe' }).click()
      await page.getByLabel('What becomes of mid_block').selectOption('drop')
      await check('recipe')
      await page.getByRole('link', { name: 'Profile' }).click()
      await check('profile')
    })
  }
}
