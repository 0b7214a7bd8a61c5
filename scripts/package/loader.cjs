// The main script of the executable: loads the bundle's modules from its assets, with V8's code of them, and runs xdp.
const sea = require('node:sea')
const vm = require('node:vm')

const bytes = (name) => Buffer.from(sea.getRawAsset(name))

const loaded = new Map()

/** Loads a built-in module or, once, a module of the bundle. */
function load(specifier) {
  if (!specifier.startsWith('./')) return require(specifier)
  const name = specifier.slice(2)
  const known = loaded.get(name)
  if (known !== undefined) return known.exports
  const module = { exports: {} }
  loaded.set(name, module)
  // V8 compiles the text if it does not accept the code.
  const script = new vm.Script(bytes(name).latin1Slice(), { filename: name, cachedData: bytes(`${name}.code`) })
  script.runInThisContext()(module.exports, load, module, `/xdp/${name}`)
  return module.exports
}

// src/shipped.ts reads this.
globalThis.xdpShipped = (path) => {
  try {
    return new Uint8Array(sea.getAsset(path))
  } catch {
    return undefined
  }
}

load(process.argv[2] === '__checker' ? './checker.js' : './cli.js')
