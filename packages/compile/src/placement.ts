/** A buffer that is needed from one instruction to another, both included. */
export interface Lifetime<T> {
  readonly of: T;
  readonly bytes: number;
  readonly first: number;
  readonly last: number;
}

export interface Placement<T> {
  readonly offsets: ReadonlyMap<T, number>;
  /** Where the last of them ends. */
  readonly bytes: number;
}

/** What buffers begin at: as devices' allocators have it. */
const UNIT = 512;

/** Instructions that share a list of the buffers placed among them. */
const NEIGHBOURS = 32;

interface Placed {
  readonly start: number;
  readonly end: number;
  readonly first: number;
  readonly last: number;
}

/**
 * Puts buffers into one memory so that none that are needed at the same time overlap: the largest first, each at the lowest offset that is
 * free while it is needed. None crosses a boundary (offsets, ascending): memory comes in pieces, the last of which has no end.
 * Source: Pisarchyk & Lee 2020 (arXiv:2001.03288), "greedy by size for offset calculation".
 */
export function place<T>(lifetimes: readonly Lifetime<T>[], boundaries: readonly number[] = []): Placement<T> {
  const near = new Map<number, Placed[]>();
  const offsets = new Map<T, number>();
  let bytes = 0;
  for (const one of lifetimes.toSorted((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    const { of, first, last } = one;
    const size = Math.ceil(one.bytes / UNIT) * UNIT;
    const start = lowest(size, others(near, first, last), boundaries);
    const placed = { start, end: start + size, first, last };
    for (let at = neighbourhood(first); at <= neighbourhood(last); at++) {
      if (!near.has(at)) near.set(at, []);
      near.get(at)!.push(placed);
    }
    offsets.set(of, start);
    bytes = Math.max(bytes, placed.end);
  }
  return { offsets, bytes };
}

const neighbourhood = (instruction: number): number => Math.floor(instruction / NEIGHBOURS);

/** What is needed while these instructions run, by offset. */
function others(near: ReadonlyMap<number, readonly Placed[]>, first: number, last: number): Placed[] {
  const found = new Set<Placed>();
  for (let at = neighbourhood(first); at <= neighbourhood(last); at++)
    for (const p of near.get(at) ?? []) if (p.first <= last && p.last >= first) found.add(p);
  return [...found].sort((a, b) => a.start - b.start);
}

function lowest(size: number, taken: readonly Placed[], boundaries: readonly number[]): number {
  let start = within(0, size, boundaries);
  for (const p of taken) {
    if (start + size <= p.start) break;
    if (p.end > start) start = within(p.end, size, boundaries);
  }
  return start;
}

/** The place itself or, where a boundary would be crossed from there, the first behind one. */
function within(start: number, size: number, boundaries: readonly number[]): number {
  let at = start;
  for (const b of boundaries) if (at < b && at + size > b) at = b;
  return at;
}
