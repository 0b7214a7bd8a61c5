// The kernel's list of the interfaces of a network namespace. /sys/class/net would show the namespace that sysfs was mounted in.

/** A file with this list for the namespace of the process. */
export const DEVICES = '/proc/self/net/dev'

/** The names of interfaces in the text of DEVICES. */
export const deviceNames = (text: string): readonly string[] =>
  text.split('\n').flatMap((line) => /^ *([^ |:]+):/.exec(line)?.[1] ?? [])
