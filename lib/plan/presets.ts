import type { PlanBuilder } from './builders'

/** Plans by plain names. */
export const presets: Readonly<Record<string, PlanBuilder>> = {}
