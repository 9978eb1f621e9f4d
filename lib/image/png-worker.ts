/** A worker thread that encodes or decodes one PNG and ends; see `png.ts`, which starts it. */
import { parentPort, workerData } from 'node:worker_threads'
import { decodeHere, encodeHere, type PngJob } from './png-codec'

const job = workerData as PngJob
const result = job.kind === 'encode' ? encodeHere(job.rgba, job.width, job.height) : decodeHere(job.png)
// A copy of exact length: what pngjs gives may be a view into Node's shared pool, which cannot be transferred.
const bytes = new Uint8Array(result)
parentPort?.postMessage(bytes, [bytes.buffer])
