import fs from 'node:fs'
import { remoteRunner } from '../support/remote-runner'
import { repoPath } from '../support/fixtures'
import type { OpRunner } from '../support/op-runner'

const program = repoPath('build', 'cuda-emulated', 'kernels')

/** Was the emulated card compiled? `npm test` does that first (scripts/cuda-emulated.mjs), where there is a compiler for it. */
export const hasEmulatedCard = fs.existsSync(program)

/** Runs CUDA kernels on the emulated card, in a process of its own. `threads` of a run seeds the order of emulated threads. */
export const emulatedCard = (): OpRunner => remoteRunner(program)
