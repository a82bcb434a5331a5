/** Where whole segments of device memory come from: 0 where there is no room. */
export interface SegmentSource {
  allocate(bytes: number): number;
  release(address: number): void;
}

/** A part of a segment, handed out or free. */
export interface Block {
  readonly address: number;
  readonly bytes: number;
}

interface Part extends Block {
  bytes: number;
  isFree: boolean;
  /** Where it lies among all parts: by segments, in the order in which they were taken. Addresses are the driver's, and others in every process. */
  readonly order: number;
  readonly pool: Part[];
  /** Neighbours in the segment. */
  before: Part | undefined;
  after: Part | undefined;
}

const UNIT = 512;
const SMALL = 2 ** 20;
const SMALL_SEGMENT = 2 * 2 ** 20;
const LARGE_SEGMENT = 32 * 2 ** 20;
/** More than any device has. */
const LARGEST_SEGMENT = 2 ** 38;
/** From here on a free part serves without being asked for again of the driver only if it is at most so many times as large. */
const HUGE = 2 ** 31;
const MOST_OF_HUGE = 1.125;

const roundUp = (n: number, unit: number): number => Math.ceil(n / unit) * unit;

const nothing: Block = { address: 0, bytes: 0 };

/**
 * Device memory kept for reuse: a call to the driver costs microseconds and waits for the device. Small blocks share segments
 * of 2 MiB, large ones have 32 MiB or what they need; the smallest free block that fits is cut, and free neighbours join again; two
 * gibibytes and more have segments of their own.
 * All work is on one stream, so what is freed may be handed out at once: its next user runs after its last. What is copied beside it
 * (hostCopies.ts) is freed when the stream has been told to wait for the copy.
 */
export class CachingAllocator {
  readonly #source: SegmentSource;
  readonly #small: Part[] = [];
  readonly #large: Part[] = [];
  /** Bytes taken from the driver. */
  reservedBytes = 0;
  peakReservedBytes = 0;
  /** Bytes handed out, rounded up as they are. */
  usedBytes = 0;
  peakUsedBytes = 0;
  liveBlocks = 0;
  #segments = 0;

  constructor(source: SegmentSource) {
    this.#source = source;
  }

  /** A block of at least `bytes`, aligned to 512. Throws RangeError where the device has no room. */
  allocate(bytes: number): Block {
    if (bytes === 0) return nothing;
    const size = roundUp(bytes, UNIT);
    const isSmall = size < SMALL;
    const pool = isSmall ? this.#small : this.#large;
    const part = this.#partOf(size, pool);
    const rest = part.bytes - size;
    if (rest >= (isSmall ? UNIT : SMALL)) {
      const [address, order] = [part.address + size, part.order + size];
      const after: Part = { ...part, address, order, bytes: rest, before: part };
      if (part.after !== undefined) part.after.before = after;
      part.after = after;
      part.bytes = size;
      put(pool, after);
    }
    part.isFree = false;
    this.usedBytes += part.bytes;
    this.peakUsedBytes = Math.max(this.peakUsedBytes, this.usedBytes);
    this.liveBlocks++;
    return part;
  }

  /** Starts new measurements of both peaks from the present state. */
  resetPeaks(): void {
    this.peakUsedBytes = this.usedBytes;
    this.peakReservedBytes = this.reservedBytes;
  }

  free(block: Block): void {
    if (block === nothing) return;
    let part = block as Part;
    if (part.isFree) throw new Error(`device memory at ${part.address} is freed twice`);
    this.usedBytes -= part.bytes;
    this.liveBlocks--;
    part.isFree = true;
    const { before, after } = part;
    if (after?.isFree === true) {
      remove(part.pool, after);
      join(part, after);
    }
    if (before?.isFree === true) {
      remove(part.pool, before);
      join(before, part);
      part = before;
    }
    put(part.pool, part);
  }

  /** Gives segments of which nothing is in use back to the driver. */
  releaseCached(): void {
    for (const pool of [this.#small, this.#large]) {
      const whole = pool.filter((part) => part.before === undefined && part.after === undefined);
      for (const part of whole) {
        remove(pool, part);
        this.#source.release(part.address);
        this.reservedBytes -= part.bytes;
      }
    }
  }

  /**
   * Where a few blocks fill the device, one cut out of a much larger one leaves a rest that the next of that size cannot use, and one that stays keeps
   * all of it. So a huge part is cut, for less than it holds, only where the driver has no room, even for what nobody uses any more.
   */
  #partOf(size: number, pool: Part[]): Part {
    const most = size < HUGE ? HUGE : size * MOST_OF_HUGE;
    const fits = take(pool, size, most) ?? this.#segment(size, pool);
    if (fits !== undefined) return fits;
    const cut = take(pool, size);
    const isWhole = cut?.before === undefined && cut?.after === undefined;
    if (cut !== undefined && !isWhole) return cut;
    if (cut !== undefined) put(pool, cut);
    this.releaseCached();
    return this.#newSegment(size, pool);
  }

  #newSegment(size: number, pool: Part[]): Part {
    const part = this.#segment(size, pool);
    if (part === undefined) throw new RangeError(`the device has no ${size} bytes left`);
    return part;
  }

  #segment(size: number, pool: Part[]): Part | undefined {
    const bytes =
      size < SMALL ? SMALL_SEGMENT : size < LARGE_SEGMENT / 2 ? LARGE_SEGMENT : roundUp(size, SMALL_SEGMENT);
    const address = this.#source.allocate(bytes);
    if (address === 0) return undefined;
    this.reservedBytes += bytes;
    this.peakReservedBytes = Math.max(this.peakReservedBytes, this.reservedBytes);
    const order = LARGEST_SEGMENT * this.#segments++;
    return { address, bytes, isFree: true, order, pool, before: undefined, after: undefined };
  }
}

/** Free parts are ordered by size, then place. */
const isBelow = (a: Part, bytes: number, order: number): boolean =>
  a.bytes < bytes || (a.bytes === bytes && a.order < order);

function positionOf(pool: readonly Part[], bytes: number, order: number): number {
  let [low, high] = [0, pool.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (isBelow(pool[middle]!, bytes, order)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The smallest free part of at least `bytes`, and at most `most`. */
function take(pool: Part[], bytes: number, most: number = Number.POSITIVE_INFINITY): Part | undefined {
  const at = positionOf(pool, bytes, 0);
  return at === pool.length || pool[at]!.bytes > most ? undefined : pool.splice(at, 1)[0];
}

const put = (pool: Part[], part: Part): void => {
  pool.splice(positionOf(pool, part.bytes, part.order), 0, part);
};
const remove = (pool: Part[], part: Part): void => {
  pool.splice(positionOf(pool, part.bytes, part.order), 1);
};

function join(first: Part, second: Part): void {
  first.bytes += second.bytes;
  first.after = second.after;
  if (second.after !== undefined) second.after.before = first;
}
