import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { Page } from 'playwright-core'

/** What tests read of a page with charts: pixels of the canvas, numbers of the legend, faults of accessibility. */

/** Per canvas, how many pixels have the colour of the first line, and a text that changes with the picture. */
export interface Picture {
  readonly linePixels: number
  readonly image: string
}

export function picturesOf(page: Page): Promise<readonly Picture[]> {
  return page.evaluate<readonly Picture[]>(`[...document.querySelectorAll('.plot canvas')].map((canvas) => {
    const hex = getComputedStyle(canvas).getPropertyValue('--line-0').trim()
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16))
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height)
    let linePixels = 0
    for (let at = 0; at < data.length; at += 4) {
      const distance = Math.abs(data[at] - r) + Math.abs(data[at + 1] - g) + Math.abs(data[at + 2] - b)
      if (data[at + 3] > 200 && distance < 24) linePixels++
    }
    return { linePixels, image: canvas.toDataURL() }
  })`)
}

export interface LegendRow {
  readonly label: string
  /** Of the whole range. */
  readonly total: number | null
  readonly last: number | null
}

export function legendOf(page: Page): Promise<readonly LegendRow[]> {
  return page.evaluate<readonly LegendRow[]>(`[...document.querySelectorAll('.legend tbody tr')].map((row) => {
    const [total, last] = [...row.querySelectorAll('td')].map(({ dataset: { value } }) => (value === '' ? null : Number(value)))
    return { label: row.querySelector('th').innerText.trim(), total, last }
  })`)
}

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

/** Serious and critical faults that axe-core finds within `selector`. */
export async function accessibilityFaults(page: Page, selector = 'html'): Promise<readonly string[]> {
  await page.evaluate(AXE)
  return page.evaluate<readonly string[]>(`axe.run(${JSON.stringify(selector)}).then(({ violations }) =>
    violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => id + ': ' + nodes.map(({ target }) => target.join(' ')).join(', ')))`)
}

/** Presses and releases the mouse button as a person does. */
export async function clickSlowly(page: Page, x: number, y: number): Promise<void> {
  await page.mouse.move(x, y)
  await page.mouse.down()
  await page.waitForTimeout(150)
  await page.mouse.up()
}
