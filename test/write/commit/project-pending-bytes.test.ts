import { describe, expect, it } from 'vitest'
import { ProjectPendingBytes } from '../../../src/write/commit/project-pending-bytes.ts'

describe('the share of a project', () => {
  it('is the whole bound while it is alone, and an equal part beside others', () => {
    const shares = new ProjectPendingBytes()
    shares.add('a', 99)
    expect(shares.hasUsedEqualShare('a', 100)).toBe(false)
    shares.add('a', 1)
    expect(shares.hasUsedEqualShare('a', 100)).toBe(true)
    shares.add('b', 49)
    expect(shares.hasUsedEqualShare('b', 100)).toBe(false)
    shares.add('b', 1)
    expect(shares.hasUsedEqualShare('b', 100)).toBe(true)
  })

  it('is free for a project that has nothing waiting, however much others have', () => {
    const shares = new ProjectPendingBytes()
    shares.add('a', 1_000_000)
    expect(shares.hasUsedEqualShare('b', 100)).toBe(false)
  })

  it('is given back when requests end', () => {
    const shares = new ProjectPendingBytes()
    shares.add('a', 70)
    shares.add('a', 70)
    shares.add('a', -70)
    shares.add('a', -70)
    shares.add('b', 99)
    expect(shares.hasUsedEqualShare('b', 100)).toBe(false)
  })
})
