// Drivers of network interfaces in small computers, desktops and boards, by the name that `ethtool -i` prints.

import type { Driver } from './driver.ts'

const STMMAC = 'ethernet/stmicro/stmmac/stmmac_xdp.c'
const STMMAC_NATIVE = { kernel: [5, 13], commit: '5fabb01207a2' } as const
const STMMAC_MTU = { is: 1500, at: 'stmmac_xdp_set_prog' }

export const BOARDS: Readonly<Record<string, Driver>> = {
  'am65-cpsw-nuss': {
    drives: 'TI K3 (AM62 to AM65, J7)',
    source: 'ethernet/ti/am65-cpsw-nuss.c',
    native: { kernel: [6, 10], commit: '8acacc40f733' },
  },
  cpsw: {
    drives: 'TI AM335x, AM437x, DRA7',
    source: 'ethernet/ti/cpsw.c',
    native: { kernel: [5, 3], commit: '9ed4050c0d75' },
    tags: { is: 'always', at: 'NETIF_F_HW_VLAN_CTAG_RX' },
  },
  'cpsw-switch': {
    drives: 'TI AM335x, AM437x, DRA7 as a switch',
    source: 'ethernet/ti/cpsw_new.c',
    native: { kernel: [5, 3], commit: '9ed4050c0d75' },
    tags: { is: 'always', at: 'NETIF_F_HW_VLAN_CTAG_RX' },
  },
  fec: {
    drives: 'NXP i.MX',
    source: 'ethernet/freescale/fec_main.c',
    native: { kernel: [6, 2], commit: '6d6b39f180b8' },
  },
  fsl_dpa: {
    drives: 'NXP QorIQ (DPAA)',
    source: 'ethernet/freescale/dpaa/dpaa_eth.c',
    native: { kernel: [5, 11], commit: '86c0c196cbe4' },
    mtu: { is: 3706, at: 'dpaa_setup_xdp' },
  },
  fsl_dpaa2_eth: {
    drives: 'NXP Layerscape (DPAA2)',
    source: 'ethernet/freescale/dpaa2/dpaa2-eth.c',
    native: { kernel: [5, 0], commit: '7e273a8ebdd3' },
  },
  fsl_enetc: {
    drives: 'NXP LS1028A',
    source: 'ethernet/freescale/enetc/enetc_pf.c',
    native: { kernel: [5, 13], commit: 'd1b15102dd16' },
  },
  'icssg-prueth': {
    drives: 'TI AM64x, AM65x (ICSSG)',
    source: 'ethernet/ti/icssg/icssg_prueth.c',
    native: { kernel: [6, 15], commit: '62aa3246f462' },
  },
  'lan966x-switch': {
    drives: 'Microchip LAN966x',
    source: 'ethernet/microchip/lan966x/lan966x_xdp.c',
    native: { kernel: [6, 2], commit: '6a2159be7604' },
  },
  mtk_soc_eth: {
    drives: 'MediaTek MT76xx, MT798x',
    source: 'ethernet/mediatek/mtk_eth_soc.c',
    native: { kernel: [6, 0], commit: '7c26c20da5d4' },
    mtu: { is: 3520, at: 'mtk_xdp_setup' },
    lro: { is: 'refuses', at: 'mtk_xdp_setup' },
  },
  mvneta: {
    drives: 'Marvell Armada 370, 38x, 3700',
    source: 'ethernet/marvell/mvneta.c',
    native: { kernel: [5, 5], commit: '0db51da7a8e9' },
    frags: { kernel: [5, 18], commit: 'e121d27083e3' },
    mtu: { is: 3520, at: 'MVNETA_MAX_RX_BUF_SIZE' },
    tags: { is: 'never', at: 'mvneta_probe' },
    notes: [
      {
        is: 'Buffer management by the hardware (`buffer-manager` of the device tree) rules XDP out.',
        at: 'mvneta_xdp_setup',
      },
    ],
  },
  mvpp2: {
    drives: 'Marvell Armada 7K, 8K, CN913x',
    source: 'ethernet/marvell/mvpp2/mvpp2_main.c',
    native: { kernel: [5, 9], commit: '07dd0a7aae7f' },
    mtu: { is: 3552, at: 'MVPP2_MAX_RX_BUF_SIZE' },
    queues: { is: 'double', at: 'mvpp2_xdp_setup' },
    tags: { is: 'never', at: 'mvpp2_port_probe' },
    notes: [
      {
        is: 'XDP needs the buffer pools of each processor, which an MTU above the limit turns off.',
        at: 'percpu_pools',
      },
    ],
  },
  netsec: {
    drives: 'Socionext SynQuacer',
    source: 'ethernet/socionext/netsec.c',
    native: { kernel: [5, 3], commit: 'ba2b232108d3' },
    mtu: { is: 1500, at: 'netsec_xdp_setup' },
  },
  st_gmac: {
    drives: 'stmmac: Synopsys DesignWare GMAC (many boards)',
    source: STMMAC,
    native: STMMAC_NATIVE,
    mtu: STMMAC_MTU,
    notes: [{ is: 'Splitting headers from data stops while a program is attached.', at: 'sph_active' }],
  },
  st_xgmac: {
    drives: 'stmmac: Synopsys DesignWare XGMAC',
    source: STMMAC,
    native: STMMAC_NATIVE,
    mtu: STMMAC_MTU,
    notes: [{ is: 'Splitting headers from data stops while a program is attached.', at: 'sph_active' }],
  },
  tsnep: {
    drives: 'Engleder TSN',
    source: 'ethernet/engleder/tsnep_main.c',
    native: { kernel: [6, 3], commit: 'f0f6460f9130' },
  },
  // Without native XDP.
  '8139cp': { drives: 'Realtek 8139C+, and as emulated by hypervisors', source: 'ethernet/realtek/8139cp.c' },
  '8139too': { drives: 'Realtek 8139', source: 'ethernet/realtek/8139too.c' },
  alx: { drives: 'Qualcomm Atheros AR816x', source: 'ethernet/atheros/alx/main.c' },
  fsl_enetc_vf: { drives: 'virtual functions of fsl_enetc', source: 'ethernet/freescale/enetc/enetc_vf.c' },
  macb: { drives: 'Cadence MACB and GEM (Zynq, SAMA5, Raspberry Pi 5)', source: 'ethernet/cadence/macb_main.c' },
  r8152: { drives: 'Realtek USB adapters', source: 'usb/r8152.c' },
  r8169: { drives: 'Realtek 8169, 8168, 8125', source: 'ethernet/realtek/r8169_main.c' },
}
