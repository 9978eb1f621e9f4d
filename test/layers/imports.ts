/** Who imports whom, read from the sources themselves: every form of import in TypeScript, types included, and every include in C++. */
import fs from 'node:fs'
import path from 'node:path'
import ts from 'typescript'

/** One file reads another; paths from the root of the repository, with forward slashes. */
export interface Arrow {
  from: string
  to: string
}

/** The relative specifiers of a TypeScript file, in order: `import` and `export … from`, also of types, `import()`, `require()`. */
export function specifiers(text: string): string[] {
  const source = ts.createSourceFile('file.ts', text, ts.ScriptTarget.ES2022, true)
  const found: string[] = []
  const take = (node: ts.Node | undefined): void => {
    if (node !== undefined && ts.isStringLiteralLike(node) && node.text.startsWith('.')) found.push(node.text)
  }
  const walk = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) take(node.moduleSpecifier)
    else if (ts.isImportEqualsDeclaration(node) && ts.isExternalModuleReference(node.moduleReference)) take(node.moduleReference.expression)
    else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) take(node.argument.literal)
    else if (ts.isCallExpression(node) && (node.expression.kind === ts.SyntaxKind.ImportKeyword || node.expression.getText() === 'require'))
      take(node.arguments[0])
    ts.forEachChild(node, walk)
  }
  walk(source)
  return found
}

/** What a C++ file includes in quotes. */
export function includes(text: string): string[] {
  return [...text.matchAll(/^[ \t]*#[ \t]*include[ \t]+"([^"]+)"/gm)].map(([, file]) => file)
}

function filesUnder(root: string, folder: string, pattern: RegExp): string[] {
  return fs.readdirSync(path.join(root, folder), { recursive: true, encoding: 'utf8' }).map(file =>
    path.posix.join(folder, file.replaceAll('\\', '/'))).filter(file => pattern.test(file)).sort()
}

/** A language's files, and its arrows. An arrow that leads to no file keeps the path as it is written. */
export interface Sources {
  files: string[]
  arrows: Arrow[]
}

/** `lib/`, by TypeScript's own rules for relative paths. */
export function typescriptSources(root: string): Sources {
  const files = filesUnder(root, 'lib', /\.ts$/)
  const known = new Set(files)
  const arrows = files.flatMap(from => specifiers(fs.readFileSync(path.join(root, from), 'utf8')).map(specifier => {
    const target = path.posix.join(path.posix.dirname(from), specifier)
    return { from, to: [`${target}.ts`, `${target}/index.ts`, target.replace(/\.js$/, '.ts')].find(file => known.has(file)) ?? target }
  }))
  return { files, arrows }
}

/** `native/`, which is the one include folder; a path may also be from the file's own folder. */
export function nativeSources(root: string): Sources {
  const files = filesUnder(root, 'native', /\.(?:h|cpp|cu|cuh|def|mm)$/)
  const known = new Set(files)
  const arrows = files.flatMap(from => includes(fs.readFileSync(path.join(root, from), 'utf8')).map(file => {
    const places = [path.posix.join('native', file), path.posix.join(path.posix.dirname(from), file)]
    return { from, to: places.find(place => known.has(place)) ?? file }
  }))
  return { files, arrows }
}
