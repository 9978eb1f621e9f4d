import { AsdmError, type ErrorCode } from 'asdm'

/** What goes wrong in the server alone. */
export type ServerErrorCode
  = 'UNAUTHORIZED' | 'FORBIDDEN' | 'NOT_FOUND' | 'MODEL_NOT_FOUND' | 'QUEUE_FULL' | 'MODEL_TOO_LARGE' | 'STOPPING' | 'CANCELLED' | 'CONFLICT'
    | 'WORKER_LOST' | 'WORKER_FAILED' | 'RESULTS_FAILED' | 'RESULT_DAMAGED'

const statuses: Readonly<Record<ServerErrorCode, number>> = {
  UNAUTHORIZED: 401, FORBIDDEN: 403, NOT_FOUND: 404, MODEL_NOT_FOUND: 404, CONFLICT: 409, CANCELLED: 499, QUEUE_FULL: 503, STOPPING: 503,
  MODEL_TOO_LARGE: 507, RESULTS_FAILED: 507, RESULT_DAMAGED: 500, WORKER_LOST: 500, WORKER_FAILED: 500,
}

/** Codes of asdm that speak of the request, not of the machine or its files. */
const clientCodes: ReadonlySet<ErrorCode> = new Set([
  'INVALID_ARGUMENT', 'SHAPE_MISMATCH', 'UNSUPPORTED_CONFIG', 'UNSUPPORTED_FORMAT', 'BAD_JSON', 'FILE_READ',
])

/** An error that the server itself answers with: a code and one sentence. */
export class ServerError extends Error {
  /** The HTTP status. */
  readonly statusCode: number

  /** @param code stable, for programs */
  constructor(readonly code: ServerErrorCode, message: string) {
    super(message)
    this.name = 'ServerError'
    this.statusCode = statuses[code]
  }
}

/** A model could not be loaded: whatever its code, that is no fault of the request. */
export class LoadError extends Error {
  constructor(readonly code: string, message: string, cause: unknown) {
    super(message, { cause })
    this.name = 'LoadError'
  }
}

/** What a client is told of an error. */
export interface Problem {
  /** The HTTP status. */
  status: number
  /** Stable, for programs. */
  code: string
  /** One sentence. */
  message: string
}

/** An error as an answer. What is no error of asdm, of Fastify or of the server stays unexplained: it may hold paths and secrets. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ServerError) return { status: error.statusCode, code: error.code, message: error.message }
  if (error instanceof LoadError) return { status: error.code === 'OUT_OF_MEMORY' ? 507 : 500, code: error.code, message: error.message }
  if (error instanceof AsdmError) return { status: statusOf(error.code), code: error.code, message: error.message }
  const { name, statusCode, code, message } = error as { name?: string, statusCode?: number, code?: string, message?: string }
  if (name === 'AbortError') return { status: statuses.CANCELLED, code: 'CANCELLED', message: 'The request was cancelled' }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500)
    return { status: statusCode, code: code === 'FST_ERR_VALIDATION' ? 'INVALID_ARGUMENT' : code ?? 'INVALID_ARGUMENT', message: message ?? '' }
  return { status: 500, code: 'INTERNAL', message: 'The server met an unexpected error; its log has it' }
}

function statusOf(code: ErrorCode): number {
  if (clientCodes.has(code)) return 400
  if (code === 'PACKAGE_MISSING') return 501
  return code === 'OUT_OF_MEMORY' ? 507 : 500
}
