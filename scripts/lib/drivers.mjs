// Makes the tables of docs/drivers.md from src/drivers.
import { code, table, withParts } from './markdown.mjs'

const QUEUES = {
  half: 'at most half in use, as many for receiving as for transmitting',
  combined: 'channels must be combined',
  sum: 'those for receiving and transmitting together at most the maximum',
  double: 'two for transmitting for each processor',
  processors: 'up to 64 processors; up to 128 share them under a lock',
  spare: 'a spare one for each processor, else transmitting takes a lock',
  peer: 'at least as many for receiving as the peer has for transmitting',
}
const MERGING = {
  refuses: 'rules XDP out',
  stops: 'ends by itself',
  'goes-on': 'goes on: several packets arrive as one',
}
const TAGS = { never: 'no', switchable: 'while `rxvlan` is on', always: 'always' }

const LINUX = 'https://git.kernel.org/pub/scm/linux/kernel/git/torvalds/linux.git'
const since = (fact) => (fact === undefined ? '' : `[${fact.kernel.join('.')}](${LINUX}/commit/?id=${fact.commit})`)
const words = (fact, texts) => (fact === undefined ? '' : texts[fact.is])
const source = ({ source: path }) => `[${code(path)}](${LINUX}/tree/drivers/net/${path})`

function row([name, driver]) {
  const merging = [
    driver.lro && `LRO ${MERGING[driver.lro.is]}`,
    driver.groHw && `\`rx-gro-hw\` ${MERGING[driver.groHw.is]}`,
  ]
  return [
    code(name),
    driver.drives,
    since(driver.native),
    since(driver.frags),
    driver.mtu ? String(driver.mtu.is) : '',
    words(driver.queues, QUEUES),
    merging.filter(Boolean).join('; '),
    words(driver.tags, TAGS),
  ]
}

const HEAD = ['Driver', 'Drives', 'Native', 'Frags', 'MTU', 'Queues', 'Merging', 'Takes VLAN tags']

/** Every place in the source that a fact of a driver is from. */
function placesOf(driver) {
  const facts = ['mtu', 'linear', 'queues', 'lro', 'groHw', 'tags', 'sriov', 'bond'].flatMap((name) =>
    driver[name] ? [driver[name].at] : [],
  )
  return [...new Set([...facts, ...(driver.notes ?? []).map(({ at }) => at)])]
}

function note([name, driver]) {
  const texts = (driver.notes ?? []).map(({ is }) => is)
  if (driver.sriov) texts.unshift('Virtual functions (SR-IOV) rule XDP out.')
  if (driver.bond)
    texts.push('A bond with it as a member has no native XDP: it cannot transmit frames of other devices.')
  if (driver.linear)
    texts.unshift(`Above an MTU of about ${driver.linear.is} the first buffer of every packet is empty.`)
  return `- ${code(name)}: ${[...texts, `Source: ${[source(driver), ...placesOf(driver).map(code)].join(', ')}.`].join(' ')}`
}

/** The text with the table of each group, the notes, and the drivers without native XDP. */
export function withDrivers(text, groups) {
  const entries = Object.values(groups).flatMap((group) => Object.entries(group))
  const byName = ([left], [right]) => (left < right ? -1 : 1)
  const native = (group) =>
    Object.entries(group)
      .filter(([, driver]) => driver.native)
      .sort(byName)
  let page = text
  for (const [name, group] of Object.entries(groups))
    page = withParts(page, name, () => table(HEAD, native(group).map(row)))
  page = withParts(page, 'notes', () =>
    entries
      .filter(([, driver]) => driver.native)
      .sort(byName)
      .map(note)
      .join('\n'),
  )
  const without = entries.filter(([, driver]) => !driver.native).sort(byName)
  return withParts(page, 'without', () =>
    table(
      ['Driver', 'Drives', 'Source'],
      without.map(([name, driver]) => [code(name), driver.drives, source(driver)]),
    ),
  )
}
