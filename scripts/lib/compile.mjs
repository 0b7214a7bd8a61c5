// C to BPF objects: finds the kernel headers of this machine, compiles, and strips the debug information.
import { existsSync, mkdirSync, renameSync } from 'node:fs'
import { dirname } from 'node:path'
import { at, root } from './paths.mjs'
import { attempt, run, ScriptError, which } from './run.mjs'
import { files, step } from './stamp.mjs'

// Debian and its derivatives keep <asm/…> in a directory per architecture, which `-target bpf` does not search.
const MULTIARCH = {
  arm: 'arm-linux-gnueabihf',
  arm64: 'aarch64-linux-gnu',
  ia32: 'i386-linux-gnu',
  loong64: 'loongarch64-linux-gnu',
  mips64el: 'mips64el-linux-gnuabi64',
  ppc64: 'powerpc64le-linux-gnu',
  riscv64: 'riscv64-linux-gnu',
  s390x: 's390x-linux-gnu',
  x64: 'x86_64-linux-gnu',
}

/** Include directories besides clang's defaults, so that <asm/types.h> is found. Throws ScriptError without headers. */
function systemIncludes() {
  const candidates = [MULTIARCH[process.arch]].filter(Boolean).map((name) => `/usr/include/${name}`)
  for (const directory of candidates) if (existsSync(`${directory}/asm/types.h`)) return [directory]
  if (existsSync('/usr/include/asm/types.h')) return []
  throw new ScriptError('the kernel headers are missing: install linux-libc-dev (Debian) or kernel-headers (Fedora)')
}

/**
 * Flags for every object. Paths in BTF line information are made relative, so that objects are reproducible. The third
 * version of the instruction set has atomic operations that return the old value, and every kernel since 5.12 supports
 * it. Headers are read and written as words of several sizes, which requires a compiler without type-based aliasing.
 */
function flags() {
  return [
    ...[
      '-target',
      'bpf',
      '-mcpu=v3',
      '-fno-strict-aliasing',
      '-O2',
      '-g',
      '-Wall',
      '-Werror',
      `-ffile-prefix-map=${root}/=`,
      '-fdebug-compilation-dir=.',
    ],
    ...['-I', 'bpf/include', ...systemIncludes().flatMap((directory) => ['-idirafter', directory])],
  ]
}

let checked
/** Once per process: checks that there is a clang, and a recent one (14 is the first whose BTF has all we use). */
function checkClang() {
  checked ??= (async () => {
    const { status, stdout } = await attempt('clang', ['--version'])
    if (status !== 0) throw new ScriptError('clang is missing: run `npm run setup`, or install clang and llvm')
    const version = Number(/version (\d+)/.exec(stdout)?.[1])
    if (version < 14) throw new ScriptError(`clang ${version} is too old: 14 or newer is needed`)
    return version
  })()
  return checked
}

/** llvm-strip, also under the versioned name of distributions that have no unversioned package. */
function stripper(version) {
  const found = which('llvm-strip') ?? which(`llvm-strip-${version}`)
  if (!found) throw new ScriptError('llvm-strip is missing: run `npm run setup`, or install llvm')
  return found
}

/** Compiles one C file (path in the repository) to a BPF object unless that is up to date. Returns whether it ran. */
export function compile(source, target) {
  const args = flags()
  // Sources include each other.
  const inputs = files(at('bpf/include'), at(dirname(source))).filter((path) => /\.[ch]$/.test(path))
  return step(target.replaceAll('/', '_'), { inputs, outputs: [at(target)], settings: args }, async () => {
    const version = await checkClang()
    const partial = at(`${target}.${process.pid}.part`)
    mkdirSync(dirname(partial), { recursive: true })
    await run('clang', [...args, '-c', source, '-o', partial])
    // DWARF is ten times as large as the rest; BTF, which the loader and `bpftool` read, stays.
    await run(stripper(version), ['-g', partial])
    renameSync(partial, at(target))
  })
}
