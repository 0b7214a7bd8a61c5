// Facts about a device that only /sys and /proc have. They go by the place on the bus, because /sys/class/net shows the
// interfaces of the namespace that it was mounted in.

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Interrupt, parseCpuList, parseInterruptNames } from '../../drivers/interrupts.ts'

export interface Device {
  readonly interrupts: readonly Interrupt[]
  /** Virtual functions (SR-IOV) that are made of the device. */
  readonly virtualFunctions: number
}

export const NO_DEVICE: Device = { interrupts: [], virtualFunctions: 0 }

const textOf = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '')

/** The processors that an interrupt reaches now; those that it may reach, on kernels without that file. */
async function reachOf(root: string, irq: number): Promise<number[]> {
  const now = await textOf(join(root, `proc/irq/${irq}/effective_affinity_list`))
  return parseCpuList(now.trim() === '' ? await textOf(join(root, `proc/irq/${irq}/smp_affinity_list`)) : now)
}

async function readInterrupts(root: string, path: string): Promise<Interrupt[]> {
  const numbers = (await readdir(join(path, 'msi_irqs')).catch(() => [])).map(Number).filter(Number.isInteger)
  if (numbers.length === 0) return []
  const names = parseInterruptNames(await textOf(join(root, 'proc/interrupts')))
  // A number without a name is not in use.
  const used = numbers.filter((irq) => names.has(irq)).sort((left, right) => left - right)
  return Promise.all(
    used.map(async (irq) => ({ irq, name: names.get(irq) as string, processors: await reachOf(root, irq) })),
  )
}

/**
 * Reads the device at a place on the PCI bus.
 *
 * @param root where /proc and /sys are
 */
export async function readDevice(bus: string | undefined, root = '/'): Promise<Device> {
  if (bus === undefined || bus.includes('/') || bus.startsWith('.')) return NO_DEVICE
  const path = join(root, 'sys/bus/pci/devices', bus)
  const functions = Number((await textOf(join(path, 'sriov_numvfs'))).trim())
  return {
    interrupts: await readInterrupts(root, path),
    virtualFunctions: Number.isInteger(functions) ? functions : 0,
  }
}

export interface Processors {
  /** Number of processors that the kernel may have (nr_cpu_ids). */
  readonly possible: number
  readonly online: readonly number[]
}

/** The processors of this host; 1 each, where the kernel does not say. */
export async function readProcessors(root = '/'): Promise<Processors> {
  const directory = join(root, 'sys/devices/system/cpu')
  const [possible, online] = await Promise.all([textOf(join(directory, 'possible')), textOf(join(directory, 'online'))])
  const running = parseCpuList(online)
  return {
    possible: Math.max(0, ...parseCpuList(possible)) + 1,
    online: running.length > 0 ? running : [0],
  }
}
