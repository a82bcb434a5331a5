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

/** Instructions that share a list of the short-lived buffers placed among them; those of longer lives lie in one list. */
const NEIGHBOURS = 64;

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
  const taken = new Taken();
  const offsets = new Map<T, number>();
  let bytes = 0;
  for (const one of lifetimes.toSorted((a, b) => b.bytes - a.bytes || a.first - b.first)) {
    const { of, first, last } = one;
    const size = Math.ceil(one.bytes / UNIT) * UNIT;
    const start = taken.lowest(size, first, last, boundaries);
    taken.add({ start, end: start + size, first, last });
    offsets.set(of, start);
    bytes = Math.max(bytes, start + size);
  }
  return { offsets, bytes };
}

const neighbourhood = (instruction: number): number => Math.floor(instruction / NEIGHBOURS);
const isLong = (first: number, last: number): boolean => last - first > 2 * NEIGHBOURS;

/**
 * What is placed, by offset. Most buffers live for a few instructions and meet few others: they look those up where they live. Without that a
 * step of 400 layers takes a minute to plan.
 */
class Taken {
  readonly #long: Placed[] = [];
  readonly #short: Placed[] = [];
  readonly #near = new Map<number, Placed[]>();

  add(p: Placed): void {
    if (isLong(p.first, p.last)) {
      insert(this.#long, p);
      return;
    }
    insert(this.#short, p);
    for (let at = neighbourhood(p.first); at <= neighbourhood(p.last); at++) {
      if (!this.#near.has(at)) this.#near.set(at, []);
      insert(this.#near.get(at)!, p);
    }
  }

  /** The lowest offset from which so many bytes are free during these instructions. */
  lowest(size: number, first: number, last: number, boundaries: readonly number[]): number {
    const shorts = isLong(first, last) ? this.#short : this.#meeting(first, last);
    let start = within(0, size, boundaries);
    for (let i = 0, j = 0; i < this.#long.length || j < shorts.length; ) {
      const [a, b] = [this.#long[i], shorts[j]];
      const isA = b === undefined || (a !== undefined && a.start <= b.start);
      const p = isA ? a! : b;
      if (isA) i++;
      else j++;
      if (p.first > last || p.last < first) continue;
      if (start + size <= p.start) break;
      if (p.end > start) start = within(p.end, size, boundaries);
    }
    return start;
  }

  /** Short-lived ones that may be needed during these instructions. */
  #meeting(first: number, last: number): readonly Placed[] {
    const [from, to] = [neighbourhood(first), neighbourhood(last)];
    if (from === to) return this.#near.get(from) ?? [];
    const found = new Set<Placed>();
    for (let at = from; at <= to; at++) for (const p of this.#near.get(at) ?? []) found.add(p);
    return [...found].sort((a, b) => a.start - b.start);
  }
}

function insert(list: Placed[], p: Placed): void {
  let [low, high] = [0, list.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle]!.start <= p.start) low = middle + 1;
    else high = middle;
  }
  list.splice(low, 0, p);
}

/** The place itself or, where a boundary would be crossed from there, the first behind one. */
function within(start: number, size: number, boundaries: readonly number[]): number {
  let at = start;
  for (const b of boundaries) if (at < b && at + size > b) at = b;
  return at;
}
