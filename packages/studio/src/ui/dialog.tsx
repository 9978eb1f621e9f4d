import type { ComponentChildren } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { Button } from './controls'

/** A window over the page; the browser keeps the focus in it, and Escape closes it. */
export function Dialog({ title, wide = false, onClose, children }: {
  title: string
  wide?: boolean
  onClose: () => void
  children: ComponentChildren
}) {
  const dialog = useRef<HTMLDialogElement>(null)
  useEffect(() => dialog.current?.showModal(), [])
  return (
    <dialog ref={dialog} class={wide ? 'wide' : ''} aria-label={title} onClose={onClose}>
      <header>
        <h2>{title}</h2>
        <Button icon="close" kind="quiet" title="Close" onClick={onClose} />
      </header>
      {children}
    </dialog>
  )
}
