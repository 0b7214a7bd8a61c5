// Text tables for an 80-column terminal.

export interface Column {
  readonly title: string
  readonly align?: 'left' | 'right'
}

/** Formats rows under titles, with two spaces between columns and no trailing blanks. Returns one string per line. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string[] {
  const widths = columns.map(({ title }, at) =>
    rows.reduce((width, row) => Math.max(width, row[at]?.length ?? 0), title.length),
  )
  const line = (cells: readonly string[]): string =>
    columns
      .map(({ align }, at) => {
        const cell = cells[at] ?? ''
        return align === 'right' ? cell.padStart(widths[at] as number) : cell.padEnd(widths[at] as number)
      })
      .join('  ')
      .trimEnd()
  return [line(columns.map(({ title }) => title)), ...rows.map(line)]
}
