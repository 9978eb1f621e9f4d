import { useEffect, useState } from 'preact/hooks'
import { setToken, tokenWanted } from './api/client'
import { Form } from './create/form'
import { Stage } from './create/stage'
import { takeSource } from './create/source'
import { GalleryPage, importFiles } from './gallery/page'
import { attempt, dismiss, messages } from './state/messages'
import { go, page, pages, theme, type Page } from './state/view'
import { start } from './start'
import { PlanPage } from './plan/page'
import { ProfilePage } from './profile/page'
import { RecipePage } from './recipe/page'
import { Button } from './ui/controls'
import { Icon, type IconName } from './ui/icons'

const names: Readonly<Record<Page, string>> = { create: 'Create', gallery: 'Gallery', plan: 'Plan', recipe: 'Recipe', profile: 'Profile' }

/** The whole window. */
export function App() {
  return (
    <>
      <Header />
      <DropArea>
        {page.value === 'create' && <div class="create"><Form /><Stage /></div>}
        {page.value === 'gallery' && <GalleryPage />}
        {page.value === 'plan' && <PlanPage />}
        {page.value === 'recipe' && <RecipePage />}
        {page.value === 'profile' && <ProfilePage />}
      </DropArea>
      <Messages />
      {tokenWanted.value && <TokenDialog />}
    </>
  )
}

function Header() {
  const next = { system: 'dark', dark: 'light', light: 'system' } as const
  const icons: Record<typeof theme.value, IconName> = { system: 'auto', dark: 'moon', light: 'sun' }
  return (
    <header class="top">
      <a class="brand" href="#/create"><img src="/icon.svg" alt="" width="24" height="24" />asdm <span>studio</span></a>
      <nav aria-label="Pages">
        {pages.map(name => (
          <a key={name} href={`#/${name}`} aria-current={page.value === name ? 'page' : undefined}><Icon name={name} /><span>{names[name]}</span></a>
        ))}
      </nav>
      <Button icon={icons[theme.value]} kind="quiet" title={`Colours: ${theme.value}`} onClick={() => { theme.value = next[theme.value] }} />
    </header>
  )
}

/** Pictures that are dropped or pasted: in the gallery they are opened, elsewhere they are what to start from. */
function DropArea({ children }: { children: preact.ComponentChildren }) {
  const [over, setOver] = useState(false)
  const take = (files: FileList | undefined): void => {
    const images = [...files ?? []].filter(({ type }) => type.startsWith('image/'))
    if (images[0] === undefined) return
    if (page.value === 'gallery') void attempt(() => importFiles(images))
    else void takeSource(images[0]).then(() => go('create'))
  }
  useEffect(() => {
    const paste = (event: ClipboardEvent): void => take(event.clipboardData?.files)
    addEventListener('paste', paste)
    return () => removeEventListener('paste', paste)
  }, [])
  return (
    <main class={over ? 'over' : ''}
      onDragOver={event => { if (event.dataTransfer?.types.includes('Files') === true) { event.preventDefault(); setOver(true) } }}
      onDragLeave={event => { if (event.relatedTarget === null) setOver(false) }}
      onDrop={event => {
        setOver(false)
        if ((event.dataTransfer?.files.length ?? 0) === 0) return
        event.preventDefault()
        take(event.dataTransfer?.files)
      }}>
      {children}
    </main>
  )
}

function Messages() {
  return (
    <div class="messages" aria-live="polite">
      {messages.value.map(({ id, text, kind }) => (
        <div key={id} class={`message ${kind}`} role={kind === 'error' ? 'alert' : undefined}>
          <p>{text}</p>
          <Button icon="close" kind="quiet" title="Close message" onClick={() => dismiss(id)} />
        </div>
      ))}
    </div>
  )
}

function TokenDialog() {
  const [token, set] = useState('')
  return (
    <div class="veil">
      <form class="ask" role="dialog" aria-modal="true" aria-label="Token" onSubmit={event => { event.preventDefault(); setToken(token.trim()); void start() }}>
        <h2>This server asks for a token</h2>
        <p>It was started with <code>--token</code>. The token is kept until this tab is closed.</p>
        <input type="password" aria-label="Token" autocomplete="current-password" value={token} autofocus onInput={event => set(event.currentTarget.value)} />
        <button type="submit" class="button primary" disabled={token.trim() === ''}>Connect</button>
      </form>
    </div>
  )
}
