import { effect, signal, type Signal } from '@preact/signals'

/** A signal that the browser keeps. What does not fit is forgotten; objects get what they lack of the default. */
export function stored<Value>(name: string, standard: Value): Signal<Value> {
  const key = `asdm.${name}`
  const state = signal(read(key, standard))
  effect(() => {
    try {
      localStorage.setItem(key, JSON.stringify(state.value))
    } catch {
      // Full, or switched off: then it lives as long as the page.
    }
  })
  return state
}

function read<Value>(key: string, standard: Value): Value {
  try {
    const text = localStorage.getItem(key)
    if (text === null) return standard
    const value = JSON.parse(text) as Value
    if (typeof value !== typeof standard || Array.isArray(value) !== Array.isArray(standard)) return standard
    return typeof standard === 'object' && standard !== null && !Array.isArray(standard) ? { ...standard, ...value } : value
  } catch {
    return standard
  }
}
