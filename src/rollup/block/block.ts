import { crc32, inflateRawSync } from 'node:zlib'
import { compareIds, type Id64 } from '../../model/id.ts'
import { ByteReader } from '../../sketch/varint.ts'
import type { Arena } from '../arena.ts'
import {
  BLOCK_ROWS_MAX,
  BLOCK_VERSION,
  BlockError,
  BlockVersionError,
  CHECKSUM_BYTES,
  FLAG_DEFLATED,
  INFLATED_BYTES_MAX,
  SCALARS_MAGIC,
  SKETCHES_MAGIC,
  withBlockErrors,
} from './block-format.ts'
import { BlockMemory, BUFFER_OBJECT_BYTES, VIEW_OBJECT_BYTES } from './block-memory.ts'
import { MetricSection, type SectionHead } from './metric-section.ts'

/**
 * Decodes a block: many rollups of one resolution, sorted by metric, series and bucket, encoded once and never changed.
 * A block has up to two byte strings, because a query of sums needs no bins: one has the bins of distributions
 * ("sketches"), the other everything else ("scalars"). Opening a block verifies the checksum and parses the directory.
 * A column is decoded when it is read first. `docs/storage-format.md` describes every byte.
 */

export { BlockError, BlockVersionError } from './block-format.ts'
export type { MetricSection } from './metric-section.ts'

export interface Block {
  readonly name: string
  readonly resolutionMs: number
  /** The sections in ascending order of metric ids. */
  readonly sections: readonly MetricSection[]
  section(metricId: Id64): MetricSection | undefined
  /**
   * Memory of the block's buffers and objects. It grows when columns are decoded, unless they are in an arena, and when
   * sketches are attached.
   */
  readonly memory: Pick<BlockMemory, 'bytes' | 'onGrowth'>
  /** Whether some rows have bins, which are in the sketch string. */
  readonly needsSketches: boolean
  /** Whether the block needs its sketch string and `attachSketches` has accepted it. */
  readonly areSketchesAttached: boolean
  /**
   * Verifies the sketch string of the block and gives the bins in it to the sections. Throws a BlockError if the string
   * is damaged, has an unknown version or belongs to another block. Does nothing if the sketches are already attached.
   */
  attachSketches(bytes: Uint8Array): void
}

/**
 * Opens a block. Throws a BlockError if the bytes are damaged or have an unknown version. The caller must not change
 * the bytes afterwards: columns are decoded from them later. If an arena is given, columns are allocated in it and must
 * not be read after the arena is released.
 */
export function openBlock(name: string, scalars: Uint8Array, arena?: Arena): Block {
  return new DecodedBlock(name, scalars, arena)
}

/** The content of a scalars string or sketch string whose checksum is right. */
interface VerifiedString {
  /** What is between the head and the checksum, decompressed. */
  readonly body: Uint8Array
  readonly checksum: number
  /** In a sketch string: the checksum of the scalars of the same block. In a scalars string: 0. */
  readonly scalarsChecksum: number
}

function verifyAndInflate(
  name: string,
  magic: readonly number[],
  isSketches: boolean,
  bytes: Uint8Array,
): VerifiedString {
  const what = isSketches ? 'sketches' : 'scalars'
  const headBytes = magic.length + 2 + (isSketches ? 4 : 0)
  if (bytes.length < headBytes + CHECKSUM_BYTES) throw new BlockError(name, `${what} cut short: ${bytes.length} bytes`)
  if (magic.some((byte, i) => bytes[i] !== byte)) throw new BlockError(name, `not the ${what} of a block`)
  const version = bytes[magic.length]!
  if (version !== BLOCK_VERSION) {
    throw new BlockVersionError(name, `${what} of version ${version}; this gateway reads version ${BLOCK_VERSION}`)
  }
  const checksumOffset = bytes.length - CHECKSUM_BYTES
  const checksum = crc32(bytes.subarray(0, checksumOffset))
  if (new ByteReader(bytes, checksumOffset).u32le() !== checksum)
    throw new BlockError(name, `${what} damaged: the checksum differs`)
  const flags = bytes[magic.length + 1]!
  if ((flags & ~FLAG_DEFLATED) !== 0) throw new BlockError(name, `${what} with unknown flags ${flags}`)
  const scalarsChecksum = isSketches ? new ByteReader(bytes, magic.length + 2).u32le() : 0
  const content = bytes.subarray(headBytes, checksumOffset)
  if (flags === 0) return { body: content, checksum, scalarsChecksum }
  return withBlockErrors(
    name,
    () => `inflating ${what}`,
    () => {
      const reader = new ByteReader(content)
      const length = reader.varint()
      if (length > INFLATED_BYTES_MAX) throw new RangeError(`${length} bytes announced`)
      const body = inflateRawSync(reader.subarray(reader.remaining), { maxOutputLength: Math.max(1, length) })
      if (body.length !== length) throw new RangeError(`${body.length} bytes instead of ${length}`)
      return { body, checksum, scalarsChecksum }
    },
  )
}

/** Approximate heap memory of a `DecodedBlock` and its name, without sections and columns. */
const BLOCK_OBJECT_BYTES = 500

class DecodedBlock implements Block {
  readonly name: string
  readonly resolutionMs: number
  readonly sections: readonly MetricSection[]
  readonly needsSketches: boolean
  readonly memory: BlockMemory
  readonly #scalarsChecksum: number
  #areSketchesAttached = false

  constructor(name: string, scalars: Uint8Array, arena: Arena | undefined) {
    this.name = name
    this.memory = new BlockMemory(arena)
    const { body, checksum } = verifyAndInflate(name, SCALARS_MAGIC, false, scalars)
    this.#scalarsChecksum = checksum
    this.memory.addBytes(
      Math.max(body.length, scalars.length) + BLOCK_OBJECT_BYTES + BUFFER_OBJECT_BYTES + VIEW_OBJECT_BYTES,
    )
    const reader = new ByteReader(body)
    const [resolutionMs, sections] = withBlockErrors(
      name,
      () => 'directory',
      () => this.#readDirectory(reader),
    )
    this.resolutionMs = resolutionMs
    this.sections = sections
    this.needsSketches = sections.some((section) => section.needsSketches)
  }

  get areSketchesAttached(): boolean {
    return this.#areSketchesAttached
  }

  section(metricId: Id64): MetricSection | undefined {
    let low = 0
    let high = this.sections.length - 1
    while (low <= high) {
      const middle = (low + high) >>> 1
      const section = this.sections[middle]!
      const order = compareIds(section.metricId, metricId)
      if (order === 0) return section
      if (order < 0) low = middle + 1
      else high = middle - 1
    }
    return undefined
  }

  attachSketches(bytes: Uint8Array): void {
    if (this.#areSketchesAttached) return
    const { body, scalarsChecksum } = verifyAndInflate(this.name, SKETCHES_MAGIC, true, bytes)
    if (scalarsChecksum !== this.#scalarsChecksum) throw new BlockError(this.name, 'sketches of another block')
    withBlockErrors(
      this.name,
      () => 'sketch directory',
      () => {
        const binsBySection = new Map<MetricSection, Uint8Array>()
        const reader = new ByteReader(body)
        while (reader.remaining > 0) {
          const section = this.sections[reader.varint()]
          if (section?.needsSketches !== true || binsBySection.has(section))
            throw new RangeError('bins of a section that has none, or twice')
          binsBySection.set(section, reader.subarray(reader.varint()))
        }
        for (const section of this.sections) {
          if (section.needsSketches && !binsBySection.has(section)) throw new RangeError('a section lacks its bins')
        }
        for (const [section, bins] of binsBySection) section.attachBins(bins)
        if (binsBySection.size > 0) this.memory.addSketchBytes(Math.max(body.length, bytes.length), binsBySection.size)
      },
    )
    this.#areSketchesAttached = this.needsSketches
  }

  #readDirectory(reader: ByteReader): [number, MetricSection[]] {
    const resolutionMs = reader.varint()
    if (resolutionMs === 0) throw new RangeError('a resolution of 0 ms')
    const sectionCount = reader.varint()
    const heads: SectionHead[] = []
    let bodyBytes = 0
    let rollupCount = 0
    for (let i = 0; i < sectionCount; i++) {
      const metricId = { hi: reader.u32le(), lo: reader.u32le() }
      const flags = reader.u8()
      const head = {
        metricId,
        flags,
        length: reader.varint(),
        seriesCount: reader.varint(),
        encodedBytes: reader.varint(),
      }
      const previous = heads.at(-1)
      if (previous !== undefined && compareIds(previous.metricId, metricId) >= 0)
        throw new RangeError('metrics out of order')
      rollupCount += head.length
      bodyBytes += head.encodedBytes
      if (head.seriesCount < 1 || head.seriesCount > head.length || head.seriesCount * 8 > head.encodedBytes) {
        throw new RangeError(`${head.seriesCount} series of ${head.length} rollups in ${head.encodedBytes} bytes`)
      }
      heads.push(head)
    }
    if (rollupCount > BLOCK_ROWS_MAX) throw new RangeError(`${rollupCount} rollups announced`)
    if (bodyBytes !== reader.remaining) throw new RangeError(`${bodyBytes} bytes announced, ${reader.remaining} there`)
    this.memory.sizeSharedBuffersFor(rollupCount)
    const sections = heads.map((head) => {
      const start = reader.offset
      reader.offset += head.encodedBytes
      return new MetricSection(this.name, resolutionMs, this.memory, reader, start, head)
    })
    return [resolutionMs, sections]
  }
}
