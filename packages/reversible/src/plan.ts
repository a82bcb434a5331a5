import { ValueError } from "@revnet-zero/tensor";
import type { PlacedBlock } from "./block.ts";

/**
 * What is done with a block so that backward has its activations:
 * - `store`: everything it saves is kept, and nothing is computed twice;
 * - `checkpoint`: its input streams are kept, and it is run again from them;
 * - `reconstruct`: nothing is kept, and its input streams are rebuilt from its outputs;
 * - `anchor`: rebuilt likewise, but the streams it was given are kept for the blocks before it: where a drift starts anew;
 * - `offload`: a checkpoint whose streams leave the engine for the sequence's offload store until they are needed;
 * - `swap`: everything it saves leaves for the offload store, and nothing is computed twice;
 * - `store8`: what it saves is kept in 8 bits a number. The one policy that changes gradients; values are the same.
 */
export const blockPolicies = ["store", "checkpoint", "reconstruct", "anchor", "offload", "swap", "store8"] as const;
export type BlockPolicy = (typeof blockPolicies)[number];

/** The policies that change gradients: nobody gets them who did not ask for them. */
export const lossyPolicies: readonly BlockPolicy[] = ["store8"];
/** The others. */
export const losslessPolicies: readonly BlockPolicy[] = blockPolicies.filter((p) => !lossyPolicies.includes(p));
/** The policies that copy tensors to the offload store. */
export const offloadingPolicies: readonly BlockPolicy[] = ["offload", "swap"];

/** A policy for each block. In exact modes every plan without `store8` gives the same bits. */
export interface MemoryPlan {
  readonly blocks: readonly BlockPolicy[];
}

export function checkPlan(plan: MemoryPlan, numBlocks: number, op = "ReversibleSequence"): MemoryPlan {
  const { blocks } = plan;
  if (blocks.length !== numBlocks) {
    throw new ValueError(
      op,
      `the plan is for ${blocks.length} blocks, the sequence has ${numBlocks}`,
      "name one policy a block",
    );
  }
  const unknown = blocks.find((p) => !blockPolicies.includes(p));
  if (unknown === undefined) return plan;
  throw new ValueError(op, `unknown policy "${unknown}" in the plan`, `use ${blockPolicies.join(", ")}`);
}

/** Neighbouring blocks that are run as one. */
export interface Segment {
  readonly kind: Exclude<BlockPolicy, "anchor">;
  readonly blocks: readonly PlacedBlock[];
  /** Whether the streams it ends with are those that the next segment offloads. */
  readonly endsOffloaded: boolean;
}

/** Rebuilt blocks are one node up to the next anchor; each block run again is one; the others need none, and free what they were given. */
export function segmentsOf(blocks: readonly PlacedBlock[], policies: readonly BlockPolicy[]): Segment[] {
  const segments: { kind: Segment["kind"]; blocks: PlacedBlock[] }[] = [];
  blocks.forEach((block, i) => {
    const policy = policies[i]!;
    const kind = policy === "anchor" ? "reconstruct" : policy;
    const last = segments.at(-1);
    if (last?.kind === kind && policy === "reconstruct") last.blocks.push(block);
    else segments.push({ kind, blocks: [block] });
  });
  return segments.map((s, i) => ({ ...s, endsOffloaded: segments[i + 1]?.kind === "offload" }));
}
