// Edits the hash of single IPv4 addresses: adds and removes entries, each in its line.

import { HOST_PROBES } from '../../abi/generated.ts'
import { type BucketLayout, Draft, findSlot, isMisfit, takeSlot } from '../lines/buckets.ts'
import { bucketOf, hashOf, type Multiplier, multiplierFrom } from '../lines/hash.ts'
import { clearBit, halves, LINE_WORDS, setBit } from '../lines/lines.ts'
import { sortCells } from '../ranges/cells.ts'
import { addressAt, classAt, encodeHosts, HOST_OVERFLOW, HOST_SLOTS, type Hosts, NO_HOSTS } from './hosts.ts'

const LAYOUT: BucketLayout = { slots: HOST_SLOTS, overflow: HOST_OVERFLOW, probes: HOST_PROBES }

/** Number of entries that a scan of the table passes in the time of one lookup. */
const SCANNED_A_LOOK = 8

export class HostTable {
  #hosts: Hosts
  #multiplier: Multiplier
  #words: Draft
  #filter: Draft
  #classes: Uint16Array
  #count: number
  /** Cells of the bitmap that may have become empty. */
  readonly #left = new Set<number>()

  constructor(hosts: Hosts) {
    this.#hosts = hosts
    this.#multiplier = multiplierFrom(hosts.multiplier)
    this.#words = new Draft(hosts.words)
    this.#filter = new Draft(hosts.filter)
    this.#classes = halves(hosts.words)
    this.#count = hosts.count
  }

  #bucket(address: number): number {
    return bucketOf(hashOf(0, address, this.#multiplier), this.#hosts.buckets)
  }

  #find(address: number): number {
    if (this.#hosts.buckets === 0) return -1
    const { words } = this.#words
    return findSlot(words, this.#bucket(address), LAYOUT, (line, slot) => {
      return words[addressAt(line, slot)] === address && this.#classes[classAt(line, slot)] !== 0
    })
  }

  /** Class of an address; 0 = absent. */
  get(address: number): number {
    const at = this.#find(address)
    return at < 0 ? 0 : (this.#classes[classAt(Math.floor(at / HOST_SLOTS), at % HOST_SLOTS)] as number)
  }

  /** Inserts an address, or changes its class. The class is not 0. */
  set(address: number, value: number): void {
    const found = this.#find(address)
    if (found < 0) {
      this.#insert(address, value)
      return
    }
    this.#put(found, address, value)
  }

  delete(address: number): void {
    const found = this.#find(address)
    if (found < 0) return
    this.#put(found, 0, 0)
    this.#count--
    this.#left.add(address >>> this.#hosts.filterShift)
  }

  #put(at: number, address: number, value: number): void {
    const words = this.#words.edit()
    this.#classes = halves(words)
    const line = Math.floor(at / HOST_SLOTS)
    words[addressAt(line, at % HOST_SLOTS)] = address
    this.#classes[classAt(line, at % HOST_SLOTS)] = value
  }

  #insert(address: number, value: number): void {
    this.#count++
    const isFree = (line: number, slot: number): boolean => this.#classes[classAt(line, slot)] === 0
    const isFull = isMisfit(this.#count, this.#hosts.buckets, HOST_SLOTS)
    const at = isFull ? -1 : takeSlot(this.#words.edit(), this.#bucket(address), LAYOUT, isFree)
    if (at < 0) {
      this.#rebuild(address, value)
      return
    }
    this.#put(at, address, value)
    setBit(this.#filter.edit(), address >>> this.#hosts.filterShift)
  }

  /** Calls `visit` with every address. */
  forEach(visit: (address: number, value: number) => void): void {
    const { words } = this.#words
    const lines = words.length / LINE_WORDS
    for (let line = 0; line < lines; line++) {
      for (let slot = 0; slot < HOST_SLOTS; slot++) {
        const value = this.#classes[classAt(line, slot)] as number
        if (value !== 0) visit(words[addressAt(line, slot)] as number, value)
      }
    }
  }

  /** Whether `looks` separate lookups are faster than a scan of the whole table. */
  isCheaper(looks: number): boolean {
    return looks * SCANNED_A_LOOK < this.#hosts.buckets * HOST_SLOTS
  }

  /** Rebuilds the table, with one more entry if given. */
  #rebuild(address?: number, value?: number): void {
    const keys = new Uint32Array(this.#count)
    const values = new Uint32Array(this.#count)
    let length = 0
    this.forEach((one, its) => {
      keys[length] = one
      values[length++] = its
    })
    if (address !== undefined && value !== undefined) {
      keys[length] = address
      values[length++] = value
    }
    this.#hosts = encodeHosts(sortCells({ width: 1, length, keys, values }))
    this.#multiplier = multiplierFrom(this.#hosts.multiplier)
    this.#words = new Draft(this.#hosts.words)
    this.#filter = new Draft(this.#hosts.filter)
    this.#classes = halves(this.#hosts.words)
    this.#left.clear()
  }

  /** Clears the bits of empty cells. */
  #clearCells(): void {
    const { filterShift: shift } = this.#hosts
    const size = 2 ** shift
    const filter = this.#filter.edit()
    if (!this.isCheaper(this.#left.size * size)) {
      for (const cell of this.#left) clearBit(filter, cell)
      this.forEach((address) => {
        setBit(filter, address >>> shift)
      })
      return
    }
    for (const cell of this.#left) {
      let address = cell * size
      const end = address + size
      while (address < end && this.#find(address) < 0) address++
      if (address === end) clearBit(filter, cell)
    }
  }

  /** The table after the edits. */
  finish(): Hosts {
    if (this.#count === 0) return NO_HOSTS
    if (isMisfit(this.#count, this.#hosts.buckets, HOST_SLOTS)) this.#rebuild()
    if (this.#left.size > 0) this.#clearCells()
    return { ...this.#hosts, count: this.#count, words: this.#words.words, filter: this.#filter.words }
  }
}
