// The directory in a bpffs with everything we own. Separate from paths.ts, so that completion does not load the codecs.

/** Default mount point of bpffs; --bpffs overrides it. */
export const BPFFS = '/sys/fs/bpf'

/** Holds one directory per instance. */
export const OWN_DIRECTORY = 'xdp-as-code'
