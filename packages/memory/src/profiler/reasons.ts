import type { Module } from "@revnet-zero/nn";
import { formatBytes } from "@revnet-zero/plot";
import { type BlockPolicy, ReversibleSequence } from "@revnet-zero/reversible";
import type { MemoryCategory } from "@revnet-zero/tensor";
import type { Recording } from "./recording.ts";
import { type LiveTensor, liveAt, outerPath } from "./tables.ts";

/** Why bytes were alive at the peak, and what would free them. */
export interface Reason {
  readonly bytes: number;
  readonly what: string;
  readonly hint: string;
}

type Explanation = Omit<Reason, "bytes">;

/** A reversible sequence, as the paths of modules see it. */
interface SequencePlace {
  readonly path: string;
  readonly policies: readonly BlockPolicy[];
}

/**
 * Why memory did not go down: what was alive at the peak in groups, the largest first, with what made it stay. `peak` is an instant of
 * the recording. The model tells which blocks of which sequences are stored.
 */
export function reasonsFor(recording: Recording, peak: number, model?: Module): Reason[] {
  const sequences = sequencesOf(model);
  const sums = new Map<string, { bytes: number; readonly explanation: Explanation }>();
  const live = liveAt(recording, peak);
  for (const t of live) {
    const explanation = explain(t, sequences);
    const group = sums.get(explanation.what);
    if (group === undefined) sums.set(explanation.what, { bytes: t.bytes, explanation });
    else group.bytes += t.bytes;
  }
  const reasons = [...sums.values()].map(({ bytes, explanation }) => ({ bytes, ...explanation }));
  const total = live.reduce((sum, { bytes }) => sum + bytes, 0);
  return [...reasons, ...idleBlocks(recording, total)].sort((a, b) => b.bytes - a.bytes);
}

function explain(t: LiveTensor, sequences: readonly SequencePlace[]): Explanation {
  const isForGood = t.category === "workspace" || t.category === "saved";
  if (t.isKept && isForGood) return t.isOlder ? older : kept(t);
  return byCategory[t.category](t, sequences);
}

const byCategory: {
  readonly [C in MemoryCategory]: (t: LiveTensor, sequences: readonly SequencePlace[]) => Explanation;
} = {
  parameters: () => ({ what: "parameters and buffers of the model", hint: "they last: a smaller model, or bf16" }),
  optimizer: () => ({
    what: "state of the optimizer",
    hint: "it lasts: Lion keeps one number a parameter, Adafactor far less than one, AdamW two",
  }),
  gradients: () => ({
    what: "gradients that nobody has freed yet",
    hint: "updateInBackward(sequence, optimizer) frees each block's once it is used; else zeroGrad() right after step()",
  }),
  streams: () => ({
    what: "the streams of a reversible pass",
    hint: 'one set, whatever the depth: a shorter batch, `streams: "split"`, or mode exact16 makes it smaller',
  }),
  saved: explainSaved,
  workspace: ({ op, module, phase }) => ({
    what: `temporaries of ${op === "" ? "no op" : `"${op}"`}${inModule(outerPath(module, DEPTH))} (${phase})`,
    hint: "what is being computed at the peak: a shorter batch or sequence, or a loss in chunks, makes it smaller",
  }),
};

/** Parts of a module's path that groups are told apart by: enough to name a layer. */
const DEPTH = 3;
const inModule = (module: string): string => (module === "" ? "" : ` in ${module}`);

const older: Explanation = {
  what: "tensors from before, which the program holds",
  hint: "data sets and batches belong in JavaScript arrays until they are used; dispose() what is not needed",
};
const kept = ({ module, op, callSite }: LiveTensor): Explanation => ({
  what: `tensors that outlive the step, made by ${op === "" ? "the program" : `"${op}"`}${inModule(module)}${callSite === undefined ? "" : ` ${callSite}`}`,
  hint: "return numbers (item()), detach() what is to be kept of the graph, and run the step in scope(() => …)",
});

function explainSaved({ module, phase }: LiveTensor, sequences: readonly SequencePlace[]): Explanation {
  if (phase !== "forward") {
    return {
      what: "activations of the block that is being differentiated, computed again",
      hint: "the working set of one block: a shorter batch, or smaller blocks",
    };
  }
  const sequence = sequences.find(({ path }) => module === path || module.startsWith(`${path}.`));
  if (sequence === undefined) {
    return {
      what: `stored activations${inModule(outerPath(module, DEPTH))}, which is not reversible`,
      hint: "checkpointModule(module) keeps its inputs alone; a reversible form keeps nothing",
    };
  }
  const block = /^\.blocks\.(\d+)\b/.exec(module.slice(sequence.path.length))?.[1];
  const policy = block === undefined ? undefined : sequence.policies[Number(block)];
  if (policy === "store") {
    return {
      what: `stored activations of blocks with policy "store" in ${sequence.path}`,
      hint: 'plan them "reconstruct", "checkpoint" or "swap"; `revnet-zero plan` says what that costs',
    };
  }
  return {
    what: `streams and side information that ${sequence.path} keeps between forward and backward`,
    hint: "one set at the end, and one for each anchor, checkpoint and border of stored blocks: fewer of these",
  };
}

/** What the backend holds beyond what was in use at most: blocks kept for reuse, and the gaps between. */
function idleBlocks({ reservedBytes }: Recording, peakBytes: number): Reason[] {
  if (reservedBytes === undefined) return [];
  const idle = reservedBytes - peakBytes;
  if (idle < 2 ** 20 || idle < peakBytes / 20) return [];
  return [
    {
      bytes: idle,
      what: `blocks that the backend keeps for reuse: it has taken ${formatBytes(reservedBytes)} from the system`,
      hint: "not in the ledger: backend.releaseCaches() gives back what can be; buffers of few different sizes fragment less",
    },
  ];
}

function sequencesOf(model: Module | undefined): SequencePlace[] {
  if (model === undefined) return [];
  const root = model.constructor.name;
  return [...model.namedModules()].flatMap(([path, module]) => {
    if (!(module instanceof ReversibleSequence)) return [];
    const possible = module.policies;
    const isPlanned = possible.length > 1;
    const usual = isPlanned ? "reconstruct" : possible[0]!;
    const policies = module.blocks.map((_, i) => (isPlanned ? module.plan?.blocks[i] : undefined) ?? usual);
    return [{ path: path === "" ? root : `${root}.${path}`, policies }];
  });
}
