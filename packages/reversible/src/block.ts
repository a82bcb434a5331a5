import { ValueError } from "@revnet-zero/tensor";
import type { Branch } from "./branch.ts";
import { additive } from "./couplings/additive.ts";
import type { Step, StepMaker } from "./steps/step.ts";

/** Renames the streams: stream i is then what stream `order[i]` was. Costs nothing. */
export interface Permutation {
  readonly order: readonly number[];
}

export const permute = (...order: readonly number[]): Permutation => ({ order });

/** One block of a reversible network: a coupling with its branches. Made by the couplings' functions. */
export interface CoupledBlock {
  /** The coupling's name, for reports. */
  readonly coupling: string;
  /** How many streams it joins. */
  readonly streams: number;
  readonly program: readonly (StepMaker | Permutation)[];
}

/** The branches of an additive block; an object of these alone is one. */
export interface AdditiveBranches {
  readonly F: Branch;
  readonly G: Branch;
}

export type ReversibleBlock = AdditiveBranches | CoupledBlock;

export const couplingOf = (block: ReversibleBlock): CoupledBlock => ("program" in block ? block : additive(block));

/** A block's steps, with their places among the sequence's. */
export interface PlacedBlock {
  readonly index: number;
  readonly steps: readonly Step[];
  /** The number of its first step. */
  readonly first: number;
  /** Slot of each stream where the block begins, and where it ends. */
  readonly order: readonly number[];
  readonly orderAfter: readonly number[];
}

export interface Program {
  readonly numStreams: number;
  readonly blocks: readonly PlacedBlock[];
  readonly steps: readonly Step[];
  /** Slot of each stream at the end. */
  readonly order: readonly number[];
}

/** The steps of all blocks, numbered, on slots: permutations are resolved here, and cost nothing later. */
export function placeBlocks(given: readonly ReversibleBlock[]): Program {
  const couplings = given.map(couplingOf);
  const numStreams = couplings[0]?.streams ?? 2;
  const odd = couplings.findIndex((c) => c.streams !== numStreams);
  if (odd >= 0) {
    throw new ValueError(
      "ReversibleSequence",
      `block ${odd} (${couplings[odd]!.coupling}) joins ${couplings[odd]!.streams} streams, block 0 (${couplings[0]!.coupling}) ${numStreams}`,
      "use blocks of one number of streams in a sequence",
    );
  }
  let order: readonly number[] = Array.from({ length: numStreams }, (_, i) => i);
  const blocks: PlacedBlock[] = [];
  const all: Step[] = [];
  couplings.forEach(({ program, coupling }, index) => {
    const [atStart, first] = [order, all.length];
    for (const item of program) {
      if ("order" in item) order = renamed(order, item, coupling);
      else {
        const places = order;
        all.push(item({ slot: (i) => slotOf(places, i, coupling), block: `block ${index}` }));
      }
    }
    blocks.push({ index, steps: all.slice(first), first, order: atStart, orderAfter: order });
  });
  return { numStreams, blocks, steps: all, order };
}

function renamed(order: readonly number[], { order: by }: Permutation, coupling: string): readonly number[] {
  if ([...by].sort((a, b) => a - b).every((stream, i) => stream === i) && by.length === order.length) {
    return by.map((i) => order[i]!);
  }
  throw new ValueError(coupling, `[${by}] is no permutation of ${order.length} streams`, "name every stream once");
}

function slotOf(order: readonly number[], stream: number, coupling: string): number {
  const slot = order[stream];
  if (slot !== undefined) return slot;
  throw new ValueError(coupling, `there is no stream ${stream}`, `streams are numbered 0 to ${order.length - 1}`);
}
