// The kernels of the matrix, and the features that its guests test, as docs/compatibility.md has them.

/** Kernels of the matrix in their order. `arm64` is the kernel of the floor for another architecture. */
export const KERNELS = [
  { name: '5.10', series: '5.10', architecture: 'amd64' },
  { name: '5.15', series: '5.15', architecture: 'amd64' },
  { name: '6.1', series: '6.1', architecture: 'amd64' },
  { name: '6.6', series: '6.6', architecture: 'amd64' },
  { name: '6.8', series: '6.8', architecture: 'amd64' },
  { name: '6.12', series: '6.12', architecture: 'amd64' },
  { name: 'newest', series: 'newest', architecture: 'amd64' },
  { name: 'arm64', series: '6.1', architecture: 'arm64' },
]

export const FLOOR = '6.1'

/**
 * How much of the tests runs on a kernel: `whole`; `links`: the programs and links, with one forwarding mode in turn;
 * `sample`: two policies, one of them with every part of the programs; `command`: the executable alone.
 */
export const SCOPES = ['whole', 'links', 'sample', 'command']

/** The run of every change has the floor, and one of these in turns. */
export const TURNS = [
  { name: '6.1', scope: 'command' },
  { name: '6.12', scope: 'sample' },
  { name: 'newest', scope: 'sample' },
  { name: '5.10', scope: 'sample' },
]

/** A kernel by its name in the matrix; other series are those of x86-64. */
export const kernelNamed = (name) =>
  KERNELS.find((kernel) => kernel.name === name) ?? { name, series: name, architecture: 'amd64' }

/** Whether the tests expect that this kernel is refused. */
export const isBelowFloor = (series) => {
  const [major, minor] = series.split('.').map(Number)
  const [oldest, least] = FLOOR.split('.').map(Number)
  return major < oldest || (major === oldest && minor < least)
}

/** Features in the order of the table, with their names in it. */
export const FEATURES = {
  load: 'every program loads, and its tables are written and read back',
  packets: 'packet tables: verdict and reason of each packet',
  command: '`xdp doctor`, `apply`, `plan`, `status` and `destroy` by the executable',
  virtio: 'native XDP on virtio_net, several queues',
  veth: 'native XDP on veth, replaced in place',
  nat: 'NAT and full NAT between two interfaces',
  rates: 'rate limits',
  syn: 'SYN cookies',
  chain: 'a program of libxdp behind ours',
  bond: 'a bond, with full NAT through it',
  tunnels: 'ipip, gre, sit, ip6tnl and wireguard (generic mode)',
  refused: 'refused, and what is missing is listed for each feature',
}
