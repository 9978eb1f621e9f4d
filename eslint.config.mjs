// What the code looks like, and which mistakes are looked for: `npm run lint`. What can be mended by itself, `npm run format` mends.
import stylistic from '@stylistic/eslint-plugin'
import { defineConfig, globalIgnores } from 'eslint/config'
import tseslint from 'typescript-eslint'

const unused = ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_', destructuredArrayIgnorePattern: '^_', ignoreRestSiblings: true }]

export default defineConfig(
  globalIgnores(['build/', 'build-*/', '**/dist/', '**/node_modules/', 'packages/studio/src/api/openapi.d.ts']),
  {
    files: ['**/*.ts', '**/*.tsx', '**/*.mjs'],
    plugins: { '@stylistic': stylistic },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      ...stylistic.configs.customize({ semi: false, braceStyle: '1tbs', jsx: false }).rules,
      // What cannot be cut, as a regular expression or a page's markup, may be longer.
      '@stylistic/max-len': ['error', { code: 140, ignoreRegExpLiterals: true, ignoreStrings: true, ignoreTemplateLiterals: true }],
      '@stylistic/arrow-parens': ['error', 'as-needed'],
      '@stylistic/quotes': ['error', 'single', { avoidEscape: true }],
      '@stylistic/generator-star-spacing': ['error', {
        before: false, after: true, method: { before: true, after: false }, anonymous: { before: true, after: true },
      }],
      '@stylistic/yield-star-spacing': ['error', 'after'],
      '@stylistic/comma-dangle': ['error', {
        arrays: 'always-multiline', objects: 'always-multiline', imports: 'always-multiline', exports: 'always-multiline',
        functions: 'only-multiline',
      }],
      // Where several short statements, members or halves of a ternary share a line, they read like a table.
      '@stylistic/max-statements-per-line': 'off',
      '@stylistic/multiline-ternary': 'off',
      '@stylistic/member-delimiter-style': 'off',
      '@stylistic/no-mixed-operators': 'off',
      '@stylistic/quote-props': 'off',
    },
  },
  {
    files: ['lib/**/*.ts', 'packages/*/src/**/*.{ts,tsx}'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { project: ['tsconfig.json', 'packages/*/tsconfig.json'], tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-unused-vars': unused,
      // Messages show numbers, shapes and flags as they are.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true, allowArray: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      '@typescript-eslint/no-empty-function': ['error', { allow: ['arrowFunctions'] }],
      // Files, hubs and callers do not always give what types promise, and an index may lie outside: such checks stay.
      '@typescript-eslint/no-unnecessary-condition': 'off',
      // Plain objects of functions are typed with methods; those of classes are never taken off them.
      '@typescript-eslint/unbound-method': 'off',
      // It says that an index lies inside whatever callers and files say, as that of a loop over the same array does, at no cost in loops
      // over pixels and latents. Where it might not, `if`, `sizes`, a Map or `for … of` say so.
      '@typescript-eslint/no-non-null-assertion': 'off',
      // An accessor that subclasses override is no field.
      '@typescript-eslint/class-literal-property-style': 'off',
      // An environment variable that is empty counts as not set.
      '@typescript-eslint/prefer-nullish-coalescing': ['error', { ignorePrimitives: { string: true } }],
    },
  },
  {
    // Fastify takes plugins and hooks that are async, whether they wait for something or not.
    files: ['packages/*/src/**/*.ts'],
    rules: { '@typescript-eslint/require-await': 'off' },
  },
  {
    // What tests hand in is wrong on purpose, and what they read is looked at there and then.
    files: ['test/**/*.ts', 'bench/**/*.ts'],
    extends: [tseslint.configs.strict],
    rules: {
      '@typescript-eslint/no-unused-vars': unused,
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-explicit-any': 'off',
      '@typescript-eslint/no-dynamic-delete': 'off',
      '@typescript-eslint/no-extraneous-class': 'off',
      '@typescript-eslint/no-invalid-void-type': 'off',
      '@typescript-eslint/no-require-imports': 'off',
      '@typescript-eslint/no-unsafe-function-type': 'off',
    },
  },
  {
    // Scripts and examples are JavaScript: the sets that need no types.
    files: ['**/*.mjs', 'examples/**/*.js'],
    extends: [tseslint.configs.strict, tseslint.configs.stylistic],
    rules: {
      '@typescript-eslint/no-unused-vars': unused,
      // Electron's main process and preload scripts are CommonJS.
      '@typescript-eslint/no-require-imports': 'off',
    },
  },
)
