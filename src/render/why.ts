// Renders the verdict of a packet and its reason, in the kernel and by the file, as text and as JSON
// (schemas/why.schema.json).

import type { Ban } from '../model/ban.ts'
import type {
  CountingLimit,
  Covering,
  Everywhere,
  Judgement,
  LiveJudgement,
  OfflineAnswer,
  OtherwiseCase,
  WhyResult,
} from '../report/result.ts'
import { banJson, showable } from './bans.ts'
import { formatDuration } from './duration.ts'
import { jsonDocument } from './json.ts'
import { otherSide, stateJson } from './offline.ts'
import { type Paint, paint } from './paint.ts'
import { formatTable } from './table.ts'

/** Most cases of a kind that are shown; JSON has all. */
const MOST_CASES = 10

function because({ reason, list, prefix, service, backend, backup }: Judgement): string {
  if (service !== undefined) {
    const kind = backup ? 'backup (no other backend takes it)' : 'backend'
    return `${reason}: service ${service}${backend === undefined ? '' : `, ${kind} ${backend}`}`
  }
  const decided = list === undefined || list === reason ? reason : `${reason} ${list}`
  return prefix === undefined ? decided : `${decided}: ${prefix}`
}

/** Where an entry is, as a comment. */
const placeText = ({ at, about }: Pick<Covering, 'at' | 'about'>): string =>
  at === undefined ? '' : `# ${at}${about === undefined ? '' : ` (${about})`}`

const onInterfaces = ({ interfaces }: Judgement): string =>
  interfaces.length === 0 ? '' : ` on ${interfaces.join(', ')}`

function row(side: string, judgement: Judgement, note: string): string[] {
  return [`${side}${onInterfaces(judgement)}`, judgement.verdict, because(judgement), note]
}

/** A test packet takes nothing from a rate, so none stops it. */
function proofText({ proven, rateLimits }: LiveJudgement, offline: OfflineAnswer | undefined): string {
  const isBeyond = rateLimits.some(({ action, exceeds }) => exceeds && action === 'drop')
  const by = offline?.against ? 'from the state' : proven ? 'proven by a packet' : 'from the tables'
  return `(${by}${isBeyond ? ', apart from rates' : ''})`
}

/** The judgements on all interfaces. */
const everyOne = <T extends Judgement>(judgement: Everywhere<T> | undefined): readonly T[] =>
  judgement === undefined ? [] : [judgement, ...judgement.elsewhere]

/** Colours the verdict in the second column. */
function tint(line: string, judgement: Judgement, { green, red }: Paint): string {
  const { verdict } = judgement
  return line.replace(` ${verdict} `, ` ${(verdict === 'drop' || verdict === 'aborted' ? red : green)(verdict)} `)
}

const sameVerdict = (left: Judgement, right: Judgement): boolean =>
  left.verdict === right.verdict &&
  left.reason === right.reason &&
  left.list === right.list &&
  left.service === right.service &&
  left.backend === right.backend &&
  left.interfaces.join() === right.interfaces.join()

const sameEverywhere = (left: readonly Judgement[], right: readonly Judgement[]): boolean =>
  left.length === right.length && left.every((one, at) => sameVerdict(one, right[at] as Judgement))

/** Where an entry applies to the packet, of the judgements on all interfaces. */
function appliesWhere(entry: Covering, judgements: readonly Judgement[]): string {
  const isSame = (other: Covering): boolean => other.list === entry.list && other.scope === entry.scope
  const matching = judgements.filter(({ lists }) => lists.some((other) => isSame(other) && other.matches))
  if (matching.length === judgements.length) return 'yes'
  return matching.length === 0 ? 'no' : `on ${matching.flatMap(({ interfaces }) => interfaces).join(', ')}`
}

/** The entries that cover the address, if they say more than the verdict. */
function coverLines(title: string, judgements: readonly Judgement[]): string[] {
  const lists = judgements[0]?.lists ?? []
  if (lists.length < 2 && lists.every(({ matches }) => matches) && judgements.length < 2) return []
  const rows = lists.map((entry) => [
    entry.list,
    entry.kind,
    entry.prefix ?? '',
    entry.scope,
    appliesWhere(entry, judgements),
    placeText(entry),
  ])
  const titles = [title, 'KIND', 'ENTRY', 'PACKETS', 'APPLIES', '']
  return lists.length === 0
    ? []
    : [
        '',
        ...formatTable(
          titles.map((text) => ({ title: text })),
          rows,
        ),
      ]
}

/** The anomalies of such packets, on any interface. */
function anomalyLines(judgements: readonly Judgement[]): string[] {
  const all = new Map(judgements.flatMap(({ anomalies }) => anomalies.map((one) => [one.name, one.action] as const)))
  return [...all].map(
    ([name, action]) =>
      `Such packets have the anomaly ${name}, which ${action === 'drop' ? 'drops them' : 'is only counted'}.`,
  )
}

/** The lists that would drop such packets, on any interface. */
function observedLines(judgements: readonly Judgement[]): string[] {
  const names = [...new Set(judgements.flatMap(({ observed }) => observed))].sort()
  return names.map((name) => `List ${name} only observes such packets; with \`action: drop\` it would drop them.`)
}

/** The rate limits that count such packets, on any interface. */
function limitLines(judgements: readonly Judgement[]): string[] {
  const all = new Map(judgements.flatMap(({ rateLimits }) => rateLimits.map((limit) => [limit.name, limit] as const)))
  const limits = [...all.values()]
  const [own, others] = [true, false].map((isOwn) => limits.filter(({ counts }) => (counts !== 'others') === isOwn))
  const rest = (others?.length ?? 0) - MOST_CASES
  return [
    ...[...(own ?? []), ...(others ?? []).slice(0, MOST_CASES)].flatMap((limit) => [
      limitLine(limit),
      ...sourceLines(limit),
    ]),
    ...(rest > 0 ? [`... and ${rest} more rate limits that count other packets (--json shows them)`] : []),
  ]
}

function limitLine({ name, action, at, used, exceeds, counts, packets }: CountingLimit): string {
  const such = {
    every: 'such packets',
    some: `some such packets (${packets})`,
    others: `other such packets (${packets})`,
  }
  const verb = action === 'drop' ? 'dropped' : 'only counted'
  const share =
    used === undefined
      ? ''
      : exceeds
        ? `; its burst is used up, so a packet that comes now is ${verb}`
        : `; ${Math.round(used * 100)} % of its burst is used, and what exceeds it is ${verb}`
  return `Rate limit ${name} counts ${such[counts]}${share}.${at === undefined ? '' : ` # ${at}`}`
}

function sourceLines({ source }: CountingLimit): string[] {
  if (source === undefined) return []
  const about = source.about === undefined ? '' : ` (${showable(source.about)})`
  const place = source.at === undefined ? '' : ` # ${source.at}`
  return [`  ${source.prefix}${about} is one of its sources.${place}`]
}

const mitigationLines = (judgements: readonly Judgement[]): string[] => [
  ...observedLines(judgements),
  ...anomalyLines(judgements),
  ...limitLines(judgements),
]

/** Bans are not in the file, so a differing verdict of the file is expected. */
function banLines({ reason, by, ttlLeft, observe }: Ban): string[] {
  const time = ttlLeft === undefined ? 'until it is lifted' : `for another ${formatDuration(ttlLeft)}`
  const author = by === '' ? '' : ` by ${showable(by)}`
  const why = reason === '' ? '' : `: ${showable(reason)}`
  if (observe) return [`An observed ban${author}, ${time}, would drop it${why}. It is counted, and goes on.`]
  return [`Banned${author} ${time}${why}. \`xdp unban\` lifts it; bans are not in the file.`]
}

/** An answer without the kernel says what it leaves open. */
const offlineLines = ({ against, unknown }: OfflineAnswer): string[] => [
  '',
  `${against ? `By ${otherSide(against)}, without the kernel.` : 'By the file alone.'} It does not say:`,
  ...unknown.map(({ why }) => `  - ${why}`),
]

/** The sentence about a host without a policy of ours. */
const nothingLive = (offline: OfflineAnswer | undefined): string[] => {
  if (offline && !offline.against) return []
  const where = offline?.against ? `${offline.against.state.host.name} had` : 'this instance has'
  const then = offline ? 'passed' : 'passes'
  return [`live: ${where} nothing in the kernel, so every packet ${then}.`]
}

const planOf = (offline: OfflineAnswer | undefined): string =>
  offline?.against ? `xdp plan --against ${offline.against.path === 'stdin' ? '-' : offline.against.path}` : 'xdp plan'

/** `file`: the path of the config, for its row. */
export function renderWhy(
  { address, advice, live, desired, offline }: WhyResult,
  file: string | undefined,
  color: boolean,
): string {
  const style = paint(color)
  const judgements: Judgement[] = []
  const rows: string[][] = []
  const [ours, files] = [everyOne<LiveJudgement>(live), everyOne<Judgement>(desired)]
  for (const one of ours) rows.push(row('live', one, proofText(one, offline)))
  for (const one of files) rows.push(row(file ?? 'file', one, placeText(one)))
  judgements.push(...ours, ...files)
  const columns = [{ title: address }, { title: 'VERDICT' }, { title: 'BECAUSE OF' }, { title: '' }]
  const [head = '', ...body] = formatTable(columns, rows)
  const lines = [style.bold(head), ...body.map((line, at) => tint(line, judgements[at] as Judgement, style))]
  if (live === undefined) lines.push(...nothingLive(offline))
  if (offline?.unread !== undefined) lines.push(`live: not read: ${offline.unread}`)
  if (desired === undefined) lines.push('file: no config file was found.')
  if (judgements.some(({ unlessEstablished }) => unlessEstablished))
    lines.push('Packets of connections that this host opened pass.')
  if (judgements.some(({ needsSocket }) => needsSocket))
    lines.push('Packets for which this host has no socket are dropped, unless they open a connection.')
  lines.push(...mitigationLines(ours.length > 0 ? ours : files))
  const ban = ours.find((one) => one.ban)?.ban
  const disagree = live !== undefined && desired !== undefined && !sameEverywhere(ours, files)
  if (ban) lines.push(...banLines(ban))
  else if (disagree)
    lines.push(`${style.yellow('!')} The live policy and the file disagree; \`${planOf(offline)}\` shows the changes.`)
  for (const sentence of advice) lines.push(`${style.yellow('!')} ${sentence}.`)
  // In sync, the entries of the file say more: they are not merged.
  if (live && (disagree || !desired)) lines.push(...coverLines('LIVE LIST', ours))
  if (desired) lines.push(...coverLines('LIST', files))
  lines.push(...otherwiseLines(address, ours.length > 0 ? ours : files))
  if (offline) lines.push(...offlineLines(offline))
  return `${lines.join('\n')}\n`
}

const verdictOfCase = ({ kind, verdict }: OtherwiseCase): string =>
  kind === 'rate_limit'
    ? 'drop beyond the rate'
    : kind === 'service' && verdict === 'redirect'
      ? 'to a backend'
      : verdict

/** The cases that decide otherwise about other packets of the address, on any interface. */
function otherwiseLines(address: string, judgements: readonly Judgement[]): string[] {
  const all = new Map(
    judgements.flatMap(({ otherwise }) => otherwise.map((one) => [JSON.stringify(one), one] as const)),
  )
  const rows = [...all.values()].map((one) => {
    const { kind, name, prefix, packets, at } = one
    const what = [kind.replaceAll('_', ' '), ...(name === undefined || name === kind ? [] : [name])].join(' ')
    return [
      verdictOfCase(one),
      prefix === undefined ? what : `${what}: ${prefix}`,
      packets,
      at === undefined ? '' : `# ${at}`,
    ]
  })
  if (rows.length === 0) return []
  const titles = ['VERDICT', 'BECAUSE OF', 'PACKETS', ''].map((title) => ({ title }))
  const rest = rows.length > MOST_CASES ? [`... and ${rows.length - MOST_CASES} more (--json shows them)`] : []
  return [
    '',
    `Other packets from ${address} are judged otherwise:`,
    ...formatTable(titles, rows.slice(0, MOST_CASES)),
    ...rest,
  ]
}

function judgementJson({ verdict, reason, list, prefix, at, about, service, backend, backup, ...rest }: Judgement) {
  const named = { list: list ?? null, prefix: prefix ?? null, at: at ?? null, about: about ?? null }
  const covering = rest.lists.map(({ list: name, kind, scope, matches, ...entry }) => {
    return {
      name,
      kind,
      prefix: entry.prefix ?? null,
      at: entry.at ?? null,
      about: entry.about ?? null,
      scope,
      matches,
    }
  })
  const balanced = { service: service ?? null, backend: backend ?? null, backup }
  return {
    verdict,
    reason,
    ...named,
    ...balanced,
    interfaces: rest.interfaces,
    lists: covering,
    unless_established: rest.unlessEstablished,
    needs_socket: rest.needsSocket,
    anomalies: rest.anomalies.map(({ name, action }) => ({ name, action })),
    observed: rest.observed,
    rate_limits: rest.rateLimits.map(({ name, action, at: line, counts, packets, used, exceeds, source }) => ({
      ...{ name, action, at: line ?? null, counts, packets },
      used: used ?? null,
      exceeds: exceeds ?? null,
      source: source?.prefix ?? null,
      source_at: source?.at ?? null,
      source_about: source?.about ?? null,
    })),
    otherwise: rest.otherwise.map(({ kind, verdict: other, name, packets, prefix: covering, at: line }) => ({
      kind,
      verdict: other,
      name: name ?? null,
      packets,
      prefix: covering ?? null,
      at: line ?? null,
    })),
  }
}

const liveJson = (live: LiveJudgement) => ({
  ...judgementJson(live),
  proven: live.proven,
  ban: live.ban ? banJson(live.ban) : null,
})

export function renderWhyJson({ address, advice, live, desired, offline }: WhyResult): string {
  return jsonDocument({
    address,
    advice,
    offline: offline
      ? {
          unread: offline.unread ?? null,
          against: offline.against ? stateJson(offline.against) : null,
          unknown: offline.unknown.map(({ what, why }) => ({ what, why })),
        }
      : null,
    live: live ? { ...liveJson(live), elsewhere: live.elsewhere.map(liveJson) } : null,
    desired: desired ? { ...judgementJson(desired), elsewhere: desired.elsewhere.map(judgementJson) } : null,
  })
}
