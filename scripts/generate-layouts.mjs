// generate-layouts.mjs TARGET: a C file with every struct, enum and numeric macro of bpf/include/abi*.h, whose BTF
// generate-abi.mjs reads. The file is compiled and never loaded.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { at } from './lib/paths.mjs'

const [target] = process.argv.slice(2)
const headers = readdirSync(at('bpf/include')).filter((name) => /^abi(?:_\w+)?\.h$/.test(name))
const texts = headers.map((name) => readFileSync(at('bpf/include', name), 'utf8'))

const declarations = texts.flatMap((text) =>
  [...text.matchAll(/^(struct|enum) (\w+) \{/gm)].map(([, kind, name]) => `${kind} ${name} abi_${name};\n`),
)
const macros = texts.flatMap((text) =>
  [...text.matchAll(/^#define ([A-Z]\w*)\s/gm)].map(([, name]) => `\tCONST_${name} = ${name},\n`),
)

mkdirSync(dirname(target), { recursive: true })
writeFileSync(
  target,
  `${headers.map((name) => `#include "${name}"\n`).join('')}
${declarations.join('')}
/* BTF has no macros; an enum carries their values. */
enum abi_constant {
${macros.join('')}};
enum abi_constant abi_constant;
`,
)
