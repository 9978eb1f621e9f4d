import fs from 'node:fs'
import test from 'ava'
import { readSettings } from '../../lib'
import { repoPath } from '../support/fixtures'
import { ask } from '../server/support'
import { closeBrowser, driven, generate, number, opened, studio } from './support'

test.after.always(closeBrowser)

driven('a first image: form, progress, result, gallery, settings, seed', async t => {
  const { page } = await studio(t)
  await page.getByText('Nothing here yet').waitFor()
  await number(page, 'Steps').fill('6')
  await page.getByLabel('Seed', { exact: true }).fill('7')
  await generate(page, 'a red heart')
  const result = page.locator('img.result')
  await result.waitFor()
  t.is(await result.getAttribute('alt'), 'a red heart')
  t.is(await result.evaluate((image: HTMLImageElement) => image.naturalWidth), 64)
  t.regex(await page.locator('.inspector').innerText(), /Seed\s+7/)

  // The file has the settings of the form.
  const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()])
  const { prompt, seed, steps } = (await readSettings(await file.path()))!
  t.deepEqual({ prompt, seed, steps }, { prompt: 'a red heart', seed: 7, steps: 6 })

  // Varying takes another seed and the same settings.
  await page.getByLabel('Prompt', { exact: true }).fill('something else')
  await page.getByRole('button', { name: 'Vary' }).click()
  await page.locator('.strip li').nth(1).waitFor()
  t.regex(await page.locator('.inspector').innerText(), /a red heart[\s\S]*Steps\s+6/)
  t.notRegex(await page.locator('.inspector').innerText(), /Seed\s+7\b/)
  await page.getByRole('button', { name: 'Lock seed' }).click()
  t.true(/^\d+$/.test(await page.getByLabel('Seed', { exact: true }).inputValue()))

  // A reload keeps the gallery; a PNG opens there with its settings.
  await page.reload()
  await page.locator('.strip li').nth(1).waitFor()
  await page.getByRole('link', { name: 'Gallery' }).click()
  t.is(await page.locator('.tiles li').count(), 2)
  page.on('dialog', dialog => void dialog.accept())
  await page.getByRole('button', { name: 'Delete shown' }).click()
  await page.getByText('No images yet').waitFor()
  await page.locator('input[type=file]').setInputFiles({ name: 'heart.png', mimeType: 'image/png', buffer: fs.readFileSync(await file.path()) })
  await page.getByRole('button', { name: 'Open: a red heart' }).click()
  await page.getByRole('button', { name: 'Use these settings' }).click()
  t.is(await page.getByLabel('Seed', { exact: true }).inputValue(), '7')
  t.is(await number(page, 'Steps').inputValue(), '6')
})

driven('a job shows previews, survives a reload, and is cancelled', async t => {
  const { page, url } = await studio(t)
  await number(page, 'Steps').fill('1000')
  await generate(page, 'a green apple')
  await page.locator('.previews img').waitFor()
  await page.getByText(/Step \d+ of 1000/).waitFor()
  await page.reload()
  await page.getByText(/Step \d+ of 1000/).waitFor()
  await page.locator('.previews img').waitFor()
  await page.getByRole('button', { name: 'Cancel' }).click()
  await page.getByText('Nothing here yet').waitFor()
  const { json } = await ask(`${url}/api/jobs`)
  t.deepEqual(json.map(({ state }: any) => state), ['cancelled'])
  await page.reload()
  await page.getByText('Nothing here yet').waitFor()
})

driven('an image is dropped, masked with the brush, and only what was painted changes', async t => {
  const { page } = await studio(t)
  await number(page, 'Steps').fill('6')
  await generate(page, 'a red heart')
  await page.locator('img.result').waitFor()
  const before = await page.locator('img.result').evaluate(pixels)
  await page.getByRole('button', { name: 'Start from it' }).click()
  await page.getByRole('button', { name: 'Mask', exact: true }).click()
  const canvas = page.getByRole('img', { name: /^The mask/ })
  const box = (await canvas.boundingBox())!
  await page.mouse.move(box.x + box.width * 0.1, box.y + box.height * 0.25)
  await page.mouse.down()
  await page.mouse.move(box.x + box.width * 0.9, box.y + box.height * 0.25, { steps: 8 })
  await page.mouse.up()
  await page.getByRole('button', { name: 'Use mask' }).click()
  await page.getByRole('button', { name: 'Edit mask' }).waitFor()
  await generate(page, 'a yellow star')
  await page.locator('.strip li').nth(1).waitFor()
  t.regex(await page.locator('.inspector').innerText(), /From\s+inpaint/)
  const after = await page.locator('img.result').evaluate(pixels)
  const changed = (row: number): boolean => before.slice(row * 256, row * 256 + 256).some((value, i) => value !== after[row * 256 + i])
  t.true(changed(16))
  t.false(changed(60))
})

driven('a picture is dropped on the page, and another one pasted', async t => {
  const { page } = await studio(t)
  const bytes = fs.readFileSync(repoPath('docs', 'images', 'emoji.png'))
  const transfer = await page.evaluateHandle(base64 => {
    const data = new DataTransfer()
    data.items.add(new File([Uint8Array.from(atob(base64), char => char.charCodeAt(0))], 'a.png', { type: 'image/png' }))
    return data
  }, bytes.toString('base64'))
  await page.getByText('Nothing here yet').waitFor()
  await page.dispatchEvent('main', 'drop', { dataTransfer: transfer })
  const start = page.getByAltText('The image to start from')
  await start.waitFor()
  await page.getByRole('button', { name: 'Without an image' }).click()
  await start.waitFor({ state: 'detached' })
  await transfer.evaluate(data => dispatchEvent(new ClipboardEvent('paste', { clipboardData: data })))
  await start.waitFor()
  t.is(await start.getAttribute('src'), `data:image/png;base64,${bytes.toString('base64')}`)
})

driven('what the server refuses is said in its words, and a token is asked for', async t => {
  const { page, url } = await studio(t, { token: 'a-long-token' })
  await page.getByRole('dialog', { name: 'Token' }).waitFor()
  await page.getByRole('textbox', { name: 'Token' }).fill('a-wrong-token')
  await page.getByRole('button', { name: 'Connect' }).click()
  await page.getByRole('dialog', { name: 'Token' }).waitFor()
  await page.getByRole('textbox', { name: 'Token' }).fill('a-long-token')
  await page.getByRole('button', { name: 'Connect' }).click()
  await page.getByText(/parameters/).waitFor()
  await number(page, 'Width').fill('4096')
  await number(page, 'Height').fill('4096')
  await page.getByRole('button', { name: 'Generate' }).click()
  await page.getByText(/Expected an image of at most 4194304 pixels but received 4096x4096/).waitFor()
  t.is((await ask(`${url}/api/models`)).status, 401)
})

driven('the first page is small, and asks nobody else', async t => {
  const { page, url } = await studio(t)
  await opened(t, url)
  const files = await page.evaluate(() => performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))
    .map(entry => ({ name: entry.name, bytes: (entry as PerformanceResourceTiming).transferSize })))
  const bytes = files.reduce((sum, file) => sum + file.bytes, 0)
  t.true(bytes < 100_000, `${bytes} bytes`)
  const { headers } = await ask(url)
  t.regex(headers.get('content-security-policy')!, /default-src 'self'/)
})

function pixels(image: SVGElement | HTMLElement): number[] {
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = 64
  const context = canvas.getContext('2d')!
  context.drawImage(image as HTMLImageElement, 0, 0)
  return [...context.getImageData(0, 0, 64, 64).data]
}
