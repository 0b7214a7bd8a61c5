// Markdown of docs/ → roff. The pages as a whole: test/e2e/man.test.ts.
import { expect, test } from 'vitest'
import { blocks, convert, inline, introduction, section, titles } from '../../scripts/man/markdown.mjs'

const roff = (text: string, options = {}): string => convert(blocks(text), options).join('\n')

const DOCUMENT = `# Title

First.

## One

Text.

### Part

\`\`\`sh
## no heading
\`\`\`

## Two

Last.
`

test.each([
  ['a `code` span', 'a \\fB\\%code\\fR span'],
  ['**strong `x`** and *weak*', '\\fBstrong \\fB\\%x\\fR\\fR and \\fIweak\\fR'],
  ['over\ntwo lines', 'over two lines'],
  ['a \\| pipe and an &', 'a | pipe and an &'],
  ['[errors.md](errors.md#E013)', 'docs/errors.md'],
  ['[the list](errors.md)', 'the list (docs/errors.md)'],
  ['[`examples/`](../examples)', '\\fB\\%examples/\\fR (examples)'],
  ['[Feeds](#feeds)', 'Feeds'],
  ['<https://example.com/a-b>', 'https://example.com/a\\-b'],
  ['[a site](https://example.com)', 'a site (https://example.com)'],
])('%j', (markdown, expected) => {
  expect(inline(markdown)).toBe(expected)
})

test('sections end where the next of their level begins, and fences hold no headings', () => {
  const all = blocks(DOCUMENT)
  expect(titles(all)).toEqual(['One', 'Two'])
  expect(convert(introduction(all))).toEqual(['.PP', 'First.'])
  expect(convert(section(all, 'One'))).toEqual([
    ...['.PP', 'Text.', '.SS Part'],
    ...['.PP', '.RS 4', '.EX', '## no heading', '.EE', '.RE'],
  ])
  expect(convert(section(all, 'Two'))).toEqual(['.PP', 'Last.'])
  expect(() => section(all, 'Three')).toThrow('there is no section "Three"')
})

test('lists keep their numbers, and what belongs to an item is indented', () => {
  expect(roff('- one\n  more\n- two\n\n  ```\n  x\n  ```')).toBe(
    '.IP \\(bu 2\none more\n.IP \\(bu 2\ntwo\n.RS\n.PP\n.RS 4\n.EX\nx\n.EE\n.RE\n.RE',
  )
  expect(roff('3. three\n4. four')).toBe('.IP 3. 3\nthree\n.IP 4. 3\nfour')
})

test('tables are lists of definitions, whose columns are named where there are several', () => {
  expect(roff('| A | B |\n|---|---|\n| `x` | y |')).toBe('.TP\n\\fB\\%x\\fR\ny')
  expect(roff('| A | B | C |\n|---|---|---|\n| x | y \\| y | |\n| u | v | w |')).toBe(
    '.TP\nx\nB: y | y\n.TP\nu\nB: v\n.br\nC: w',
  )
})

test('comments are left out, and what announces a block that is dropped ends there', () => {
  const text = 'A list:\n\n<!-- keys: x -->\n\n| A |\n|---|\n| x |\n\n<!-- end of keys -->\n\nMore.'
  expect(roff(text, { drop: ({ type }: { type: string }) => type === 'table' })).toBe('.PP\nA list.\n.PP\nMore.')
})

test('a form that manual pages do not have is refused, not left out', () => {
  expect(() => roff('> quoted')).toThrow('manual pages have nothing for blockquote')
  expect(() => inline('![picture](x.svg)')).toThrow('manual pages have nothing for image')
})
