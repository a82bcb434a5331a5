interface Gap {
  start: number;
  bytes: number;
}

/** Which parts of a file are in use: first fit, with neighbouring gaps joined, so that a file grows to what is needed at once. */
export class FileSpace {
  readonly limitBytes: number;
  /** In order of their starts; no two touch. */
  readonly #gaps: Gap[] = [];
  #end = 0;
  #usedBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }
  /** Length of the file: what was in use at most, gaps included. */
  get endBytes(): number {
    return this.#end;
  }

  /** Where so many bytes may be put; undefined where the limit would be exceeded. */
  take(bytes: number): number | undefined {
    const i = this.#gaps.findIndex((gap) => gap.bytes >= bytes);
    if (i < 0 && this.#end + bytes > this.limitBytes) return undefined;
    this.#usedBytes += bytes;
    if (i < 0) {
      this.#end += bytes;
      return this.#end - bytes;
    }
    const gap = this.#gaps[i]!;
    const { start } = gap;
    gap.start += bytes;
    gap.bytes -= bytes;
    if (gap.bytes === 0) this.#gaps.splice(i, 1);
    return start;
  }

  give(start: number, bytes: number): void {
    if (bytes === 0) return;
    this.#usedBytes -= bytes;
    const next = this.#gaps.findIndex((gap) => gap.start > start);
    const i = next < 0 ? this.#gaps.length : next;
    const [before, after] = [this.#gaps[i - 1], this.#gaps[i]];
    const joinsBefore = before !== undefined && before.start + before.bytes === start;
    const joinsAfter = after !== undefined && start + bytes === after.start;
    if (joinsBefore) {
      before.bytes += bytes + (joinsAfter ? after.bytes : 0);
      if (joinsAfter) this.#gaps.splice(i, 1);
    } else if (joinsAfter) {
      after.start = start;
      after.bytes += bytes;
    } else this.#gaps.splice(i, 0, { start, bytes });
    // What is free at the end is no part of the file's bound.
    const last = this.#gaps.at(-1);
    if (last !== undefined && last.start + last.bytes === this.#end) {
      this.#end = last.start;
      this.#gaps.pop();
    }
  }
}
