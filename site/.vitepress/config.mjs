// The site: the pages that scripts/docs.mjs has made of the repository's, with the groups of docs/index.md on the side.
import { contents, slugOf } from '../../scripts/lib/site.mjs'

const groups = contents()

export default {
  title: 'xdp',
  description: 'Declarative config-as-code for XDP on Linux',
  lang: 'en',
  srcDir: 'pages',
  outDir: '../build/site',
  cacheDir: '../build/site-cache',
  rewrites: { 'README.md': 'index.md' },
  // Works from any directory of a web server, and from a file system with a small server.
  base: process.env.DOCS_BASE ?? '/',
  markdown: { anchor: { slugify: slugOf }, theme: { light: 'github-light', dark: 'github-dark' } },
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    sidebar: groups.map((group) => ({ ...group, collapsed: false })),
    nav: [
      ...groups.map(({ text, items }) => ({ text, link: items[0].link })),
      { text: 'Changelog', link: '/CHANGELOG' },
    ],
  },
}
