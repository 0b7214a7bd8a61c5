// Runs in the Node of the executable: compiles each module in a directory, and writes V8's code of all its
// functions beside it. Another version, or other flags of V8, would not accept the code.
const { readdirSync, readFileSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { setFlagsFromString } = require('node:v8')
const vm = require('node:vm')

const directory = process.argv[2]
const names = readdirSync(directory).filter((name) => name.endsWith('.js'))

// Functions that run are compiled first of all, so that a start would compile most of them.
setFlagsFromString('--no-lazy')
const scripts = names.map((name) => new vm.Script(readFileSync(join(directory, name), 'latin1'), { filename: name }))
setFlagsFromString('--lazy')
for (const [i, script] of scripts.entries())
  writeFileSync(join(directory, `${names[i]}.code`), script.createCachedData())
