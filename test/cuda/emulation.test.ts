import test from 'ava'
import { randomFloats, roundToBf16 } from '../support/op-runner'
import { emulatedCard, hasEmulatedCard } from './program'

const card = hasEmulatedCard ? emulatedCard() : undefined
const emulated = hasEmulatedCard ? test : test.skip
const run = (op: string, args: Record<string, unknown>, seed = 1) => card!.run(op, '', seed, args)
const seeds = [1, 2, 3, 4, 5, 6, 7, 8]

/** Each rule by a kernel of native/cuda/testing/broken_kernels.cpp that breaks it, and what the emulation says. */
const broken: [kernel: string, says: RegExp][] = [
  ['readPastEnd', /^an access of 4 bytes outside the launch's memory: at byte 1024 of 1024 of in in tested, block 0,0,0, thread 63$/],
  ['readBefore', /outside the launch's memory/],
  ['writePastEnd', /outside the launch's memory/],
  ['writeToInput', /a write to in, which is read-only/],
  ['misaligned', /a misaligned access of 16 bytes to global memory/],
  ['misalignedShared', /a misaligned access of 8 bytes to shared memory/],
  ['sharedPastEnd', /an access outside shared memory: byte 4096 of 4096/],
  ['unwrittenShared', /a read of shared memory before it was written/],
  ['globalRace', /a race: two threads touch what is written of out/],
  ['globalReadRace', /a race: /],
  ['blocksRace', /a race: two threads touch what is written of out in tested, block 1,0,0/],
  ['sharedRace', /a race in shared memory|before it was written/],
  ['sharedReuseRace', /a race in shared memory/],
  ['warpRace', /a race in shared memory|before it was written/],
  ['warpOrderAcross', /a race in shared memory|before it was written/],
  ['divergentBarrier', /a divergent barrier: 32 threads wait, 32 have ended/],
  ['twoBarriers', /a divergent barrier: 64 threads wait at different ones/],
  ['divergentShuffle', /a warp that diverged: not all its lanes come to the same shuffle/],
  ['divergentShuffles', /a warp that diverged/],
  ['copyUnawaited', /use of shared memory that copyAsync still writes/],
  ['copyTooYoung', /use of shared memory that copyAsync still writes/],
  ['copyOverwritten', /use of shared memory that copyAsync still writes/],
  ['copyNoBarrier', /a race in shared memory|that copyAsync still writes|before it was written/],
  ['copyNeverAwaited', /copyAsync without a copyWait/],
  ['overflowStack', /the stack overflowed/],
  ['oddThreads', /a launch beyond what the card takes: .* 48 threads/],
  ['tooMuchShared', /a launch beyond what the card takes: .* 204800 bytes of shared memory/],
]

for (const [kernel, says] of broken)
  emulated(`a kernel that breaks a rule is stopped, whatever the order of threads: ${kernel}`, t => {
    for (const seed of seeds) t.throws(() => run('fault', { kernel }, seed), { message: says })
  })

for (const kernel of ['copyAll', 'globalBarrier', 'sharedBarrier', 'warpOrder', 'copyAwaited', 'copyZeros'])
  emulated(`a kernel that keeps the rules is not: ${kernel}`, t => {
    for (const seed of seeds) t.notThrows(() => run('fault', { kernel }, seed))
  })

/** ldmatrix (PTX ISA 8.5, "Warp-level matrix instructions: ldmatrix", fragment layout): the thread's two numbers of matrix k, row r. */
emulated('ldmatrix gives each lane the numbers that the ISA says', t => {
  const x = Float32Array.from({ length: 256 }, (_, i) => i) // matrix i / 64, row i / 8 % 8, column i % 8
  const plain = run('loadMatrix', { x, transposed: false }), turned = run('loadMatrix', { x, transposed: true })
  for (let lane = 0; lane < 32; lane++)
    for (let matrix = 0; matrix < 4; matrix++)
      for (let half = 0; half < 2; half++) {
        const row = Math.floor(lane / 4), column = 2 * (lane % 4) + half, at = (lane * 4 + matrix) * 2 + half
        t.is(plain[at], matrix * 64 + row * 8 + column)
        t.is(turned[at], matrix * 64 + column * 8 + row)
      }
})

/**
 * Rows and columns of fragments as the PTX ISA 8.5 has them for mma.m16n8k16 (.bf16) and m16n8k32 (.u8/.s8), in its own words: groupID =
 * lane >> 2, threadID_in_group = lane % 4.
 */
const layouts = {
  mma: {
    a: (group: number, id: number, i: number) =>
      [(i >= 0 && i < 2) || (i >= 4 && i < 6) ? group : group + 8, i < 4 ? id * 2 + (i & 1) : id * 2 + (i & 1) + 8],
    b: (group: number, id: number, i: number) => [i < 2 ? id * 2 + (i & 1) : id * 2 + (i & 1) + 8, group],
    k: 16, numbersA: 8, numbersB: 4,
  },
  mmaBytes: {
    a: (group: number, id: number, i: number) =>
      [(i >= 0 && i < 4) || (i >= 8 && i < 12) ? group : group + 8, i < 8 ? id * 4 + (i & 3) : id * 4 + (i & 3) + 16],
    b: (group: number, id: number, i: number) => [i < 4 ? id * 4 + (i & 3) : id * 4 + (i & 3) + 16, group],
    k: 32, numbersA: 16, numbersB: 8,
  },
}
const layoutC = (group: number, id: number, i: number) => [i < 2 ? group : group + 8, id * 2 + (i & 1)]

for (const op of ['mma', 'mmaBytes'] as const)
  emulated(`${op} multiplies fragments that lie as the ISA's tables say`, t => {
    const { a: placeA, b: placeB, k, numbersA, numbersB } = layouts[op], bytes = op === 'mmaBytes'
    const a = bytes
      ? Float32Array.from(randomFloats(16 * k, 1), v => Math.abs(Math.round(v * 60)) % 256)
      : roundToBf16(randomFloats(16 * k, 1))
    const b = bytes
      ? Float32Array.from(randomFloats(k * 8, 2), v => Math.max(-127, Math.min(127, Math.round(v * 40))))
      : roundToBf16(randomFloats(k * 8, 2))
    const d = bytes ? Float32Array.from(randomFloats(128, 3), v => Math.round(v * 1000)) : randomFloats(128, 3)
    const registers: number[] = []
    for (let lane = 0; lane < 32; lane++) {
      const group = lane >> 2, id = lane % 4
      for (let i = 0; i < numbersA; i++) registers.push(a[placeA(group, id, i)[0]! * k + placeA(group, id, i)[1]!]!)
      for (let i = 0; i < numbersB; i++) registers.push(b[placeB(group, id, i)[0]! * 8 + placeB(group, id, i)[1]!]!)
      for (let i = 0; i < 4; i++) registers.push(d[layoutC(group, id, i)[0]! * 8 + layoutC(group, id, i)[1]!]!)
    }
    const got = run(op, { registers: Float32Array.from(registers) })
    for (let lane = 0; lane < 32; lane++)
      for (let i = 0; i < 4; i++) {
        const [row, column] = layoutC(lane >> 2, lane % 4, i) as [number, number]
        let want = d[row * 8 + column]!, size = Math.abs(want)
        for (let p = 0; p < k; p++) {
          want += a[row * k + p]! * b[p * 8 + column]!
          size += Math.abs(a[row * k + p]! * b[p * 8 + column]!)
        }
        t.true(
          Math.abs(got[lane * 4 + i]! - want) <= (bytes ? 0 : size * 20 * 2 ** -24),
          `lane ${lane}, c${i}: ${got[lane * 4 + i]}, not ${want}`,
        )
      }
  })

emulated('bank conflicts are counted by phases of 128 bytes', t => {
  const wavefronts = (bytes: number, offset: (lane: number) => number) =>
    run('wavefronts', { bytes, offsets: Float32Array.from({ length: 32 }, (_, lane) => offset(lane)) })[0]
  t.is(wavefronts(4, lane => lane * 4), 1)
  t.is(wavefronts(4, lane => lane * 8), 2)
  t.is(wavefronts(4, lane => lane * 128), 32)
  t.is(wavefronts(4, lane => lane * 132), 1)
  t.is(wavefronts(4, () => 64), 1) // a broadcast
  t.is(wavefronts(8, lane => lane * 8), 2)
  t.is(wavefronts(16, lane => lane * 16), 4)
  t.is(wavefronts(16, lane => lane * 128), 32)
  t.is(wavefronts(16, lane => lane * 144), 4)
})

emulated('requests, sectors and barriers are counted by warps', t => {
  // [requests, sectors, shared requests, wavefronts, barriers, mma] of two warps.
  t.deepEqual([...run('counts', { kernel: 'copyAll' })], [4, 16, 0, 0, 0, 0])
  t.deepEqual([...run('counts', { kernel: 'strided' })], [4, 2 * 4 + 2 * 16, 0, 0, 0, 0])
  t.deepEqual([...run('counts', { kernel: 'conflicted' })], [2, 8, 6, 2 * 32 + 2 + 2, 2, 0])
})
