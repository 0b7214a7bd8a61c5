import { execFileSync } from 'node:child_process'
import { writeFileSync, mkdtempSync } from 'node:fs'
import { afterAll, beforeAll, test } from 'vitest'
import { batchInputFor, explanationsOf } from '../../src/abi/batch.ts'
import { ANYWHERE } from '../../src/abi/packet.ts'
import { explainMany } from '../../src/kernel/live/answers.ts'
import { DataPlane } from '../support/bpf.ts'
import { ANY, list, scoped, state } from '../support/states.ts'
let plane: DataPlane
beforeAll(async () => { plane = await DataPlane.open() })
afterAll(() => plane.close())
test('figure', async () => {
  const one = state({ policy: 'pass', interfaces: {}, lists: [list('blocklist', 'blocklist', scoped(ANY, ...Array.from({ length: 10000 }, (_, i) => `10.${i >> 8}.${i & 255}.7`)))] })
  await plane.loadState(one)
  const packets = Array.from({ length: 10000 }, (_, i) => ({ packet: { source: { family: 4 as const, words: Uint32Array.of(0x0a000000 + i * 7) }, protocol: 6, sourcePort: 1024 + i, destinationPort: 443, isWithin: true }, arrival: ANYWHERE }))
  const dir = mkdtempSync('/dev/shm/alive-')
  for (let r = 0; r < 4; r++) {
    let t = performance.now()
    const inputs = Array.from({ length: 16 }, (_, i) => batchInputFor(packets.slice(i * 640, i * 640 + 640)))
    const encode = performance.now() - t
    t = performance.now()
    inputs.forEach((one, i) => { writeFileSync(`${dir}/i${i}`, one.data); writeFileSync(`${dir}/i${i}.ctx`, one.context) })
    const write = performance.now() - t
    t = performance.now()
    const out = execFileSync('bpftool', ['-j', 'batch', 'file', '-'], { input: inputs.map((_, i) => `prog run pinned ${plane.program('explain')} data_in ${dir}/i${i} ctx_in ${dir}/i${i}.ctx data_out ${dir}/o${i} data_size_out 65536 repeat ${i < 15 ? 640 : 400}\n`).join('') })
    const run = performance.now() - t
    t = performance.now()
    await explainMany(plane.program('explain'), packets)
    console.log('F encode', encode.toFixed(), 'write', write.toFixed(), 'bpftool', run.toFixed(), 'whole', (performance.now() - t).toFixed(), String(out).slice(0, 400).match(/duration":\d+/g))
  }
  execFileSync('rm', ['-r', dir])
})
