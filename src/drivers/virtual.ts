// Drivers of virtual network cards: of hypervisors, of clouds, and inside of one kernel. By the name that `ethtool -i`
// prints.

import type { Driver } from './driver.ts'

export const VIRTUAL: Readonly<Record<string, Driver>> = {
  ena: {
    drives: 'Amazon EC2',
    source: 'ethernet/amazon/ena/ena_xdp.c',
    native: { kernel: [5, 6], commit: '838c93dc5449' },
    mtu: { is: 3498, at: 'ENA_XDP_MAX_MTU' },
    queues: { is: 'half', at: 'ena_xdp_legal_queue_count' },
    tags: { is: 'never', at: 'ena_set_dev_offloads' },
    notes: [{ is: 'The largest MTU of the device is that limit while a program is attached.', at: 'ENA_XDP_MAX_MTU' }],
  },
  gve: {
    drives: 'Google Compute Engine (gVNIC)',
    source: 'ethernet/google/gve/gve_main.c',
    native: { kernel: [6, 4], commit: '75eaae158b1b' },
    mtu: { is: 2032, at: 'gve_verify_xdp_configuration' },
    queues: { is: 'half', at: 'gve_verify_xdp_configuration' },
    lro: { is: 'refuses', at: 'gve_verify_xdp_configuration' },
    groHw: { is: 'refuses', at: 'gve_verify_xdp_configuration' },
    tags: { is: 'never', at: 'gve_probe' },
    notes: [
      {
        is: 'Linux 6.12 has XDP with the queue format GQI-QPL only, 7.2 also with DQO-RDA, which newer machine types use.',
        at: 'gve_set_netdev_xdp_features',
      },
      { is: 'Splitting headers from data rules XDP out.', at: 'header_split_enabled' },
    ],
  },
  hv_netvsc: {
    drives: 'Microsoft Hyper-V and Azure',
    source: 'hyperv/netvsc_bpf.c',
    native: { kernel: [5, 6], commit: '351e1581395f' },
    mtu: { is: 3506, at: 'NETVSC_XDP_HDRM' },
    lro: { is: 'refuses', at: 'netvsc_xdp_set' },
    tags: { is: 'always', at: 'netvsc_probe' },
    notes: [
      {
        is: 'With accelerated networking packets arrive on a virtual function behind it, which gets the program too: its driver has to accept it.',
        at: 'netvsc_vf_setxdp',
      },
    ],
  },
  mana: {
    drives: 'Microsoft Azure Network Adapter',
    source: 'ethernet/microsoft/mana/mana_bpf.c',
    native: { kernel: [5, 17], commit: 'ed5356b53f07' },
    mtu: { is: 3506, at: 'MANA_XDP_MTU_MAX' },
    tags: { is: 'always', at: 'mana_probe_port' },
  },
  netdevsim: {
    drives: 'simulated cards of tests',
    source: 'netdevsim/bpf.c',
    native: { kernel: [4, 16], commit: '31d3ad832948' },
    bond: { is: 'refuses', at: 'nsim_netdev_ops' },
  },
  tun: {
    drives: 'tap devices of virtual machines',
    source: 'tun.c',
    native: { kernel: [4, 14], commit: '761876c857cb' },
    tags: { is: 'never', at: 'tun_net_init' },
    notes: [{ is: 'A tun device, whose packets have no Ethernet header, has no native XDP.', at: 'tap_netdev_ops' }],
  },
  veth: {
    drives: 'pairs of virtual interfaces',
    source: 'veth.c',
    native: { kernel: [4, 19], commit: '948d4f214fde' },
    frags: { kernel: [5, 18], commit: '7cda76d858a4' },
    mtu: { is: 3520, at: 'veth_xdp_set' },
    queues: { is: 'peer', at: 'veth_xdp_set' },
    tags: { is: 'switchable', at: 'VETH_FEATURES' },
    notes: [
      { is: 'The peer loses TCP segmentation offload while a program is attached.', at: 'veth_xdp_set' },
      { is: 'Frames that XDP transmits arrive only if the peer has a program, too.', at: 'veth_xdp_xmit' },
    ],
  },
  vif: {
    drives: 'Xen',
    source: 'xen-netfront.c',
    native: { kernel: [5, 9], commit: '6c5aa6fc4def' },
    mtu: { is: 3840, at: 'xennet_xdp_set' },
  },
  virtio_net: {
    drives: 'KVM and most clouds',
    source: 'virtio_net.c',
    native: { kernel: [4, 10], commit: 'f600b6905015' },
    frags: { kernel: [6, 3], commit: '22174f79a44b' },
    mtu: { is: 3506, at: 'virtnet_xdp_set' },
    queues: { is: 'spare', at: 'virtnet_xdp_set' },
    groHw: { is: 'stops', at: 'virtnet_clear_guest_offloads' },
    tags: { is: 'never', at: 'virtnet_probe' },
    notes: [
      {
        is: 'A host that merges packets and offers no way to stop it (`rx-gro-hw: on [fixed]`) rules XDP out.',
        at: 'VIRTIO_NET_F_CTRL_GUEST_OFFLOADS',
      },
    ],
  },
  vmxnet3: {
    drives: 'VMware',
    source: 'vmxnet3/vmxnet3_xdp.c',
    native: { kernel: [6, 6], commit: '54f00cce1178' },
    mtu: { is: 3494, at: 'VMXNET3_XDP_MAX_MTU' },
    lro: { is: 'stops', at: 'vmxnet3_xdp_set' },
    tags: { is: 'switchable', at: 'NETIF_F_HW_VLAN_CTAG_RX' },
    notes: [{ is: 'With fewer transmit queues than processors, transmitting shares them.', at: 'vmxnet3_xdp_get_tq' }],
  },
}
