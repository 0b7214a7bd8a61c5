// The directory in a bpffs that everything we own lies in. Apart from paths.ts, so that completion can name it without
// loading the codecs.

/** Where bpffs is mounted unless --bpffs names another place. */
export const BPFFS = '/sys/fs/bpf'

/** Its directories are the instances. */
export const OWN_DIRECTORY = 'xdp-as-code'
