// Pages of the repository → pages of the site: the same tree with the same relative links, apart from those to what is no page.
// A file that is no Markdown becomes a page with its text, and a directory one with its entries.
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, extname, join, posix } from 'node:path'
import { at } from './paths.mjs'

const PAGES = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', 'xdp.yaml.example', 'LICENSE']
const DIRECTORIES = ['docs', 'examples', 'schemas']
const PICTURES = new Set(['.svg', '.png'])
const LANGUAGES = {
  '.mjs': 'js',
  '.json': 'json',
  '.yaml': 'yaml',
  '.yml': 'yaml',
  '.example': 'yaml',
  '.service': 'ini',
  '.timer': 'ini',
  '.conf': 'ini',
}

const isDirectory = (path) => statSync(at(path), { throwIfNoEntry: false })?.isDirectory() ?? false
const isFile = (path) => statSync(at(path), { throwIfNoEntry: false })?.isFile() ?? false

/** Every directory and file below one, with its path in the repository. */
function below(directory) {
  const entries = readdirSync(at(directory), { withFileTypes: true }).map((entry) => ({
    path: posix.join(directory, entry.name),
    isDirectory: entry.isDirectory(),
  }))
  return entries.flatMap((entry) => [entry, ...(entry.isDirectory ? below(entry.path) : [])])
}

/** The page that stands for a path of the repository. */
function pageOf(path) {
  if (isDirectory(path)) return posix.join(path, isFile(posix.join(path, 'README.md')) ? 'README.md' : 'index.md')
  return path.endsWith('.md') || PICTURES.has(extname(path)) ? path : `${path}.md`
}

/** Applies `edit` to the parts of a page outside of code blocks. */
const outsideCode = (text, edit) =>
  text
    .split(/^( *```.*?^ *```$)/ms)
    .map((part, i) => (i % 2 === 0 ? edit(part) : part))
    .join('')

/** Every relative link of a page, as `[target, anchor]`. */
export function linksOf(text) {
  const found = []
  outsideCode(text, (part) => {
    for (const [, target = '', anchor = ''] of part.matchAll(/\]\(([^)\s#]*)(?:#([^)\s]*))?\)/g)) {
      if (!/^[a-z]+:/.test(target)) found.push([target, anchor])
    }
    return part
  })
  return found
}

/** The anchor of a heading, as forges make it. */
export const slugOf = (heading) =>
  heading
    .trim()
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N}\p{M}_\- ]/gu, '')
    .replaceAll(' ', '-')

/** The anchors of a page. */
export function anchorsOf(text) {
  const found = []
  outsideCode(text, (part) => {
    for (const [, heading] of part.matchAll(/^#{1,6} (.*)$/gm)) {
      const slug = slugOf(heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1'))
      const before = found.filter((one) => one.replace(/-\d+$/, '') === slug).length
      found.push(before === 0 ? slug : `${slug}-${before}`)
    }
    return part
  })
  return found
}

/** A page whose links lead to pages of the site. */
function relink(text, path) {
  return outsideCode(text, (part) =>
    part.replaceAll(/\]\(([^)\s#]+)(#[^)\s]*)?\)/g, (whole, target, anchor = '') => {
      if (/^[a-z]+:/.test(target)) return whole
      const resolved = posix.join(posix.dirname(path), target)
      const page = posix.relative(posix.dirname(path), pageOf(resolved))
      return `](${page.startsWith('.') ? page : `./${page}`}${anchor})`
    }),
  )
}

/** A page in which Vue takes no braces for a template. */
const literal = (text) => (text.includes('{{') ? `::: v-pre\n\n${text.trimEnd()}\n\n:::\n` : text)

/** The first heading of a page, or its name. */
const titleOf = (path) => /^# (.*)$/m.exec(readFileSync(at(path), 'utf8'))?.[1] ?? basename(path)

const listing = (directory) => {
  const names = readdirSync(at(directory))
    .filter((name) => !PICTURES.has(extname(name)))
    .sort()
  const line = (name) => {
    const path = posix.join(directory, name)
    const title = path.endsWith('.md') ? titleOf(path) : name
    return `- [${title}](./${posix.relative(directory, pageOf(path))})`
  }
  return `# ${directory === 'docs/adr' ? 'Decisions' : directory}\n\n${names.map(line).join('\n')}\n`
}

/** The fence that no line of the text ends. */
const fenced = (text, language) => `~~~~~~${language}\n${text.trimEnd()}\n~~~~~~\n`

/** Writes the pages below `target`. */
export function writePages(target) {
  rmSync(target, { recursive: true, force: true })
  const put = (path, text) => {
    mkdirSync(dirname(join(target, path)), { recursive: true })
    writeFileSync(join(target, path), text)
  }
  const entries = [
    ...PAGES.map((path) => ({ path, isDirectory: false })),
    ...DIRECTORIES.map((path) => ({ path, isDirectory: true })),
    ...DIRECTORIES.flatMap(below),
  ]
  for (const { path, isDirectory: holdsOthers } of entries) {
    const page = pageOf(path)
    if (holdsOthers) {
      if (page.endsWith('/index.md') && !isFile(page)) put(page, listing(path))
    } else if (PICTURES.has(extname(path))) {
      mkdirSync(dirname(join(target, path)), { recursive: true })
      copyFileSync(at(path), join(target, path))
    } else if (page === path) put(path, literal(relink(readFileSync(at(path), 'utf8'), path)))
    else {
      const language = LANGUAGES[extname(path)] ?? 'text'
      put(page, `# ${basename(path)}\n\n${fenced(readFileSync(at(path), 'utf8'), language)}`)
    }
  }
}

/** The groups of docs/index.md, each with its pages. */
export function contents() {
  const [, ...parts] = readFileSync(at('docs/index.md'), 'utf8').split(/^## /m)
  return parts.map((part) => {
    const [text = ''] = part.split('\n')
    const items = [...part.matchAll(/^- \[([^\]]+)\]\(([^)]+)\)/gm)].map(([, title, link]) => ({
      text: title,
      link: `/${pageOf(posix.join('docs', link)).replace(/\.md$/, '')}`,
    }))
    return { text, items }
  })
}
