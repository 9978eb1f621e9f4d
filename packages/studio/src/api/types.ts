/** The types of the API, as the server's OpenAPI document has them. */
import type { paths } from './openapi'

type Body<Path extends keyof paths> = paths[Path] extends { post: { requestBody?: { content: { 'application/json': infer Content } } } } ? Content : never
type Posted<Path extends keyof paths, Status extends number = 200> = paths[Path] extends
{ post: { responses: Record<Status, { content: { 'application/json': infer Content } }> } } ? Content : never
type Got<Path extends keyof paths> = paths[Path] extends { get: { responses: { 200: { content: { 'application/json': infer Content } } } } } ? Content : never

export type JobBody = Body<'/api/jobs'>
export type Job = Got<'/api/jobs'>[number]
export type JobImage = Job['images'][number]
export type ModelDetails = Posted<'/api/models/describe'>
export type CostBody = Body<'/api/plans/cost'>
export type Cost = Posted<'/api/plans/cost'>
export type Profile = Posted<'/api/profile'>
export type ProfileRow = Profile['whole']
export type Recipes = Got<'/api/recipes'>
export type Choices = Got<'/api/choices'>

/** An image's settings, as asdm writes them; of files from elsewhere fewer. */
export interface Settings {
  prompt?: string
  negativePrompt?: string
  guidanceScale?: number
  steps?: number
  sampler?: string | Record<string, unknown>
  seed?: number | string
  width?: number
  height?: number
  count?: number
  index?: number
  strength?: number
  from?: 'image' | 'inpaint'
  plan?: PlanJson
}

/** One of `GET /api/models`. */
export interface ListedModel {
  name: string
  loaded: boolean
  bytes: number
  inUse: boolean
}

/** What is inherited: a prefix with its own feature, or one with another. */
export type Inherit = string | { prefix: string, feature: 'output' | 'branch' }

/** When a rule's steps are full. */
export type Mode = Record<string, unknown> & { mode: string }

/** A plan as JSON, see docs/plans.md. */
export interface PlanJson {
  version: 1
  name?: string
  rules?: { inherit: Inherit[], when: Mode | Mode[], unet?: string }[]
  steps?: { inherit?: Inherit[], guidance?: Guidance, unet?: string }[]
  guidance?: { otherwise: 'conditional' | 'inherit', when: Mode | Mode[] }
  extrapolate?: number
}

/** What a step does about guidance. */
export type Guidance = 'full' | 'conditional' | 'inherit'

/** Statistics of a job with a plan. */
export interface Statistics {
  macs: number
  fullMacs: number
  share: number
  stepMs: number[]
  stepShares: number[]
  keptBytes: number
}
