import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Job } from '../jobs/job'
import type { JobQueue } from '../jobs/queue'
import type { ModelStore } from '../models/store'

/** What `GET /metrics` says, in Prometheus's format. */
export class Metrics {
  readonly registry = new Registry()
  readonly requestSeconds: Histogram<'method' | 'route' | 'status'>
  readonly jobs: Counter<'api' | 'state'>
  readonly jobSeconds: Histogram<'model'>
  readonly images: Counter<'model'>
  readonly loads: Counter<'model'>
  readonly eventClients: Gauge

  constructor() {
    const registers = [this.registry]
    collectDefaultMetrics({ register: this.registry })
    this.requestSeconds = new Histogram({
      name: 'asdm_http_request_seconds', help: 'Time from a request to the end of its answer', labelNames: ['method', 'route', 'status'], registers,
      buckets: [0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300],
    })
    this.jobs = new Counter({ name: 'asdm_jobs_total', help: 'Jobs that ended', labelNames: ['api', 'state'], registers })
    this.jobSeconds = new Histogram({
      name: 'asdm_job_seconds', help: 'Time that done jobs ran, loading included', labelNames: ['model'], registers,
      buckets: [0.5, 1, 2, 5, 10, 20, 60, 120, 300, 900],
    })
    this.images = new Counter({ name: 'asdm_images_total', help: 'Images that were made', labelNames: ['model'], registers })
    this.loads = new Counter({ name: 'asdm_model_loads_total', help: 'Models that were loaded', labelNames: ['model'], registers })
    this.eventClients = new Gauge({ name: 'asdm_event_clients', help: 'Clients that listen to events', registers })
  }

  /** Adds what is read when it is asked for. */
  watch(queue: JobQueue, models: ModelStore): void {
    const gauge = (name: string, help: string, read: () => number): void => {
      new Gauge({ name, help, registers: [this.registry], collect() { this.set(read()) } })
    }
    gauge('asdm_jobs_waiting', 'Jobs that wait', () => queue.waiting.length)
    gauge('asdm_jobs_running', 'Jobs that run', () => queue.running.length)
    gauge('asdm_models_loaded', 'Models in memory', () => models.loaded().length)
    gauge('asdm_models_bytes', 'Memory that loaded models take', () => models.loaded().reduce((sum, { bytes }) => sum + bytes, 0))
    gauge('asdm_models_bytes_limit', 'Memory that loaded models may take', () => models.memoryLimit)
  }

  /** Counts a job that has ended. */
  ended(job: Job): void {
    this.jobs.inc({ api: job.api, state: job.state })
    if (job.model !== undefined && job.images.length > 0) this.images.inc({ model: job.model }, job.images.length)
    if (job.state === 'done' && job.startedMs !== undefined && job.finishedMs !== undefined)
      this.jobSeconds.observe({ model: job.model ?? '' }, (job.finishedMs - job.startedMs) / 1000)
  }
}
