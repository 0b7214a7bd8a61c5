// Reads the console of a guest: results of its own checks, and of the packets that its programs judged. A result is
// `{ feature, name, problem }`; without a problem it passed.

/** The guest's own checks: `ok NAME`, or `not ok NAME` with the output that follows; `about FEATURE` before them. */
function ownChecks(output) {
  let feature
  return output.split(/^(?=(?:not )?ok |about |begin )/m).flatMap((block) => {
    const [, word, rest] = /^(not ok|ok|about) (.*)$/m.exec(block.split('\n')[0]) ?? []
    if (word === 'about') feature = rest.trim()
    if (word !== 'ok' && word !== 'not ok') return []
    return [{ feature, name: rest.trim(), problem: word === 'ok' ? undefined : block.trim() }]
  })
}

/** The results of policies whose packets the guest has sent; `numbers`: those that it should have, by default all. */
function packets(output, { POLICIES, judgePackets }, numbers) {
  const sent = POLICIES.filter(({ rows, number }) => rows.length > 0 && (!numbers || numbers.includes(number)))
  return sent.flatMap((policy) => {
    const line = new RegExp(`^results ${policy.number} (.*)$`, 'm').exec(output)?.[1] ?? ''
    const answers = (word) => {
      const lines = output.matchAll(new RegExp(`^${word} ${policy.number} (\\d+) ([0-9a-f]+)$`, 'gm'))
      return new Map([...lines].map(([, i, hex]) => [Number(i), hex]))
    }
    const result = (problem) => ({ feature: 'packets', name: policy.name, problem })
    try {
      const problems = judgePackets(policy, JSON.parse(line), answers('explained'), answers('went'))
      return problems.map((problem) => result(problem && `${policy.name}: ${problem}`))
    } catch {
      return [result(`${policy.name}: no results: ${line.slice(0, 500)}`)]
    }
  })
}

/** Every result of a guest, the last of which is whether it finished. */
export function judge({ output, timedOut }, { cases, numbers, limit }) {
  const ended = /^end of test$/m.test(output)
  const why = timedOut ? `the guest did not finish in ${limit} s` : 'the guest did not finish'
  return [
    ...ownChecks(output),
    ...(cases ? packets(output, cases, numbers) : []),
    { feature: 'boot', name: 'the guest finishes', problem: ended ? undefined : why },
  ]
}

/** Instructions that the verifier processed, by policy and program: `{ 1: { xdp_filter: 36711, … } }`. */
export function instructionsOf(output) {
  const found = {}
  for (const [, policy, program, count] of output.matchAll(/^instructions (\d+) (\w+) (\d+)$/gm)) {
    found[policy] ??= {}
    found[policy][program] = Number(count)
  }
  return found
}
