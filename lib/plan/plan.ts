/**
 * A plan as JSON: which features each denoising step inherits, which UNet it runs, and whether guidance runs. Schema:
 * `schema/plan.schema.json`.
 */
import type { Mode } from './mode'

/**
 * What is taken over of a prefix.
 *
 * - `branch`, for residual units (`resnets.N`, `attentions.N`, `attn1`, `attn2`, `ff`) and their default: what the unit adds to the
 *   stream, so that the stream itself stays fresh.
 * - `output`, the default of everything else: every value made under the prefix that is read outside it.
 */
export type Feature = 'output' | 'branch'

/**
 * An inherited prefix of diffusers' weight names, cut at dots: a block (`down_blocks.2`, `mid_block`), a layer (`up_blocks.1.1`: the
 * block's `resnets.1` and `attentions.1`), or a unit (`up_blocks.1.attentions.1.transformer_blocks.0.attn2`).
 */
export type Inherit = string | { prefix: string, feature: Feature }

/**
 * Whether the unconditional pass runs: `full`; not at all (`conditional`); or its direction is that of the last guided step (`inherit`).
 */
export type GuidanceKind = 'full' | 'conditional' | 'inherit'

/** Prefixes that are inherited at the steps that no mode makes full. */
export interface PlanRule {
  /** What the steps that are not full take over. */
  inherit: Inherit[]
  /** Says which steps are full. Of several modes each adds full steps. */
  when: Mode | Mode[]
  /** The UNet whose steps the rule is about; the main one, `full`, if left out. */
  unet?: string
}

/** Guidance runs in full at the steps that `when` makes full; at the others as `otherwise` says. */
export interface GuidanceRule {
  /** What happens at the other steps. */
  otherwise: 'conditional' | 'inherit'
  /** Says which steps run guidance in full. Of several modes each adds steps. */
  when: Mode | Mode[]
}

/**
 * The UNet of the steps between two fractions of the run: `from` (0) up to, without it, `to` (0.5). Where entries overlap, the last one
 * wins.
 */
export interface UNetRule {
  /** The UNet's name: a key of `LoadOptions.unets`, or `full`. */
  unet: string
  /** Fraction of the run where it begins; 0 if left out. */
  from?: number
  /** Fraction of the run where it ends; 0.5 if left out. */
  to?: number
}

/** Where features are: a prefix of one UNet, with the feature as in {@link Inherit}. */
export interface MapEnd {
  /** The UNet's name: a key of `LoadOptions.unets`, or `full`. */
  unet: string
  /** As in {@link Inherit}. */
  prefix: string
  /** As in {@link Inherit}; that prefix's default if left out. */
  feature?: Feature
}

/**
 * Lets features cross UNets: where a step of `to.unet` inherits `to.prefix`, it takes what either UNet computed last. Both must stand for
 * as many values of the same shapes. What `to` computed does not go back unless the map is `mutual`, and what it took over is not
 * handed on by further maps.
 */
export interface PlanMap {
  /** What is given. */
  from: MapEnd
  /** What takes it. */
  to: MapEnd
  /** Both ways. */
  mutual?: boolean
}

/**
 * A plan for any number of steps. The first step of each UNet, and its first with guidance, is full, but for what a map gives it.
 */
export interface RulePlan {
  /** Version of the format. */
  version: 1
  /** For people. */
  name?: string
  /** Each adds what it inherits to the steps it is about. */
  rules: PlanRule[]
  /** Guidance runs at every step if left out. */
  guidance?: GuidanceRule
  /** The main UNet runs at every step if left out. */
  unets?: UNetRule[]
  /** Features stay within their UNet if left out. */
  maps?: PlanMap[]
  /**
   * Inherited features go on along the line through their last two computed values, over time steps, with this factor of its slope (0 to
   * 2): `v1 + extrapolate * (t - t1) / (t1 - t0) * (v1 - v0)`. They stand still if left out or 0. With a factor of 1 the first order of
   * TaylorSeer (arXiv 2503.06923).
   */
  extrapolate?: number
}

/** One step of a plan that lists them. */
export interface PlanStep {
  /** `full`, the main one, if left out. */
  unet?: string
  /** Nothing if left out: a full step. */
  inherit?: Inherit[]
  /** `full` if left out. */
  guidance?: GuidanceKind
}

/** A plan for one number of steps. */
export interface StepPlan {
  /** Version of the format. */
  version: 1
  /** For people. */
  name?: string
  /** One for each step of the run. */
  steps: PlanStep[]
  /** Features stay within their UNet if left out. */
  maps?: PlanMap[]
  /** As in {@link RulePlan}. */
  extrapolate?: number
}

/** A plan: rules for any number of steps, or a list of steps. */
export type Plan = RulePlan | StepPlan

/** How the main UNet is called in plans. */
export const mainUNet = 'full'

/** The greatest factor that plans may continue inherited features by. */
export const mostExtrapolation = 2
