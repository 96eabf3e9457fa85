import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'

/**
 * One line of the report. Ratios of one run are comparable; absolute numbers hold for this machine at this time only.
 */
export interface Row {
  readonly section: string
  readonly name: string
  readonly measured: number
  readonly unit: string
  /** The floor of the same run, in the same unit. */
  readonly floor?: number
  /** Bounds the ratio to the floor if there is one, otherwise the measured number. */
  readonly budget?: number
  readonly note?: string
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >>> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The values must be sorted in ascending order. */
export function percentile(ascending: Float64Array, share: number): number {
  return ascending[Math.min(ascending.length - 1, Math.floor(ascending.length * share))]!
}

export class Report {
  readonly rows: Row[] = []

  add(row: Row): void {
    this.rows.push(row)
    process.stderr.write(
      `  ${row.name}: ${formatted(row.measured)} ${row.unit}${row.note === undefined ? '' : `  (${row.note})`}\n`,
    )
  }

  print(): void {
    const head = ['', 'measured', 'unit', 'floor', 'ratio', 'budget', 'within', '']
    let section = ''
    const lines: string[][] = [head]
    for (const row of this.rows) {
      if (row.section !== section) lines.push([(section = row.section)])
      const ratio = row.floor === undefined ? '' : formatted(row.measured / row.floor)
      const within = row.budget === undefined ? '' : isWithin(row) ? 'yes' : 'NO'
      const bound = row.budget === undefined ? '' : `${row.floor === undefined ? '' : '× '}${row.budget}`
      const floor = row.floor === undefined ? '' : formatted(row.floor)
      lines.push([`  ${row.name}`, formatted(row.measured), row.unit, floor, ratio, bound, within, row.note ?? ''])
    }
    const widths = head.map((_, column) =>
      Math.max(...lines.map((line) => (line.length === 1 ? 0 : (line[column]?.length ?? 0)))),
    )
    for (const line of lines) {
      const cells = line.map((cell, column) =>
        isNumeric(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
      )
      process.stdout.write(`${cells.join('  ').trimEnd()}\n`)
    }
  }

  save(folder: string, date: Date, quick: boolean): string {
    mkdirSync(folder, { recursive: true })
    const path = join(folder, `${fileStampOf(date)}.json`)
    const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version }
    const rows = this.rows.map((row) => ({
      ...row,
      ...(row.floor === undefined ? {} : { ratio: row.measured / row.floor }),
      ...(row.budget === undefined ? {} : { within: isWithin(row) }),
    }))
    writeFileSync(path, `${JSON.stringify({ date: date.toISOString(), quick, machine, rows }, undefined, 2)}\n`)
    return path
  }
}

export function fileStampOf(date: Date): string {
  return date.toISOString().replaceAll(':', '-').slice(0, 19)
}

function isWithin({ measured, floor, budget }: Row): boolean {
  return budget !== undefined && (floor === undefined ? measured : measured / floor) <= budget
}

function isNumeric(column: number): boolean {
  return column === 1 || (column >= 3 && column <= 5)
}

function formatted(value: number): string {
  if (value >= 1_000) return Math.round(value).toLocaleString('en-US')
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)
}
