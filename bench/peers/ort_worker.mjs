// A graph in onnxruntime-node, as a peer to time against. It speaks the protocol of lib/measure/contender.ts.
//
//     node ort_worker.mjs <file.onnx> <threads>
//
// Inputs go to the graph's by their names, as diffusers exports name them; a graph with one input has it under any name.
import fs from 'node:fs'
import readline from 'node:readline'
import ort from 'onnxruntime-node'

const [file, threads] = process.argv.slice(2)

function readTensors(path) {
  const bytes = fs.readFileSync(path)
  const start = 8 + Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.subarray(8, start).toString())
  return Object.entries(header).filter(([name]) => name !== '__metadata__').map(([name, { shape, data_offsets: [begin, end] }]) =>
    ({ name, tensor: new ort.Tensor('float32', new Float32Array(new Uint8Array(bytes.subarray(start + begin, start + end)).buffer), shape) }))
}

function writeTensor(path, { data, dims }) {
  const header = JSON.stringify({ sample: { dtype: 'F32', shape: dims, data_offsets: [0, data.byteLength] } })
  const padded = header.padEnd(Math.ceil(header.length / 8) * 8)
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(padded.length))
  fs.writeFileSync(path, Buffer.concat([length, Buffer.from(padded), Buffer.from(data.buffer, data.byteOffset, data.byteLength)]))
}

let session
for await (const line of readline.createInterface({ input: process.stdin })) {
  const [command, from, to] = line.split(' ')
  if (command === 'quit') break
  let start = performance.now()
  let ms
  if (command === 'load') {
    session = await ort.InferenceSession.create(file, { executionProviders: ['cpu'], intraOpNumThreads: Number(threads), graphOptimizationLevel: 'all' })
    ms = performance.now() - start
  } else {
    const inputs = readTensors(from)
    const feeds = Object.fromEntries(session.inputNames.map(name => [name, (inputs.length === 1 ? inputs[0] : inputs.find(input => input.name === name || input.name === `${name}s`)).tensor]))
    start = performance.now()
    const outputs = await session.run(feeds)
    ms = performance.now() - start
    writeTensor(to, outputs[session.outputNames[0]])
  }
  console.log(JSON.stringify({ ms, peakBytes: process.resourceUsage().maxRSS * 1024, version: ort.env.versions.node }))
}
process.exit(0)
