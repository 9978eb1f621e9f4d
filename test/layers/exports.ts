/** Which exports of `lib/` nobody imports, read from the sources themselves. */
import path from 'node:path'
import ts from 'typescript'

/** What a docstring says of an export that only tests import. */
export const forTests = 'Exported for tests and scripts.'

interface Export {
  file: string
  name: string
  doc: string
}

function namesOf(statement: ts.Statement): string[] {
  if (!ts.canHaveModifiers(statement) || !ts.getModifiers(statement)?.some(({ kind }) => kind === ts.SyntaxKind.ExportKeyword)) return []
  if (ts.isVariableStatement(statement)) return statement.declarationList.declarations.map(({ name }) => name.getText())
  const { name } = statement as ts.Statement & { name?: ts.Identifier }
  return name === undefined ? [] : [name.text]
}

/**
 * Exports that no other file imports and no entry gives on, a sentence each; and those that say they are for tests and scripts while
 * others import them. What a whole module gives on (`export *`, `import * as`) counts as used.
 * @param files paths from the root and their texts
 * @param entries files that nobody imports, whose own exports are for users
 */
export function idleExports(files: ReadonlyMap<string, string>, entries: readonly string[]): string[] {
  const exported: Export[] = []
  const used = new Set<string>()
  for (const [file, text] of files) {
    const source = ts.createSourceFile(file, text, ts.ScriptTarget.ES2022, true)
    const fileOf = (specifier: ts.Expression | undefined): string | undefined => {
      if (specifier === undefined || !ts.isStringLiteralLike(specifier)) return undefined
      const target = path.posix.join(path.posix.dirname(file), specifier.text)
      return [`${target}.ts`, `${target}/index.ts`].find(each => files.has(each))
    }
    const use = (from: string | undefined, name: string): void => { if (from !== undefined) used.add(`${from} ${name}`) }
    for (const statement of source.statements) {
      if (ts.isImportDeclaration(statement)) {
        const bindings = statement.importClause?.namedBindings
        if (bindings === undefined) continue
        const from = fileOf(statement.moduleSpecifier)
        if (ts.isNamespaceImport(bindings)) use(from, '*')
        else for (const { name, propertyName } of bindings.elements) use(from, (propertyName ?? name).text)
      } else if (ts.isExportDeclaration(statement)) {
        const from = fileOf(statement.moduleSpecifier)
        if (statement.exportClause === undefined || !ts.isNamedExports(statement.exportClause)) use(from, '*')
        else for (const { name, propertyName } of statement.exportClause.elements) {
          use(from, (propertyName ?? name).text)
          exported.push({ file, name: name.text, doc: '' })
        }
      } else {
        const doc = ts.getJSDocCommentsAndTags(statement).map(each => each.getText()).join(' ')
        for (const name of namesOf(statement)) exported.push({ file, name, doc })
      }
    }
  }
  return exported.filter(({ file }) => !entries.includes(file)).flatMap(({ file, name, doc }) => {
    const isUsed = used.has(`${file} ${name}`) || used.has(`${file} *`)
    if (!isUsed && !doc.includes(forTests))
      return [`${file} exports ${name}, which no other file of lib/ imports: keep it inside, or say "${forTests}" in its docstring`]
    return isUsed && doc.includes(forTests) ? [`${file} exports ${name} for tests and scripts, but others import it: take "${forTests}" out`] : []
  })
}
