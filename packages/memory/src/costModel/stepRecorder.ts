import type { BlockObserver } from "@revnet-zero/reversible";
import { type AnyOp, dtypes, type Engine, type Meta, numel, type OpEvent, ops } from "@revnet-zero/tensor";
import type { PlannedChain } from "./chains.ts";

/** Computation and traffic of a part of a step. */
export interface Work {
  readonly flops: number;
  /** Bytes of all operands, read and written. */
  readonly bytes: number;
  readonly ops: number;
}

/** What happened from the begin of a part of a step to its end. */
export interface PassRecord {
  readonly timeMs: number;
  /** Live bytes of the engine where it began, and highest ones. */
  readonly startBytes: number;
  readonly peakBytes: number;
  /** Live bytes where it began, less the gradients that the step had made by then: what others keep for their backward pass. */
  readonly keptBytes: number;
  readonly work: Work;
  /** Bytes that were noted as offloaded meanwhile. */
  readonly offloadedBytes: number;
}

/** A block of a chain, or what lies between chains. */
export interface ItemRecord {
  readonly chain: PlannedChain | undefined;
  readonly block: number;
  readonly forward: PassRecord;
  /** Undefined where the backward pass had nothing to do. */
  readonly backward: PassRecord | undefined;
}

export interface StepRecord {
  readonly items: readonly ItemRecord[];
  /** Highest live bytes. */
  readonly peakBytes: number;
  /** Live bytes where the step begins. */
  readonly startBytes: number;
  readonly timeMs: number;
}

export interface RecordOptions {
  /** Milliseconds. */
  readonly clock: () => number;
  /** Whether work is counted: an event an op. */
  readonly countsWork?: boolean;
}

interface Part {
  timeMs: number;
  readonly startBytes: number;
  readonly keptBytes: number;
  peakBytes: number;
  offloadedBytes: number;
  readonly work: { flops: number; bytes: number; ops: number };
}

interface Item {
  readonly chain: PlannedChain | undefined;
  readonly block: number;
  /** The first node of the graph that its forward pass may have made. */
  readonly firstNode: number;
  readonly forward: Part;
  backward: Part | undefined;
}

/**
 * Runs a forward and a backward pass, and notes for every block, and for what lies between, time, live bytes, and work. The forward pass
 * is cut by the chains' observers; the backward pass by these where blocks are rebuilt, and elsewhere by which block made a node.
 */
export class StepRecorder {
  readonly #engine: Engine;
  readonly #chains: readonly PlannedChain[];
  #current: Part | undefined;

  constructor(engine: Engine, chains: readonly PlannedChain[]) {
    this.#engine = engine;
    this.#chains = chains;
  }

  /** Has the part that is running know of bytes that leave for an offload store. */
  noteOffloaded(bytes: number): void {
    if (this.#current !== undefined) this.#current.offloadedBytes += bytes;
  }

  record(step: () => void, { clock, countsWork = false }: RecordOptions): StepRecord {
    const engine = this.#engine;
    const { ledger } = engine;
    const startBytes = ledger.liveBytes;
    const items: Item[] = [];
    const gradientsBefore = ledger.liveBytesOf("gradients");
    const newPart = (): Part => ({
      timeMs: 0,
      startBytes: ledger.liveBytes,
      keptBytes: ledger.liveBytes - (ledger.liveBytesOf("gradients") - gradientsBefore),
      peakBytes: ledger.liveBytes,
      offloadedBytes: 0,
      work: { flops: 0, bytes: 0, ops: 0 },
    });
    let current: Part = newPart();
    this.#current = current;
    let since = clock();
    let peakBytes = startBytes;
    const start = since;

    const begin = (part: Part): void => {
      const now = clock();
      current.timeMs += now - since;
      peakBytes = Math.max(peakBytes, current.peakBytes);
      since = now;
      current = this.#current = part;
    };
    const beginForward = (chain: PlannedChain | undefined, block: number): void => {
      const forward = newPart();
      items.push({ chain, block, firstNode: engine.nodeCount, forward, backward: undefined });
      begin(forward);
    };
    const beginBackward = (item: Item | undefined): void => {
      if (item === undefined || item.backward !== undefined) return;
      item.backward = newPart();
      begin(item.backward);
    };
    const observerOf = (chain: PlannedChain): BlockObserver => ({
      forward: (block) => (block === chain.numBlocks ? beginForward(undefined, 0) : beginForward(chain, block)),
      backward: (block) => beginBackward(items.findLast((i) => i.chain === chain && i.block === block && !i.backward)),
    });

    beginForward(undefined, 0);
    const observers = this.#chains.map((chain) => {
      const before = chain.observer;
      chain.observer = observerOf(chain);
      return () => {
        chain.observer = before;
      };
    });
    const stops = [
      ledger.watch({
        allocated: () => {
          if (ledger.liveBytes > current.peakBytes) current.peakBytes = ledger.liveBytes;
        },
        moved: () => {},
        freed: () => {},
      }),
      engine.listenToBackward((node) => beginBackward(items.findLast((i) => i.firstNode <= node))),
      ...(countsWork ? [engine.trace.listen((event) => count(event, current))] : []),
      ...observers,
    ];
    try {
      step();
    } finally {
      for (const stop of stops) stop();
    }
    begin(newPart());
    return { items, peakBytes, startBytes, timeMs: since - start };
  }
}

const table: Readonly<Record<string, AnyOp | undefined>> = ops;
const bytesOf = (metas: readonly Meta[]): number =>
  metas.reduce((sum, { shape, dtype }) => sum + numel(shape) * dtypes[dtype].bytes, 0);

function count({ op: name, inputs, outputs }: OpEvent, { work }: Part): void {
  const op = table[name];
  if (op?.kind === "view") return;
  work.ops++;
  work.bytes += bytesOf(inputs) + bytesOf(outputs);
  work.flops += op?.flops?.(inputs, outputs, undefined) ?? outputs.reduce((sum, { shape }) => sum + numel(shape), 0);
}
