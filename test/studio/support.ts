import fs from 'node:fs'
import test, { type ExecutionContext, type ImplementationFn } from 'ava'
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core'
import { repoPath } from '../support/fixtures'
import { started } from '../server/support'
import type { ServerOptions } from '../../packages/server/src'

const browserPath = [process.env.ASDM_CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
  .find(file => file !== undefined && fs.existsSync(file))

/** Why the studio cannot be driven here; `undefined` where it can. */
const missing = browserPath === undefined
  ? 'there is no Chromium'
  : fs.existsSync(repoPath('packages', 'studio', 'dist', 'index.html')) ? undefined : 'the studio is not built'

/** A test in a browser, one after the other; where there is none its title says that it is skipped, and why. */
export function driven(title: string, run: ImplementationFn<[]>): void {
  if (missing === undefined) test.serial(title, run)
  else test.serial.skip(`${title} (skipped: ${missing})`, run)
}

let browser: Promise<Browser> | undefined

/** The studio of a fresh server in a browser of its own; what a page reports as an error fails the test. */
export async function studio(
  t: ExecutionContext<any>, options: Partial<ServerOptions> = {}, context: BrowserContextOptions = {},
): Promise<{ page: Page, url: string }> {
  const { url } = await started(t, options)
  const { page } = await opened(t, url, context)
  return { page, url }
}

/** A page of a server. */
export async function opened(t: ExecutionContext<any>, url: string, context: BrowserContextOptions = {}): Promise<{ page: Page }> {
  browser ??= chromium.launch({ executablePath: browserPath!, args: ['--no-sandbox'] })
  const session = await (await browser).newContext({ viewport: { width: 1280, height: 800 }, ...context })
  t.teardown(() => session.close())
  const page = await session.newPage()
  page.setDefaultTimeout(60_000)
  const errors: string[] = []
  page.on('pageerror', error => errors.push(error.message))
  page.on('request', request => { if (!/^(?:blob|data):/.test(request.url()) && !request.url().startsWith(url)) errors.push(`asked ${request.url()}`) })
  t.teardown(() => { if (errors.length > 0) throw new Error(`The page reports: ${errors.join('; ')}`) })
  await page.goto(url)
  return { page }
}

/** Ends the browser. */
export async function closeBrowser(): Promise<void> {
  await (await browser)?.close()
}

/** Types a prompt and asks for it. */
export async function generate(page: Page, prompt: string): Promise<void> {
  await page.getByLabel('Prompt', { exact: true }).fill(prompt)
  await page.getByRole('button', { name: /^Generate/ }).click()
}

/** The number field of a name. */
export function number(page: Page, name: string) {
  return page.getByRole('spinbutton', { name, exact: true })
}
