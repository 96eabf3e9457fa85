/** Whether the chart pane is open, and how high it is; remembered in this browser. */
export interface PaneSize {
  readonly isOpen: boolean
  readonly heightPx: number
}

export const PANE_PX_MIN = 120
export const PANE_PX_MAX = 1_200
export const PANE_STEP_PX = 24
const DEFAULT: PaneSize = { isOpen: true, heightPx: 360 }
const STORED = 'gaugeql:chart-pane'

export function readPaneSize(storage: Pick<Storage, 'getItem'>): PaneSize {
  try {
    const { isOpen, heightPx }: Partial<PaneSize> = JSON.parse(storage.getItem(STORED) ?? '{}')
    return {
      isOpen: typeof isOpen === 'boolean' ? isOpen : DEFAULT.isOpen,
      heightPx: typeof heightPx === 'number' ? clampHeight(heightPx) : DEFAULT.heightPx,
    }
  } catch {
    return DEFAULT
  }
}

export function storePaneSize(storage: Pick<Storage, 'setItem'>, size: PaneSize): void {
  storage.setItem(STORED, JSON.stringify(size))
}

export function clampHeight(heightPx: number): number {
  return Math.round(Math.min(Math.max(heightPx, PANE_PX_MIN), PANE_PX_MAX))
}
