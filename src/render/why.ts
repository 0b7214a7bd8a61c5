// Renders the verdict of a packet and its reason, in the kernel and by the file, as text and as JSON
// (schemas/why.schema.json).

import type { Ban } from '../model/ban.ts'
import type { Judgement, WhyResult } from '../report/result.ts'
import { banJson, showable } from './bans.ts'
import { formatDuration } from './duration.ts'
import { jsonDocument } from './json.ts'
import { type Paint, paint } from './paint.ts'
import { formatTable } from './table.ts'

function because({ reason, list, prefix, service, backend }: Judgement): string {
  if (service !== undefined)
    return `${reason}: service ${service}${backend === undefined ? '' : `, backend ${backend}`}`
  const decided = list === undefined || list === reason ? reason : `${reason} ${list}`
  return prefix === undefined ? decided : `${decided}: ${prefix}`
}

function row(side: string, judgement: Judgement, note: string): string[] {
  return [side, judgement.verdict, because(judgement), note]
}

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
  left.backend === right.backend

/** Bans are not in the file, so a differing verdict of the file is expected. */
function banLines({ reason, by, ttlLeft }: Ban): string[] {
  const time = ttlLeft === undefined ? 'until it is lifted' : `for another ${formatDuration(ttlLeft)}`
  const author = by === '' ? '' : ` by ${showable(by)}`
  return [
    `Banned${author} ${time}${reason === '' ? '' : `: ${showable(reason)}`}. \`xdp unban\` lifts it; bans are not in the file.`,
  ]
}

/** `file`: the path of the config, for its row. */
export function renderWhy({ address, live, desired }: WhyResult, file: string | undefined, color: boolean): string {
  const style = paint(color)
  const judgements: Judgement[] = []
  const rows: string[][] = []
  if (live) {
    rows.push(row('live', live, live.proven ? '(proven by a packet)' : '(from the tables)'))
    judgements.push(live)
  }
  if (desired) {
    rows.push(row(file ?? 'file', desired, desired.at === undefined ? '' : `# ${desired.at}`))
    judgements.push(desired)
  }
  const columns = [{ title: address }, { title: 'VERDICT' }, { title: 'BECAUSE OF' }, { title: '' }]
  const [head = '', ...body] = formatTable(columns, rows)
  const lines = [style.bold(head), ...body.map((line, at) => tint(line, judgements[at] as Judgement, style))]
  if (live === undefined) lines.push('live: this instance has nothing in the kernel, so every packet passes.')
  if (desired === undefined) lines.push('file: no config file was found.')
  if (live?.ban) lines.push(...banLines(live.ban))
  else if (live && desired && !sameVerdict(live, desired))
    lines.push(`${style.yellow('!')} The live policy and the file disagree; \`xdp plan\` shows the changes.`)
  return `${lines.join('\n')}\n`
}

function judgementJson({ verdict, reason, list, prefix, at, service, backend }: Judgement) {
  const named = { list: list ?? null, prefix: prefix ?? null, at: at ?? null }
  return { verdict, reason, ...named, service: service ?? null, backend: backend ?? null }
}

export function renderWhyJson({ address, live, desired }: WhyResult): string {
  return jsonDocument({
    address,
    live: live ? { ...judgementJson(live), proven: live.proven, ban: live.ban ? banJson(live.ban) : null } : null,
    desired: desired ? judgementJson(desired) : null,
  })
}
