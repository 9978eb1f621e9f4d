import type { DType } from '../components/options'
import type { Checkpoint } from '../model/part'
import type { ForwardShape } from '../native/binding'
import type { ContenderSpec } from './contender'
import type { ImagePeer } from './images'
import type { BenchPart, BenchReport, Suite } from './report'
import type { WorkerTask } from './worker'

/** Who else can run a part; see {@link ContenderSpec} for how they are driven. Exported for tests and scripts. */
export interface Peers {
  found: ContenderSpec[]
  absent: { name: string, absent: string }[]
}

/** Programs that make whole images only, see {@link ImagePeer}. Exported for tests and scripts. */
export interface ImagePeers {
  found: ImagePeer[]
  absent: { name: string, absent: string }[]
}

/** What there is to make for them. Exported for tests and scripts. */
export interface ImageRequest {
  checkpoint: Checkpoint
  /** The folder for files. */
  work: string
  threads: number
  signal?: AbortSignal | undefined
}

/** What there is to run for peers. Exported for tests and scripts. */
export interface PeerRequest {
  part: BenchPart
  /** The model's folder. */
  model: string
  /** The folder for files, and the name of the inputs in it. */
  work: string
  inputs: string
  threads: number
  /** Number formats that ours is measured in. */
  dtypes: readonly DType[]
  input: ForwardShape
}

export interface BenchOptions {
  shape: string
  suites: readonly Suite[]
  dtypes?: readonly DType[] | undefined
  threads: number
  cpu: string
  runs: number
  plans: readonly string[]
  /** Images for a plan's likeness. */
  images: number
  /** Where models and files go. */
  work: string
  findPeers?: ((request: PeerRequest) => Promise<Peers>) | undefined
  /** For the suite `pipeline`; the names are for saying that they take no part in others. */
  imagePeers?: { names: readonly string[], find(request: ImageRequest): Promise<ImagePeers> } | undefined
  commit?: string | undefined
  signal?: AbortSignal | undefined
  onProgress: (what: string) => void
}

/** What suites share. */
export interface BenchContext extends BenchOptions {
  checkpoint: Checkpoint
  report: BenchReport
  dtypes: readonly DType[]
  /** A process of ours. */
  worker(part: WorkerTask['part'], dtype: DType, other?: Partial<Pick<WorkerTask, 'cpu' | 'model' | 'image'>>): ContenderSpec
  /** Writes a part's inputs and gives their name in the folder. */
  inputs(part: BenchPart): Promise<{ name: string, input: ForwardShape }>
}
