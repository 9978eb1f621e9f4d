// Makes docs/images/studio-create.png and studio-plan.png: node docs/images/studio.mjs, with Debian's Chromium or that of ASDM_CHROMIUM.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { serve } from '@asdm/server'
import { chromium } from 'playwright-core'
import sharp from 'sharp'

const folder = import.meta.dirname
const server = await serve({ model: 'emoji', port: 0, logLevel: 'silent' })
const browser = await chromium.launch({ executablePath: process.env.ASDM_CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox'] })
const page = await (await browser.newContext({ viewport: { width: 1200, height: 800 }, colorScheme: 'dark' })).newPage()

/** Few colours make a small file. */
async function shoot(name) {
  await page.mouse.move(0, 0)
  writeFileSync(path.join(folder, `studio-${name}.png`), await sharp(await page.screenshot()).png({ palette: true, colours: 256, effort: 10 }).toBuffer())
}

await page.goto(server.url)
await page.getByText(/parameters/).waitFor()
await page.getByLabel('Seed', { exact: true }).fill('7')
for (const [i, prompt] of ['a 3d emoji of yellow star', 'a 3d emoji of green apple', 'a 3d emoji of red heart', 'a 3d emoji of red apple'].entries()) {
  await page.getByLabel('Prompt', { exact: true }).fill(prompt)
  await page.getByRole('button', { name: 'Generate' }).click()
  await page.locator('.strip li').nth(i).waitFor()
  await page.locator('img.result').waitFor()
}
await shoot('create')

await page.setViewportSize({ width: 1200, height: 1240 })
await page.getByRole('link', { name: 'Plan' }).click()
await page.getByRole('button', { name: 'Rule', exact: true }).click()
await page.getByRole('button', { name: 'Parts of up_blocks.3' }).click()
await page.getByRole('button', { name: 'Measure' }).click()
await page.getByText('by the profile').waitFor()
await page.getByRole('button', { name: 'Run both' }).click()
await page.locator('[data-psnr]').waitFor()
await page.locator('main').evaluate(main => main.scrollTo(0, 0))
await shoot('plan')
await browser.close()
await server.close()
