import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import test from 'ava'
import { AsdmError } from '../../lib/base/errors'
import { readSettings, readToken } from '../../lib/hub/environment'
import { isRepositoryName } from '../../lib/hub/names'
import { temporaryFolder } from '../support/temporary'

const home = os.homedir()
const hub = (...parts: string[]): string => path.join(home, '.cache', 'huggingface', ...parts)

test('where the cache is', t => {
  const cases: [Record<string, string>, string][] = [
    [{}, hub('hub')],
    [{ XDG_CACHE_HOME: '/xdg' }, path.resolve('/xdg/huggingface/hub')],
    [{ HF_HOME: '/hf', XDG_CACHE_HOME: '/xdg' }, path.resolve('/hf/hub')],
    [{ HF_HOME: '~/models' }, path.join(home, 'models', 'hub')],
    [{ HF_HUB_CACHE: '/c', HF_HOME: '/hf' }, path.resolve('/c')],
    [{ HUGGINGFACE_HUB_CACHE: '/old', HF_HOME: '/hf' }, path.resolve('/old')],
    [{ HF_HUB_CACHE: '/c', HUGGINGFACE_HUB_CACHE: '/old' }, path.resolve('/c')],
    [{ HF_HUB_CACHE: 'relative' }, path.resolve('relative')],
    [{ HF_HUB_CACHE: '', HF_HOME: '' }, hub('hub')],
  ]
  for (const [env, expected] of cases) t.is(readSettings(env).cache, expected, JSON.stringify(env))
})

test('where the hub is', t => {
  t.is(readSettings({}).endpoint, 'https://huggingface.co')
  t.is(readSettings({ HF_ENDPOINT: 'http://mirror.test:8080/hub/' }).endpoint, 'http://mirror.test:8080/hub')
  for (const HF_ENDPOINT of ['mirror.test', 'ftp://mirror.test', 'http://u:p@mirror.test', 'http://mirror.test/?x', 'http://'])
    t.is(t.throws(() => readSettings({ HF_ENDPOINT }), { instanceOf: AsdmError })?.code, 'INVALID_ARGUMENT', HF_ENDPOINT)
})

test('offline mode and patience', t => {
  for (const value of ['1', 'ON', 'yes', 'True'])
    for (const name of ['HF_HUB_OFFLINE', 'TRANSFORMERS_OFFLINE']) t.true(readSettings({ [name]: value }).offline)
  for (const value of ['', '0', 'no', 'false', 'off']) t.false(readSettings({ HF_HUB_OFFLINE: value }).offline)
  t.is(readSettings({}).timeoutMs, 30_000)
  t.is(readSettings({ HF_HUB_DOWNLOAD_TIMEOUT: '2.5' }).timeoutMs, 2500)
  for (const value of ['0', '-1', 'x', 'Infinity', '1e9']) t.is(readSettings({ HF_HUB_DOWNLOAD_TIMEOUT: value }).timeoutMs, 30_000)
})

test('whose token', async t => {
  const folder = temporaryFolder(t)
  t.is(await readToken({ HF_HOME: folder }), undefined)
  fs.writeFileSync(path.join(folder, 'token'), ' hf_stored\n')
  fs.writeFileSync(path.join(folder, 'other'), 'hf_other')
  t.is(await readToken({ HF_HOME: folder }), 'hf_stored')
  t.is(await readToken({ HF_HOME: folder, HF_TOKEN_PATH: path.join(folder, 'other') }), 'hf_other')
  t.is(await readToken({ HF_HOME: folder, HF_TOKEN: 'hf_given' }), 'hf_given')
  t.is(await readToken({ HF_HOME: folder, HUGGING_FACE_HUB_TOKEN: 'hf_old' }), 'hf_old')
  t.is(await readToken({ HF_HOME: folder, HF_TOKEN: '' }), 'hf_stored')
  t.is(await readToken({ HF_HOME: folder, HF_TOKEN: 'hf_given', HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }), undefined)
  fs.writeFileSync(path.join(folder, 'token'), ' \n')
  t.is(await readToken({ HF_HOME: folder }), undefined)
  for (const HF_TOKEN of ['two words', 'line\nbreak', 'ü', 'x'.repeat(2000)]) {
    const error = await t.throwsAsync(readToken({ HF_TOKEN }), { instanceOf: AsdmError })
    t.is(error?.code, 'INVALID_ARGUMENT')
    t.false(error!.message.includes(HF_TOKEN))
  }
})

test('what may be the name of a repository', t => {
  for (const name of [
    'runwayml/stable-diffusion-v1-5', 'a/b', '_x/y_1', 'SG161222/Realistic_Vision_V5.1_noVAE', 'segmind/tiny-sd', 'models/emoji',
  ]) t.true(isRepositoryName(name), name)
  for (const name of ['emoji', './a/b', 'a/b/c', 'a\\b', 'a/b ', 'C:/b', '/a/b', 'a/', '~/b', 'a/b/', 'a/..', '../a', 'a/.b', 'a/b.'])
    t.false(isRepositoryName(name), name)
})
