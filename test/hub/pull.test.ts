import fs from 'node:fs'
import path from 'node:path'
import test, { type ExecutionContext } from 'ava'
import { AsdmError, type ErrorCode } from '../../lib/base/errors'
import { systemIO } from '../../lib/hub/io'
import type { HubPackage } from '../../lib/hub/package'
import { findOrPull, pullWith, type PullProgress } from '../../lib/hub/pull'
import { openCheckpoint } from '../../lib/model/checkpoint'
import { contents } from '../model/checkpoints'
import { fixture } from '../support/fixtures'
import { temporaryFolder } from '../support/temporary'
import { checkpointFiles, etagOf, FakeHub, filesBelow, gitBlob, quickIO, setting, sha256, type Files } from './fake-hub'

const needed = ['model_index.json', 'scheduler/scheduler_config.json', 'text_encoder/config.json', 'text_encoder/model.safetensors', 'tokenizer/merges.txt', 'tokenizer/special_tokens_map.json',
  'tokenizer/tokenizer_config.json', 'tokenizer/vocab.json', 'unet/config.json', 'unet/diffusion_pytorch_model.safetensors', 'vae/config.json', 'vae/diffusion_pytorch_model.safetensors']
const unet = 'unet/diffusion_pytorch_model.safetensors'

async function refused(t: ExecutionContext, pulling: Promise<unknown>, code: ErrorCode, says: RegExp): Promise<void> {
  const error = await t.throwsAsync(pulling, { instanceOf: AsdmError })
  t.is(error?.code, code, error?.message)
  t.regex(error!.message, says)
}

/** The checkpoint's weights under a variant's names, beside or instead of the plain ones. */
function withVariant(files: Files, variant: string, parts = ['unet', 'vae', 'text_encoder'], instead = false): Files {
  const out = { ...files }
  for (const name of Object.keys(files)) {
    if (!name.endsWith('.safetensors') || !parts.includes(name.split('/')[0])) continue
    out[name.replace('.safetensors', `.${variant}.safetensors`)] = files[name]
    if (instead) delete out[name]
  }
  return out
}

test('only what a pipeline needs, in the layout that the hub\'s tools share', async t => {
  const { hub, pull, folder } = await setting(t)
  const model = await pull()
  t.deepEqual([...model.files].sort(), needed)
  t.is(model.path, path.join(folder, 'snapshots', hub.commit))
  t.is(model.bytes, needed.reduce((sum, name) => sum + hub.files[name].length, 0))
  t.is(model.bytesFetched, model.bytes)
  t.is(model.variant, undefined)
  t.deepEqual(filesBelow(folder), [...new Set(needed.map(name => `blobs/${etagOf(name, hub.files[name])}`)), 'refs/main', ...needed.map(name => `snapshots/${hub.commit}/${name}`)].sort())
  t.is(fs.readFileSync(path.join(folder, 'refs', 'main'), 'utf8'), hub.commit)
  for (const name of needed) {
    if (process.platform !== 'win32') t.is(fs.readlinkSync(path.join(model.path, name)), path.join(...name.split('/').slice(1).map(() => '..'), '..', '..', 'blobs', etagOf(name, hub.files[name])))
    t.true(fs.readFileSync(path.join(model.path, name)).equals(hub.files[name]))
  }
  const [ours, original] = [await openCheckpoint(model.path), await openCheckpoint(fixture('sd21-tiny'))]
  t.deepEqual([...contents(ours.unet).keys()], [...contents(original.unet).keys()])
  // Nothing was asked for twice, and nothing besides.
  t.deepEqual(hub.asked.filter(({ server }) => server === 'storage').map(({ file }) => file).sort(), needed.filter(name => name.endsWith('.safetensors')))
  t.false(hub.asked.some(({ file }) => /README|\.bin/.test(file)))
})

test('a second pull asks only whether there is something new', async t => {
  const { hub, pull } = await setting(t)
  const first = await pull()
  hub.asked.length = 0
  const second = await pull()
  t.deepEqual(second, { ...first, bytesFetched: 0 })
  t.deepEqual(hub.asked.filter(({ file }) => file !== ''), [])
  // What belongs to a later commit replaces nothing of the earlier one.
  const later = 'f'.repeat(40)
  hub.answer = (request, response, asked) => {
    if (asked.url.includes('/revision/')) { response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ _id: '1', id: hub.repository, sha: later })); return true }
    request.url = asked.url.replace(later, hub.commit)
    return undefined
  }
  hub.announce = entries => entries
  const commit = hub.commit
  Object.assign(hub, { commit: later })
  const third = await pull()
  t.is(third.commit, later)
  t.is(third.bytesFetched, 0)
  t.true(fs.existsSync(path.join(first.path, unet)))
  t.is(commit, first.commit)
})

test('the fp16 variant first, where there is one; others by name', async t => {
  const plain = checkpointFiles()
  const cases: [Files, string | false | undefined, string[], string | undefined][] = [
    [withVariant(plain, 'fp16'), undefined, ['fp16', 'fp16', 'fp16'], 'fp16'],
    [withVariant(plain, 'fp16'), false, ['', '', ''], undefined],
    [withVariant(plain, 'fp16'), 'fp16', ['fp16', 'fp16', 'fp16'], 'fp16'],
    [withVariant(withVariant(plain, 'fp16'), 'ema', ['unet']), 'ema', ['ema', '', ''], 'ema'],
    [withVariant(plain, 'fp16', ['unet']), undefined, ['fp16', '', ''], 'fp16'],
    [withVariant(plain, 'bf16', ['unet', 'vae', 'text_encoder'], true), undefined, ['bf16', 'bf16', 'bf16'], 'bf16'],
  ]
  for (const [files, variant, expected, name] of cases) {
    const { pull } = await setting(t, files)
    const model = await pull({ ...(variant !== undefined && { variant }) })
    const weights = model.files.filter(file => file.endsWith('.safetensors'))
    t.deepEqual(['unet', 'vae', 'text_encoder'].map(part => weights.filter(file => file.startsWith(part)).map(file => /\.(\w+)\.safetensors$/.exec(file)?.[1] ?? '').join()), expected)
    t.is(model.variant, name)
    t.is((await openCheckpoint(model.path, { variant: model.variant })).warnings.length, expected.includes('') && name !== undefined ? 1 : 0)
  }
  await refused(t, (await setting(t, withVariant(plain, 'fp16'))).pull({ variant: 'int8' }), 'FILE_NOT_FOUND', /int8/)
  await refused(t, (await setting(t, withVariant(plain, 'fp16', ['unet', 'vae', 'text_encoder'], true))).pull({ variant: false }), 'FILE_NOT_FOUND', /fp16/)
  const two = { ...withVariant(plain, 'a', ['unet'], true), 'unet/diffusion_pytorch_model.b.safetensors': plain[unet] }
  await refused(t, (await setting(t, two)).pull(), 'FILE_NOT_FOUND', /only a, b/)
})

test('shards and their index', async t => {
  const files = checkpointFiles()
  const names = ['diffusion_pytorch_model-00001-of-00002.safetensors', 'diffusion_pytorch_model-00002-of-00002.safetensors']
  const index = (map: unknown): Buffer => Buffer.from(JSON.stringify({ weight_map: map }))
  const sharded: Files = { ...files, [`unet/${names[0]}`]: files[unet], [`unet/${names[1]}`]: files['vae/diffusion_pytorch_model.safetensors'], 'unet/diffusion_pytorch_model.safetensors.index.json': index({ a: names[0], b: names[1], c: names[0] }) }
  delete sharded[unet]
  const { pull, hub } = await setting(t, sharded)
  const model = await pull()
  for (const name of names) t.true(fs.readFileSync(path.join(model.path, 'unet', name)).equals(sharded[`unet/${name}`]))
  // Two names for the same bytes are one download.
  t.is(hub.fetches('vae/diffusion_pytorch_model.safetensors').length + hub.fetches(`unet/${names[1]}`).length, 1)
  for (const bad of [{ a: '../../evil.safetensors' }, { a: 'missing.safetensors' }, { a: '/etc/passwd' }, { a: 5 }, {}, []])
    await refused(t, (await setting(t, { ...sharded, 'unet/diffusion_pytorch_model.safetensors.index.json': index(bad) })).pull(), 'BAD_JSON', /index\.json/)
})

test('what has no safetensors, is no diffusers folder or another kind of model is refused before its weights are fetched', async t => {
  const files = checkpointFiles()
  const without = (...names: string[]): Files => Object.fromEntries(Object.entries(files).filter(([name]) => !names.includes(name)))
  const index = (change: object): Files => ({ ...files, 'model_index.json': Buffer.from(JSON.stringify({ ...JSON.parse(String(files['model_index.json'])), ...change })) })
  const cases: [Files, ErrorCode, RegExp][] = [
    [without(unet), 'UNSUPPORTED_FORMAT', /pickle.*can run any code/],
    [without('vae/diffusion_pytorch_model.safetensors'), 'FILE_NOT_FOUND', /acme\/tiny\/vae/],
    [without('vae/config.json'), 'FILE_NOT_FOUND', /vae\/config\.json/],
    [without('model_index.json'), 'UNSUPPORTED_FORMAT', /model_index\.json/],
    [{ 'model.safetensors': Buffer.from('x') }, 'UNSUPPORTED_FORMAT', /model\.safetensors/],
    [{ 'model.ckpt': Buffer.from('x') }, 'UNSUPPORTED_FORMAT', /pickles/],
    [{}, 'UNSUPPORTED_FORMAT', /diffusers folder/],
    [index({ _class_name: 'StableDiffusionXLPipeline' }), 'UNSUPPORTED_CONFIG', /StableDiffusionXLPipeline/],
    [index({ text_encoder_2: ['transformers', 'CLIPTextModel'] }), 'UNSUPPORTED_CONFIG', /text_encoder_2/],
    [{ ...files, 'model_index.json': Buffer.from('{') }, 'BAD_JSON', /model_index/],
    [{ ...files, 'unet/config.json': Buffer.from('{"block_out_channels": -1}') }, 'BAD_CONFIG', /block_out_channels/],
  ]
  for (const [given, code, says] of cases) {
    const { hub, pull, folder } = await setting(t, given)
    await refused(t, pull(), code, says)
    t.deepEqual(hub.asked.filter(({ server }) => server === 'storage'), [])
    t.false(fs.existsSync(path.join(folder, 'refs')))
  }
})

test('hostile lists are refused whole', async t => {
  const entry = { type: 'file', path: 'README.md', size: 3, oid: 'a'.repeat(40) }
  const bad: object[] = [
    ...['../evil.json', 'unet/../../evil', '/etc/passwd', 'C:\\evil', 'c:evil', '..\\evil', 'unet\\evil', '\\\\host\\share', 'a//b', './a', 'a/.', '', 'a\0b', 'x'.repeat(5000), 7, null].map(name => ({ ...entry, path: name })),
    { ...entry, type: 'directory', path: '../..' },
    ...[-1, 1.5, 1e300, '3', null].map(size => ({ ...entry, size })),
    ...['a', '../../x', 'A'.repeat(40), 'a'.repeat(64), undefined].map(oid => ({ ...entry, oid })),
    ...['a'.repeat(40), '../'.repeat(21) + 'x', null].map(oid => ({ ...entry, lfs: { oid, size: 3 } })),
  ]
  const { hub, pull, cache } = await setting(t)
  for (const item of bad) {
    hub.announce = entries => [...entries, item]
    await refused(t, pull(), 'HUB_RESPONSE', /./)
  }
  for (const answer of [{}, null, 'x', 5, [null], [5]]) {
    hub.announce = () => answer
    await refused(t, pull(), 'HUB_RESPONSE', /form|names/i)
  }
  for (const text of ['{', '', '<html>', '[{"type":']) {
    hub.answer = (_request, response, { url }) => { if (!url.includes('/tree/')) return false; response.end(text); return true }
    await refused(t, pull(), 'HUB_RESPONSE', /form/)
  }
  for (const sha of ['../../x', 'main', 5, undefined, 'A'.repeat(40)]) {
    hub.answer = (_request, response, { url }) => { if (!url.includes('/revision/')) return false; response.end(JSON.stringify({ _id: '1', id: hub.repository, sha })); return true }
    await refused(t, pull(), 'HUB_RESPONSE', /commit/)
  }
  hub.answer = () => {}
  hub.announce = entries => entries
  hub.pageSize = 1
  hub.answer = (_request, response, { url }) => {
    if (!url.includes('/tree/')) return false
    response.writeHead(200, { link: '<http://127.0.0.1:9/api/elsewhere>; rel="next"' }).end('[]')
    return true
  }
  await refused(t, pull(), 'HUB_RESPONSE', /refer to itself/)
  t.deepEqual(filesBelow(cache), [])
})

test('a list without end is given up', async t => {
  const { hub, pull } = await setting(t)
  let pages = 0
  hub.answer = (_request, response, { url }) => {
    if (!url.includes('/tree/')) return false
    pages++
    response.writeHead(200, { link: `<${hub.endpoint}${url}>; rel="next"` }).end(JSON.stringify(Array.from({ length: 20_000 }, (_, i) => ({ type: 'file', path: `${pages}/${i}`, size: 1, oid: 'a'.repeat(40) }))))
    return true
  }
  await refused(t, pull(), 'HUB_RESPONSE', /at most 100000 files/)
  // Folders do not count as files, but pages do.
  hub.answer = (_request, response, { url }) => {
    if (!url.includes('/tree/')) return false
    response.writeHead(200, { link: `<${hub.endpoint}${url}>; rel="next"` }).end('[]')
    return true
  }
  await refused(t, pull(), 'HUB_RESPONSE', /pages/)
  hub.answer = (_request, response, { url }) => { if (!url.includes('/tree/')) return false; response.end(Buffer.alloc(33 * 1024 * 1024, ' ')); return true }
  await refused(t, pull(), 'HUB_RESPONSE', /at most/)
})

test('revisions', async t => {
  const { hub, pull, folder } = await setting(t)
  const model = await pull({ revision: 'refs/pr/7' })
  t.true(hub.asked.some(({ url }) => url.includes('/revision/refs%2Fpr%2F7')))
  t.is(fs.readFileSync(path.join(folder, 'refs', 'refs', 'pr', '7'), 'utf8'), hub.commit)
  hub.asked.length = 0
  t.is((await pull({ revision: hub.commit })).path, model.path)
  t.false(hub.asked.some(({ url }) => url.includes('/revision/')))
  t.deepEqual(fs.readdirSync(path.join(folder, 'refs')), ['refs'])
  for (const revision of ['', '..', 'a/../b', '../x', '/a', 'a/', 'a b', 'a\\b', '.hidden', 'x.lock', 'a'.repeat(201), 5, 'a?b', 'a#b', 'ä']) await refused(t, pull({ revision: revision as string }), 'INVALID_ARGUMENT', /revision/)
})

test('offline: only what is whole in the cache', async t => {
  const { hub, pull, folder } = await setting(t)
  await refused(t, pull({ offline: true }), 'OFFLINE', /acme\/tiny.*not/)
  t.deepEqual(hub.asked, [])
  const model = await pull()
  hub.asked.length = 0
  t.deepEqual(await pull({ offline: true }), { ...model, files: model.files, bytesFetched: 0 })
  t.deepEqual(await pull({ offline: true, revision: hub.commit }), { ...model, revision: hub.commit, bytesFetched: 0 })
  await refused(t, pull({ offline: true, revision: 'other' }), 'OFFLINE', /other/)
  fs.rmSync(path.join(folder, 'blobs', sha256(hub.files[unet])))
  await refused(t, pull({ offline: true }), 'OFFLINE', /in part.*unet/)
  t.deepEqual(hub.asked, [])
  t.is((await pull()).bytesFetched, hub.files[unet].length)
})

test('loading takes what is whole in the cache without asking, and completes what is not', async t => {
  const { hub, pull, cache, folder } = await setting(t, withVariant(checkpointFiles(), 'fp16'))
  const options = { endpoint: hub.endpoint, cache, token: false as const, offline: false }
  const model = await findOrPull(hub.repository, options, quickIO())
  t.is(model.variant, 'fp16')
  hub.asked.length = 0
  t.deepEqual(await findOrPull(hub.repository, options, quickIO()), { ...model, bytesFetched: 0 })
  t.deepEqual(await findOrPull(hub.repository, { ...options, variant: 'fp16' }, quickIO()), { ...model, bytesFetched: 0 })
  t.deepEqual(hub.asked, [])
  // Python's tools fetch file by file: a config alone is no model.
  fs.rmSync(path.join(model.path, 'vae'), { recursive: true })
  t.is((await findOrPull(hub.repository, options, quickIO())).bytesFetched, 0)
  t.true(fs.existsSync(path.join(model.path, 'vae', 'config.json')))
  // Another variant is another question.
  hub.asked.length = 0
  await refused(t, findOrPull(hub.repository, { ...options, variant: 'ema' }, quickIO()), 'FILE_NOT_FOUND', /ema/)
  t.true(hub.asked.length > 0)
  fs.writeFileSync(path.join(folder, 'refs', 'main'), 'nonsense')
  t.is((await findOrPull(hub.repository, options, quickIO())).commit, hub.commit)
  t.is((await pull()).bytesFetched, 0)
})

test('where there are no symbolic links, hard links; where neither, copies', async t => {
  const symlink = (): Promise<void> => Promise.reject(Object.assign(new Error('EPERM'), { code: 'EPERM' }))
  const { hub, pull, folder } = await setting(t)
  const model = await pull({}, quickIO({ symlink }))
  for (const name of needed) t.true(fs.lstatSync(path.join(model.path, name)).isFile())
  t.is(fs.statSync(path.join(model.path, unet)).ino, fs.statSync(path.join(folder, 'blobs', sha256(hub.files[unet]))).ino)
  await openCheckpoint(model.path)
  // Python moves blobs into the snapshot there: nothing to fetch either.
  fs.rmSync(path.join(folder, 'blobs'), { recursive: true })
  t.is((await pull({}, quickIO({ symlink }))).bytesFetched, 0)
  t.is((await pull({ offline: true })).path, model.path)
})

test('nothing is written through a link that leads out of the cache', async t => {
  const cache = temporaryFolder(t)
  const outside = temporaryFolder(t)
  const hub = await FakeHub.start(t, checkpointFiles())
  const folder = path.join(cache, 'models--acme--tiny/snapshots')
  fs.mkdirSync(folder, { recursive: true })
  fs.symlinkSync(outside, path.join(folder, hub.commit))
  await refused(t, pullWith(quickIO(), hub.repository, { cache, endpoint: hub.endpoint, token: false }), 'FILE_WRITE', /but it is a link; remove it/)
  t.deepEqual(fs.readdirSync(outside), [])
})

test('files of the cache that are wrong', async t => {
  const { hub, pull, folder } = await setting(t)
  const model = await pull()
  const blob = path.join(folder, 'blobs', sha256(hub.files[unet]))
  // Another length is seen at once, other bytes when it is asked for.
  fs.truncateSync(blob, 100)
  t.is((await pull()).bytesFetched, hub.files[unet].length)
  t.true(fs.readFileSync(blob).equals(hub.files[unet]))
  const handle = fs.openSync(blob, 'r+')
  fs.writeSync(handle, 'wrong', 5000)
  fs.closeSync(handle)
  t.is((await pull()).bytesFetched, 0)
  t.is((await pull({ verify: true })).bytesFetched, hub.files[unet].length)
  t.true(fs.readFileSync(path.join(model.path, unet)).equals(hub.files[unet]))
  // A link that leads elsewhere is set right.
  const config = path.join(model.path, 'unet', 'config.json')
  fs.rmSync(config)
  fs.symlinkSync(path.join('..', '..', '..', 'blobs', 'nowhere'), config)
  t.is((await pull()).bytesFetched, 0)
  t.is(gitBlob(fs.readFileSync(config)), gitBlob(hub.files['unet/config.json']))
})

test('progress: bytes grow up to all of them', async t => {
  const { pull } = await setting(t)
  const seen: PullProgress[] = []
  const model = await pull({ onProgress: progress => seen.push(progress) })
  t.is(seen[0].phase, 'list')
  const counted = seen.filter(({ phase }) => phase === 'download')
  t.true(counted.length >= needed.length)
  for (const [i, { bytesDone, bytesTotal }] of counted.entries()) {
    t.is(bytesTotal, model.bytes)
    t.true(bytesDone <= bytesTotal && bytesDone >= (counted[i - 1]?.bytesDone ?? 0))
  }
  t.is(counted[counted.length - 1].bytesDone, model.bytes)
})

test('wrong arguments', async t => {
  const { hub, pull } = await setting(t)
  for (const name of ['', 'tiny', 'a/b/c', '/a', 'a/', '../a', 'a/..', 'a--b/c', '-a/b', 'a/b-', 'a/.b', 'a b/c', 'a/b.git', 'https://huggingface.co/a/b', 'x'.repeat(96) + '/y', 5, null])
    await refused(t, pullWith(systemIO, name as string, { endpoint: hub.endpoint }), 'INVALID_ARGUMENT', /owner\/name/)
  for (const [options, says] of [[{ variant: '../x' }, /variant/], [{ endpoint: 'ftp://x' }, /endpoint/], [{ endpoint: 'http://user:secret@x' }, /endpoint/], [{ token: 'two words' }, /token/], [{ cache: '' }, /cache/],
    [{ offline: 1 }, /offline/], [{ onProgress: 1 }, /onProgress/], [{ signal: {} }, /signal/], [{ revison: 'x' }, /did you mean "revision"/]] as const)
    await refused(t, pull(options as object), 'INVALID_ARGUMENT', says)
  const error = await t.throwsAsync(pull({ token: 'secret\nword' }), { instanceOf: AsdmError })
  t.false(error!.message.includes('secret'))
  t.deepEqual(hub.asked, [])
})

test('the package does what is declared of it', async t => {
  // Fails to compile where its functions take or give something else.
  const hub: HubPackage = await import('@huggingface/hub')
  t.is(typeof hub.listFiles, 'function')
  t.is(typeof hub.modelInfo, 'function')
})
