import { effect, signal } from '@preact/signals'
import { stored } from './stored'

/** The pages, in the order of the menu. */
export const pages = ['create', 'gallery', 'plan', 'recipe', 'profile'] as const
export type Page = typeof pages[number]

function pageOf(hash: string): Page {
  const name = hash.replace(/^#\/?/, '')
  return (pages as readonly string[]).includes(name) ? name as Page : 'create'
}

/** The page that is shown; the address has it, too. */
export const page = signal<Page>(pageOf(location.hash))

addEventListener('hashchange', () => { page.value = pageOf(location.hash) })

export function go(to: Page): void {
  location.hash = `#/${to}`
  page.value = to
}

/** Dark, light, or as the system has it. */
export const theme = stored<'system' | 'dark' | 'light'>('theme', 'system')

effect(() => {
  if (theme.value === 'system') delete document.documentElement.dataset.theme
  else document.documentElement.dataset.theme = theme.value
})
