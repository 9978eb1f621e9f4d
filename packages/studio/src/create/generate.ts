import { attempt } from '../state/messages'
import { submit } from '../state/jobs'
import { modelName } from '../state/models'
import { bodyOf, request, source } from '../state/request'
import { planForRequest } from '../plan/state'

/** Makes what the form says. */
export async function generate(changes: { seed?: string } = {}): Promise<void> {
  await attempt(async () => {
    const form = { ...request.value, ...changes }
    const plan = form.planned ? planForRequest.value : undefined
    await submit({ ...bodyOf(form, modelName.value, source.value), ...(plan !== undefined && { plan }) } as Parameters<typeof submit>[0])
  })
}

/** A seed that nobody chose. */
export function randomSeed(): string {
  return String(crypto.getRandomValues(new Uint32Array(1))[0])
}
