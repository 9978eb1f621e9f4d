import { useSignal } from '@preact/signals'
import { useEffect, useMemo } from 'preact/hooks'
import { api } from '../api/client'
import type { Recipes } from '../api/types'
import { attempt, say } from '../state/messages'
import { details, listModels, modelName, modelProblem, models } from '../state/models'
import { change } from '../state/request'
import { go } from '../state/view'
import { rowsOf, shownRows, type Row } from '../plan/tree'
import { Button, FileButton, SelectField } from '../ui/controls'
import { download } from '../ui/files'
import { count, percent } from '../ui/format'
import { Icon } from '../ui/icons'
import { checkpointFor, lineOf, plainRecipe, recipe, remaining, sources, withLine, type Line, type RecipeJson } from './edited'

/** A recipe: the blocks of a UNet with what they hold and cost, what is dropped, taken from elsewhere, or given several kernels. */
export function RecipePage() {
  const list = useSignal<Recipes>({ recipes: [], assemble: false })
  const open = useSignal<ReadonlySet<string>>(new Set())
  useEffect(() => void attempt(async () => { list.value = await api.recipes() }), [])
  const model = details.value
  const rows = useMemo(() => (model === undefined ? [] : rowsOf(model, true)), [model])
  const now = recipe.value
  const toggle = (prefix: string): void => {
    const next = new Set(open.value)
    if (!next.delete(prefix)) next.add(prefix)
    open.value = next
  }
  return (
    <div class="planpage">
      <RecipePanel list={list.value} />
      <section class="page">
        <header class="bar"><h1>Recipe</h1><span class="hint">{now.name ?? 'of your own'}</span></header>
        {modelProblem.value !== undefined && <p class="problem" role="alert">{modelProblem.value}</p>}
        <RecipeFigures />
        {model === undefined
          ? <div class="plangrid shimmer" aria-busy="true" />
          : (
              <div class="tablebox">
                <table class="units">
                  <thead><tr><th>Block</th><th class="number">Parameters</th><th class="number part">MACs</th><th class="share part">Share of a pass</th><th>What becomes of it</th></tr></thead>
                  <tbody>
                    {shownRows(rows, open.value).map(row => (
                      <UnitRow key={row.prefix} row={row} whole={rows.reduce((sum, { macs }) => sum + macs, 0)}
                        open={open.value.has(row.prefix)} onToggle={() => toggle(row.prefix)} />
                    ))}
                  </tbody>
                </table>
              </div>
            )}
        <details class="json"><summary>As JSON</summary><pre tabIndex={0}>{JSON.stringify(now, undefined, 2)}</pre></details>
      </section>
    </div>
  )
}

function UnitRow({ row, whole, open, onToggle }: { row: Row, whole: number, open: boolean, onToggle: () => void }) {
  const found = lineOf(recipe.value, row.prefix)
  const dropped = found !== undefined && 'drop' in found.line
  const set = (line: Line | undefined): void => { recipe.value = withLine(recipe.value, row.prefix, line) }
  const choose = (value: string): void => {
    if (value === 'keep') set(undefined)
    else if (value === 'drop') set({ drop: true })
    else {
      const { kind, model } = choiceOf(value)
      const { recipe: next, name } = checkpointFor(recipe.value, model, modelName.value)
      recipe.value = withLine(next, row.prefix, kind === 'take' ? { checkpoint: name } : expertsWith(next, name))
    }
  }
  const from = found !== undefined && 'checkpoint' in found.line ? found.line.checkpoint as string : undefined
  const value = found === undefined ? 'keep' : dropped ? 'drop' : from === undefined ? 'other' : `take:${sources.value[from] ?? modelName.value ?? from}`
  const isConvolution = /\.conv\w*$/.test(row.prefix)
  const taken = from === undefined ? [] : [sources.value[from] ?? modelName.value ?? from]
  const others = [...new Set([...(models.value ?? []).map(({ name }) => name), ...taken])]
  return (
    <tr class={`depth${row.depth}${dropped ? ' dropped' : found === undefined ? '' : ' taken'}`}>
      <th scope="row">
        {row.children.length > 0
          ? <button type="button" class={open ? 'fold open' : 'fold'} aria-expanded={open} aria-label={`Parts of ${row.prefix}`} onClick={onToggle}><Icon name="chevron" /></button>
          : <span class="fold" />}
        <span title={row.prefix}>{row.label}</span>
      </th>
      <td class="number">{count(row.parameters)}</td>
      <td class="number part">{count(row.macs)}</td>
      <td class="share part"><span class="weight" aria-hidden="true"><i style={{ width: `${100 * row.macs / whole}%` }} /></span>{percent(row.macs / whole)}</td>
      <td>
        <select aria-label={`What becomes of ${row.prefix}`} value={value} disabled={found !== undefined && !found.own}
          onChange={event => choose(event.currentTarget.value)}>
          <option value="keep">keep</option>
          <option value="drop">drop</option>
          {value === 'other' && <option value="other">{wordsFor(found!.line)}</option>}
          {others.map(name => <option key={name} value={`take:${name}`}>take from {name}</option>)}
          {isConvolution && others.map(name => <option key={name} value={`experts:${name}`}>2 experts, with {name}</option>)}
        </select>
      </td>
    </tr>
  )
}

/** What a choice of the list stands for. */
function choiceOf(value: string): { kind: 'take' | 'experts', model: string } {
  const colon = value.indexOf(':')
  return { kind: value.slice(0, colon) as 'take' | 'experts', model: value.slice(colon + 1) }
}

/** The own kernel and that of another checkpoint; of the same one a slightly different copy, which training can pull apart. */
function expertsWith({ target: { from } }: RecipeJson, name: string): Line {
  return { experts: [{ checkpoint: from }, name === from ? { checkpoint: from, noise: 0.1 } : { checkpoint: name }] }
}

/** A line that files have and the page does not make. */
function wordsFor(line: Line): string {
  if ('experts' in line) return `${(line.experts as unknown[]).length} experts`
  return 'average' in line ? 'average' : 'as the file says'
}

function RecipeFigures() {
  const model = details.value
  if (model === undefined) return <div class="figures" />
  const left = remaining(recipe.value, model)
  const all = remaining(plainRecipe(), model)
  const shrinks = recipe.value.target.layersPerBlock !== undefined || recipe.value.target.stages !== undefined
  return (
    <dl class="figures" aria-label="What is left">
      <div class="big"><dt>Parameters of the UNet</dt><dd>{count(left.parameters)}</dd></div>
      <div><dt>Of the whole</dt><dd>{percent(left.parameters / all.parameters)}{shrinks && <small> before fewer layers</small>}</dd></div>
      <div><dt>Multiply-accumulates</dt><dd>{count(left.macs)} <small>{percent(left.macs / all.macs)}</small></dd></div>
      <div><dt>Lines</dt><dd>{Object.keys(recipe.value.units).length}</dd></div>
    </dl>
  )
}

function RecipePanel({ list }: { list: Recipes }) {
  const busy = useSignal(false), name = useSignal('')
  const now = recipe.value
  const take = (next: RecipeJson): void => {
    recipe.value = next
    const first = modelName.value
    sources.value = Object.fromEntries(Object.keys(next.checkpoints).map(key => [key, sources.value[key] ?? first ?? '']))
  }
  const placed = (key: string): string => sources.value[key] ?? modelName.value ?? ''
  const assemble = async (): Promise<void> => {
    busy.value = true
    await attempt(async () => {
      const checkpoints = Object.fromEntries(Object.keys(recipe.value.checkpoints).map(key => [key, placed(key)]))
      const made = await api.assemble({ recipe: recipe.value, checkpoints, name: name.value })
      await listModels()
      change({ model: made.name })
      say(`${made.name} is assembled, and chosen.`)
      recipe.value = plainRecipe()
      name.value = ''
      go('create')
    })
    busy.value = false
  }
  return (
    <aside class="panel" aria-label="Recipe">
      <SelectField label="Begin with" value={now.name ?? ''} options={[{ value: '', label: 'Nothing changed' }, ...list.recipes.map(each => ({ value: String(each.name), label: String(each.name) }))]}
        onChange={chosen => take(chosen === '' ? plainRecipe() : structuredClone(list.recipes.find(each => each.name === chosen)) as unknown as RecipeJson)} />
      {now.description !== undefined && <p class="note">{now.description}</p>}
      {Object.keys(now.checkpoints).map(key => (
        <SelectField key={key} label={`Checkpoint ${key}`} value={placed(key)} options={(models.value ?? []).map(model => ({ value: model.name, label: model.name }))}
          onChange={model => {
            sources.value = { ...sources.value, [key]: model }
            if (key === now.target.from) change({ model })
          }} />
      ))}
      <Shape target={now.target} />
      <div class="tools">
        <FileButton label="Open" accept=".json,application/json" onFile={file => void attempt(async () => take(await readRecipe(file)))} />
        <Button icon="download" onClick={() => download(`${now.name ?? 'recipe'}.json`, `${JSON.stringify(now, undefined, 2)}\n`)}>Save</Button>
      </div>
      <div class="assemble">
        <label for="made">Name of the new model</label>
        <input id="made" type="text" value={name.value} placeholder="smaller" onInput={event => { name.value = event.currentTarget.value.replace(/[^\w.-]/g, '') }} />
        <Button kind="primary" icon="recipe" disabled={busy.value || name.value === '' || !list.assemble} onClick={() => void assemble()}>
          {busy.value ? 'Assembling…' : 'Assemble'}
        </Button>
        {!list.assemble && <p class="note">This server assembles nothing: it takes <code>--models FOLDER</code>, and <code>--assemble</code> where others reach it. Save the recipe and use <code>asdm assemble</code>.</p>}
      </div>
    </aside>
  )
}

/** What a recipe's target says besides lines. */
function Shape({ target }: { target: RecipeJson['target'] }) {
  const said = [
    target.layersPerBlock === undefined ? undefined : `${target.layersPerBlock} ResNet${target.layersPerBlock === 1 ? '' : 's'} in a down block`,
    target.stages === undefined ? undefined : `${target.stages} stages`, target.midBlock === false ? 'no mid block' : undefined,
  ].filter(each => each !== undefined)
  return said.length === 0 ? null : <p class="note">The target has {said.join(', ')}.</p>
}

async function readRecipe(file: File): Promise<RecipeJson> {
  const text = await file.text()
  try {
    const { $schema: _schema, ...value } = JSON.parse(text) as RecipeJson & { $schema?: string }
    if (value.version !== 1 || typeof value.checkpoints !== 'object' || typeof value.units !== 'object') throw new Error()
    return value
  } catch {
    throw new Error(`Expected ${file.name} to hold a recipe as JSON.`)
  }
}
