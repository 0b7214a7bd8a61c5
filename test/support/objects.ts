// BPF objects compiled by tests: programs that are not ours.

import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

/** Compiles a BPF program, given as the body behind the includes, in the test's directory; returns its path. */
export function buildObject(directory: string, name: string, body: string): string {
  mkdirSync(directory, { recursive: true })
  const source = join(directory, `${name}.bpf.c`)
  const object = join(directory, `${name}.bpf.o`)
  writeFileSync(
    source,
    `#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n${body}\nchar LICENSE[] SEC("license") = "GPL";\n`,
  )
  const multiarch =
    execFileSync('clang', ['-print-multiarch'], { encoding: 'utf8' }).trim() ||
    `${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`
  execFileSync('clang', ['-O2', '-g', '-target', 'bpf', `-I/usr/include/${multiarch}`, '-c', source, '-o', object])
  return object
}
