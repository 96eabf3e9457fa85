/** Whether the chart pane is open, and its height. Kept in the browser's local storage. */
export interface PaneSize {
  readonly isOpen: boolean
  readonly heightPx: number
}

export const PANE_PX_MIN = 120
export const PANE_PX_MAX = 1_200
export const PANE_STEP_PX = 24
const DEFAULT_SIZE: PaneSize = { isOpen: true, heightPx: 360 }
const STORAGE_KEY = 'gaugeql:chart-pane'

export function readPaneSize(storage: Pick<Storage, 'getItem'>): PaneSize {
  try {
    const { isOpen, heightPx }: Partial<PaneSize> = JSON.parse(storage.getItem(STORAGE_KEY) ?? '{}')
    return {
      isOpen: typeof isOpen === 'boolean' ? isOpen : DEFAULT_SIZE.isOpen,
      heightPx: typeof heightPx === 'number' ? clampHeight(heightPx) : DEFAULT_SIZE.heightPx,
    }
  } catch {
    return DEFAULT_SIZE
  }
}

export function storePaneSize(storage: Pick<Storage, 'setItem'>, size: PaneSize): void {
  storage.setItem(STORAGE_KEY, JSON.stringify(size))
}

export function clampHeight(heightPx: number): number {
  return Math.round(Math.min(Math.max(heightPx, PANE_PX_MIN), PANE_PX_MAX))
}
