import type { Step } from 'asdm'
import type { Task } from '../tasks/task'

/** Prefix of all keys and channels. */
export const prefix = 'asdm'

/** What a job of BullMQ carries; its id is the name of the result, without `.png`. */
export interface TaskData {
  task: Task
  preview: boolean
  timeoutMs: number
  /** Which turn of its client this is. */
  turn: number
}

/** A model that a worker can run. Workers of one group make the same bits of the same task. */
export interface OfferedModel {
  name: string
  group: string
  hash: string
  loras: Record<string, string>
}

/** What a worker says of itself every few seconds. */
export interface Announcement {
  id: string
  kind: string
  models: OfferedModel[]
  /** Milliseconds that its last images took in the mean; 0 before the first. */
  msPerImage: number
  draining: boolean
}

/** What a worker says of a task. */
export type TaskMessage
  = { type: 'step', phase: Step['phase'], step: number, steps: number, etaMs?: number | undefined, previews?: { width: number, height: number, rgba: string }[] }
    | { type: 'over' }

export const keys = {
  workers: `${prefix}:workers`,
  worker: (id: string) => `${prefix}:worker:${id}`,
  wanted: (id: string) => `${prefix}:wanted:${id}`,
  turn: (group: string) => `${prefix}:turn:${group}`,
  turns: (group: string) => `${prefix}:turns:${group}`,
  job: (id: string) => `${prefix}:job:${id}`,
  task: (id: string) => `${prefix}:task:${id}`,
  cancel: `${prefix}:cancel`,
  wake: `${prefix}:wake`,
}

/** How long an announcement holds. */
export const announceSeconds = 10

/** How long jobs, and who wants an image, are remembered. */
export const rememberSeconds = 7 * 24 * 3600

/** Turns a priority has room for. */
const turns = 2 ** 17

/** BullMQ's priority, lower first: sixteen of the job's own, in each of which clients take turns. */
export function priorityOf(priority: number, turn: number): number {
  return (8 - Math.max(-7, Math.min(8, Math.round(priority)))) * turns + Math.min(turn, turns - 1)
}
