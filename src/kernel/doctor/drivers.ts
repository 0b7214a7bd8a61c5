// Native XDP by driver: since which kernel, and up to which MTU. For mainline Linux up to 6.19, from the tables of
// docs.ebpf.io ("Program type BPF_PROG_TYPE_XDP": driver support, max MTU) and the sources of the drivers. An installed
// driver may be newer than its kernel, so these are hints; the final answer is that of the kernel to `xdp apply`.

import type { Version } from '../tools/version.ts'

export interface Driver {
  /** First kernel with native XDP in this driver. */
  readonly native: Version
  /** First kernel with multi-buffer packets in this driver; from then on the MTU does not limit our programs. */
  readonly frags?: Version
  /** Approximate largest MTU before that, in bytes, with pages of 4 KiB; undefined: the driver sets no limit. */
  readonly mtu?: number
  /**
   * Largest MTU at which the first buffer of a packet holds its headers; above it the buffer is empty, and the filter
   * reads the headers from the fragments.
   */
  readonly linear?: number
  /** Each receive queue needs a spare transmit queue: at most half of the queues may be in use. */
  readonly halfQueues?: true
}

/** Last kernel that the tables cover. */
export const KNOWN_UNTIL = '6.19'

/** By the driver name that `ethtool -i` prints. */
export const DRIVERS: Readonly<Record<string, Driver>> = {
  'am65-cpsw-nuss': { native: [6, 10] },
  atlantic: { native: [5, 19], frags: [5, 19], mtu: 2048 },
  bnxt_en: { native: [4, 11], frags: [5, 19], mtu: 3502 },
  cpsw: { native: [5, 3] },
  'cpsw-switch': { native: [5, 3] },
  ena: { native: [5, 6], mtu: 3498, halfQueues: true },
  fbnic: { native: [6, 18], frags: [6, 18], mtu: 3570 },
  fec: { native: [6, 2] },
  fsl_dpa: { native: [5, 11], mtu: 3706 },
  fsl_dpaa2_eth: { native: [5, 0] },
  fsl_enetc: { native: [5, 13] },
  fsl_enetc_vf: { native: [5, 13] },
  funeth: { native: [5, 18], mtu: 3566 },
  gve: { native: [6, 4], mtu: 2032, halfQueues: true },
  hv_netvsc: { native: [5, 6], mtu: 3506 },
  i40e: { native: [4, 13], frags: [6, 4], mtu: 3046 },
  ice: { native: [5, 5], frags: [6, 3], mtu: 3046 },
  'icssg-prueth': { native: [6, 15] },
  idpf: { native: [6, 18], frags: [6, 18] },
  igb: { native: [5, 10], mtu: 3046 },
  igc: { native: [5, 13], mtu: 1500 },
  ionic: { native: [6, 9], frags: [6, 9], mtu: 3502 },
  ixgbe: { native: [4, 12], mtu: 3050 },
  ixgbevf: { native: [4, 17], mtu: 3050 },
  'lan966x-switch': { native: [6, 2] },
  mana: { native: [5, 17], mtu: 3506 },
  mlx4_en: { native: [4, 8], mtu: 3498 },
  // Striding receive queues with frames of several buffers: mlx5e_skb_from_cqe_mpwrq_nonlinear, linear_data_len = 0.
  mlx5_core: { native: [4, 9], frags: [6, 4], mtu: 3498, linear: 3498 },
  mtk_soc_eth: { native: [6, 0], mtu: 3520 },
  mvneta: { native: [5, 5], frags: [5, 18], mtu: 3520 },
  mvpp2: { native: [5, 9], mtu: 3552 },
  netdevsim: { native: [4, 16] },
  netsec: { native: [5, 3], mtu: 1500 },
  nfp: { native: [4, 10], mtu: 4096 },
  nicvf: { native: [4, 12], mtu: 1508 },
  qede: { native: [4, 10] },
  rvu_nicpf: { native: [5, 16], mtu: 1508 },
  rvu_nicvf: { native: [5, 16], mtu: 1508 },
  sfc: { native: [5, 5], mtu: 3530 },
  sfc_ef100: { native: [5, 5], mtu: 3522 },
  st_gmac: { native: [5, 13], mtu: 1500 },
  st_xgmac: { native: [5, 13], mtu: 1500 },
  tsnep: { native: [6, 3] },
  tun: { native: [4, 14] },
  veth: { native: [4, 19], frags: [5, 18], mtu: 3520 },
  vif: { native: [5, 9], mtu: 3840 },
  virtio_net: { native: [4, 10], frags: [6, 3], mtu: 3506 },
  vmxnet3: { native: [6, 6], mtu: 3494 },
}

/** Drivers without native XDP up to KNOWN_UNTIL. */
export const WITHOUT_NATIVE_DRIVERS: ReadonlySet<string> = new Set([
  '8139cp',
  '8139too',
  'be2net',
  'bnx2x',
  'e1000',
  'e1000e',
  'r8152',
  'r8169',
  'tg3',
])

/** Kinds of `ip -d link` without receive rings. The kind tun is not here, because a tap device has native XDP. */
export const WITHOUT_NATIVE_KINDS: ReadonlySet<string> = new Set([
  'bareudp',
  'bridge',
  'dummy',
  'geneve',
  'gre',
  'gretap',
  'ifb',
  'ip6gre',
  'ip6gretap',
  'ip6tnl',
  'ipip',
  'ipvlan',
  'loopback',
  'macsec',
  'macvlan',
  'macvtap',
  'netkit',
  'ppp',
  'sit',
  'team',
  'vlan',
  'vrf',
  'vti',
  'vti6',
  'vxlan',
  'wireguard',
  'xfrm',
])

/** Modes in which a bond passes XDP on to its members (drivers/net/bonding, bond_xdp_check). */
export const BOND_MODES: ReadonlySet<string> = new Set(['balance-rr', 'active-backup', '802.3ad', 'balance-xor'])
/** First kernel with native XDP on bonds. */
export const BOND_NATIVE: Version = [5, 15]
/** First kernel in which a program can move headers into the first buffer (bpf_xdp_pull_data). */
export const PULL_DATA: Version = [6, 18]
