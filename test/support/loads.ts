// The loaded programs of a data plane, and their maps. The verifier takes nearly all of the time of a load, so programs are kept:
// another policy with the same parts, and with maps of the same sizes, gets the same programs, and only contents change.

import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { bpftool, type Command } from '../../src/abi/command.ts'
import { INTERFACE_SLOTS, LINE_SIZE } from '../../src/abi/generated.ts'
import type { ProgramParts } from '../../src/abi/object.ts'
import { type MapShape, mapWords, policyMap } from '../../src/abi/paths.ts'
import { balancerMaps } from '../../src/features/balancer.ts'
import { banMaps } from '../../src/features/bans.ts'
import { SHARED_MAPS } from '../../src/features/features.ts'
import { rateMaps } from '../../src/features/rates.ts'
import { runBatch, runBpftool } from '../../src/kernel/tools/bpftool.ts'
import { loadObject, withObjects } from '../../src/kernel/tools/object.ts'
import { bansOf, imageFrom } from '../../src/tables/layout/layout.ts'
import { compiled } from './programs.ts'

/** Sets of programs that are kept. */
const KEPT = 16

interface Loaded {
  readonly number: number
  /** Names of the pins of its maps beside the shared ones and the policy, by the names in the objects. */
  readonly maps: ReadonlyMap<string, string>
}

/** Maps of a generation, with the size that each has for this image. */
function ownMaps(image: Uint8Array): MapShape[] {
  const content = imageFrom(image)
  return [balancerMaps(content), rateMaps(content), banMaps(bansOf(content.settings))].flatMap((shapes) =>
    Object.values(shapes),
  )
}

const keyOf = (parts: ProgramParts, image: Uint8Array, maps: Loaded['maps']): string => {
  const used = [...parts].flatMap(([name, has]) => (has ? [name] : []))
  return [...used.sort(), image.length, ...maps.values()].join()
}

export class Loads {
  readonly #bpffs: string
  #made = 0
  /** By their keys; the one that was used last is the last one. */
  readonly #loaded = new Map<string, Loaded>()
  #current: Loaded | undefined
  /** Whether the next policy begins without contents. */
  #isForgotten = false

  constructor(bpffs: string) {
    this.#bpffs = bpffs
  }

  /** Creates the shared maps. */
  async open(): Promise<void> {
    await runBatch(SHARED_MAPS.map((shape) => this.#create(shape, shape.name)))
  }

  /** Makes the next load begin with empty maps. */
  forget(): void {
    this.#isForgotten = true
  }

  /**
   * Has programs with these parts and with maps for this image, whose content the caller writes. Shared maps, and those that have
   * the size of the ones before, keep their contents. Returns the names of the maps that are new or empty.
   */
  async use(image: Uint8Array, parts: ProgramParts): Promise<ReadonlySet<string>> {
    const before = this.#current
    const shapes = ownMaps(image)
    const maps = new Map(shapes.map(({ name, entries }) => [name, `${name}-${entries}`]))
    const key = keyOf(parts, image, maps)
    const loaded = this.#loaded.get(key) ?? (await this.#load(image, parts, shapes, maps))
    this.#loaded.delete(key)
    this.#loaded.set(key, loaded)
    this.#current = loaded
    const isKept = (name: string): boolean => !this.#isForgotten && before?.maps.get(name) === maps.get(name)
    const shared = SHARED_MAPS.map(({ name }) => name)
    const kept = [
      ...(this.#isForgotten ? [] : shared),
      ...[...maps].flatMap(([name, pin]) => (isKept(name) ? [pin] : [])),
    ]
    const directory = `programs-${loaded.number}`
    const programs = readdirSync(this.pin(directory)).map((name) => `${directory}/${name}`)
    this.#empty(kept, [...shared, ...maps.values(), ...programs])
    const fresh = new Set([...maps.keys()].filter((name) => !isKept(name)))
    this.#isForgotten = false
    this.#evict()
    return fresh
  }

  /** Pin of a program, by the name of its function. */
  program(name: string): string {
    return this.pin(`programs-${this.#number}/${name}`)
  }

  /** Pin of the policy map. */
  policy(): string {
    return this.pin(`policy-${this.#number}`)
  }

  /** Pin of the programs behind the filter. */
  chain(): string {
    return this.pin(`chain-${this.#number}`)
  }

  /** Pin of a map, by its name in the objects. */
  map(name: string): string {
    return this.pin(this.#current?.maps.get(name) ?? name)
  }

  pin(name: string): string {
    return join(this.#bpffs, name)
  }

  get #number(): number {
    if (this.#current === undefined) throw new Error('no policy is loaded')
    return this.#current.number
  }

  #create(shape: MapShape, pin: string): Command {
    return bpftool('map', 'create', this.pin(pin), ...mapWords(shape))
  }

  async #load(
    image: Uint8Array,
    parts: ProgramParts,
    shapes: readonly MapShape[],
    maps: Loaded['maps'],
  ): Promise<Loaded> {
    const number = ++this.#made
    const pins = shapes.map((shape) => [shape, maps.get(shape.name) as string] as const)
    await runBatch([
      this.#create(policyMap(image.length / LINE_SIZE), `policy-${number}`),
      ...pins.filter(([, pin]) => !existsSync(this.pin(pin))).map(([shape, pin]) => this.#create(shape, pin)),
    ])
    const isChained = parts.get('chain') === true
    const chain = ['type', 'prog_array', 'key', '4', 'value', '4', 'entries', `${INTERFACE_SLOTS}`, 'name', 'chain']
    if (isChained) await runBpftool('map', 'create', this.pin(`chain-${number}`), ...chain)
    const given = [
      ...SHARED_MAPS.map(({ name }) => [name, name] as const),
      ...maps,
      ['policy', `policy-${number}`] as const,
    ]
    const load = (object: string, i: number): Promise<void> =>
      runBpftool(
        ...['prog', 'loadall', object, this.pin(`programs-${number}`)],
        // Only the object of the filter has that map.
        ...[...given, ...(i === 0 && isChained ? [['chain', `chain-${number}`] as const] : [])].flatMap(
          ([name, pinned]) => ['map', 'name', name, 'pinned', this.pin(pinned)],
        ),
      )
    await withObjects(await loadObject(), parts, (objects) => Promise.all(objects.map(load)))
    return { number, maps }
  }

  /** Empties maps: those behind pins, or all of the programs behind them, but for those behind the pins of `kept`. */
  #empty(kept: readonly string[], pins: readonly string[]): void {
    const paths = (names: readonly string[]): string[] => names.map((name) => this.pin(name))
    execFileSync(compiled('empty.c'), [...paths(kept), '--', ...paths(pins)])
  }

  #evict(): void {
    for (const [key, { number, maps }] of this.#loaded) {
      if (this.#loaded.size <= KEPT) return
      this.#loaded.delete(key)
      for (const pin of [`programs-${number}`, `policy-${number}`, `chain-${number}`]) {
        rmSync(this.pin(pin), { recursive: true, force: true })
      }
      const used = new Set([...this.#loaded.values()].flatMap((other) => [...other.maps.values()]))
      for (const pin of maps.values()) if (!used.has(pin)) rmSync(this.pin(pin), { force: true })
    }
  }
}
