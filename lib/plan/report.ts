/**
 * What a request's plan costs. Known before its first denoising step, but for what adaptive rules decide: these are taken as never
 * inheriting.
 */
export interface PlanReport {
  /** Multiply-accumulates of the UNet passes, and of the text's keys and values, which are computed once for each UNet. */
  macs: number
  /**
   * Multiply-accumulates of the same run in full, as it is without a plan: the main UNet at every step, with guidance where the request has
   * it, the text's keys and values once.
   */
  fullMacs: number
  /** `macs` over `fullMacs`. */
  share: number
  /** The same, step by step, of the passes alone. */
  stepShares: number[]
  /** Of `macs`, those of the text's keys and values. */
  textMacs: number
  /** Bytes held for the text's keys and values, also without a plan. */
  textBytes: number
  /** Bytes held between steps for inherited features, and for what changes are measured by. */
  keptBytes: number
  /** Of a plan with adaptive rules: the same where they inherit whenever they may. */
  least?: {
    /** Multiply-accumulates of the UNet passes. */
    macs: number
    /** `macs` over `fullMacs`. */
    share: number
    /** The same, step by step. */
    stepShares: number[]
  }
}

/** What a request's plan brought: the report's numbers as they turned out. */
export interface RunStatistics extends PlanReport {
  /** Milliseconds of each step's UNet pass. */
  stepMs: number[]
  /** Of a plan with adaptive rules, for each step: the rules that inherited, by number. */
  inheriting?: number[][]
  /** How many times as fast as the run in full. */
  speedUp: {
    /** `fullMacs` over `macs`. */
    counted: number
    /**
     * Time of the run if every step took as long as a full one, over the time it took. A full step's time is the median of this run's
     * own full steps, without the first one, which also lays out memory, where there are others. `undefined` in a run without any.
     */
    measured: number | undefined
  }
}
