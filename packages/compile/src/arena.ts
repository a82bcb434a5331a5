import type { Backend, Engine, GraphMemory } from "@revnet-zero/tensor";
import { type Lifetime, place } from "./placement.ts";
import type { MadeSlot } from "./replay.ts";

interface Piece {
  readonly data: unknown;
  readonly start: number;
  readonly bytes: number;
}

/**
 * The memory that the graphs of an engine share, planned before it is asked for: pieces one behind the other, another whenever a graph needs
 * more than there is. In the ledger as workspace.
 */
export class Arena {
  readonly #engine: Engine;
  readonly memory: GraphMemory<unknown>;
  readonly #pieces: Piece[] = [];

  constructor(engine: Engine, onRevoked: () => void) {
    this.#engine = engine;
    this.memory = (engine.backend as Required<Backend>).openGraphs(onRevoked);
  }

  get #bytes(): number {
    const last = this.#pieces.at(-1);
    return last === undefined ? 0 : last.start + last.bytes;
  }

  /** Where a graph's buffers lie. Throws RangeError where there is no room. */
  place(lifetimes: readonly Lifetime<MadeSlot>[]): (slot: MadeSlot) => unknown {
    const { offsets, bytes } = place(
      lifetimes,
      this.#pieces.map(({ start, bytes }) => start + bytes),
    );
    const start = this.#bytes;
    if (bytes > start) {
      const piece = { data: this.memory.allocate(bytes - start), start, bytes: bytes - start };
      this.#pieces.push(piece);
      this.#engine.ledger.allocated("workspace", piece.bytes);
    }
    return (slot) => {
      const offset = offsets.get(slot)!;
      const piece = this.#pieces.findLast((p) => p.start <= offset)!;
      return this.memory.part(piece.data, offset - piece.start, this.#engine.bytesOf(slot.dtype, slot.elements));
    };
  }

  dispose(): void {
    for (const { bytes } of this.#pieces.splice(0)) this.#engine.ledger.freed("workspace", bytes);
    this.memory.dispose();
  }
}
