import type { CudaBackend } from "@revnet-zero/backend-cuda";
import type { Compiled } from "@revnet-zero/compile";
import { leastPeakBytes, ModelPlanner, measureTimes, planChain } from "@revnet-zero/memory";
import { ReversibleTransformer } from "@revnet-zero/models";
import { type BlockPolicy, HostOffload, losslessPolicies } from "@revnet-zero/reversible";
import { type Backend, Engine, type HostData, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import { recordedPassOf } from "@revnet-zero/train";
import { median } from "../statistics.ts";

export interface OffloadSizes {
  readonly layers: number;
  readonly width: number;
  readonly batch: number;
  readonly length: number;
  readonly vocabulary: number;
  readonly rounds: number;
  /** Bytes of the copy whose speed is measured by itself. */
  readonly linkBytes: number;
}
/** GPT-2's shape. */
export const gpt2Sizes: OffloadSizes = {
  ...{ layers: 12, width: 768, batch: 8, length: 1024, vocabulary: 50304 },
  ...{ rounds: 5, linkBytes: 2 ** 28 },
};
export const tinySizes: OffloadSizes = {
  ...{ layers: 3, width: 32, batch: 2, length: 16, vocabulary: 64 },
  ...{ rounds: 1, linkBytes: 2 ** 16 },
};

export interface LinkSpeed {
  readonly outGBs: number;
  readonly backGBs: number;
  /** What the program spends on asking for one copy out, waiting for it on the device, bringing it back, and giving it up. */
  readonly hostUs: number;
}

/** What one large copy reaches in each direction while nothing else is done. */
export function linkSpeed(backend: CudaBackend, bytes: number): LinkSpeed {
  const data = backend.allocate("i32", bytes / 4);
  backend.device.fill(data.address, 1, bytes);
  const { hostCopies } = backend;
  // Pinned memory is made by the first, which is not timed.
  hostCopies.copy(data, "i32", bytes / 4).release();
  const timed = (move: () => void): number => {
    const before = hostCopies.copiesMs();
    move();
    return bytes / 1e6 / (hostCopies.copiesMs() - before);
  };
  let copy = hostCopies.copy(data, "i32", bytes / 4);
  const outs = Array.from({ length: 3 }, () => {
    copy.release();
    return timed(() => {
      copy = hostCopies.copy(data, "i32", bytes / 4);
      copy.settle();
    });
  });
  const backs = Array.from({ length: 3 }, () =>
    timed(() => {
      copy.copyTo(data);
      copy.settle();
    }),
  );
  copy.release();
  const many = Array.from({ length: 200 }, () => {
    const start = performance.now();
    const one = hostCopies.copy(data, "i32", 1024);
    one.settle();
    one.copyTo(data);
    one.settle();
    one.release();
    return 1000 * (performance.now() - start);
  });
  backend.free(data);
  return { outGBs: median(outs), backGBs: median(backs), hostUs: median(many) };
}

export interface OffloadedPass {
  readonly name: string;
  readonly passMs: number;
  /** Until the program has asked for all of it. */
  readonly hostMs: number;
  /** As a CUDA graph, or as what it was instead. */
  readonly graphMs: number;
  readonly whyNoGraph: string | undefined;
  readonly peakBytes: number;
  /** Copied in a pass, in both directions, and what that took by itself. */
  readonly copiedBytes: number;
  readonly copiesMs: number;
  /** For how much of that the computation waited. */
  readonly waitsMs: number;
  /** Whether gradients, of the graph as well, have the bits of the first of the passes. */
  readonly isSame: boolean;
}

/** What is done with every layer: one policy, or two in turn. */
const plans: readonly (readonly BlockPolicy[])[] = [
  ["store"],
  ["swap"],
  ["swap", "store"],
  ["checkpoint"],
  ["offload"],
  ["reconstruct"],
];

interface Subject {
  readonly engine: Engine;
  readonly model: ReversibleTransformer;
  readonly offload: HostOffload;
  readonly tokens: () => Tensor;
  /** Forward and backward in bfloat16: called, and recorded, as a graph from the fourth time on. */
  readonly pass: () => void;
  readonly graph: Compiled<[Tensor, Tensor], Tensor>;
  readonly dispose: () => void;
}

function subjectOf(backend: CudaBackend, { layers, width, batch, length, vocabulary }: OffloadSizes): Subject {
  const engine = new Engine(backend as Backend);
  const key = randomKey(1);
  const shape = { vocabSize: vocabulary, numLayers: layers, dModel: width, maxSeqLen: length };
  const model = new ReversibleTransformer({ ...shape, numHeads: Math.max(1, width / 64), key, engine });
  const offload = new HostOffload();
  model.sequence.offload = offload;
  const words = Int32Array.from({ length: batch * length }, (_, i) => (i * 7919) % vocabulary);
  const tokens = (): Tensor => tensor(words, { shape: [batch, length], engine });
  const pass = (): void => engine.scope(() => engine.autocast("bf16", () => model.loss(tokens(), tokens())).backward());
  const graph = recordedPassOf(model, 1, { precision: "bf16", graph: true });
  const dispose = (): void => {
    graph.dispose();
    model.zeroGrad();
    model.dispose();
    backend.releaseCaches();
  };
  return { engine, model, offload, tokens, pass, graph, dispose };
}

/** Milliseconds of work on the device, and until the program has asked for it. */
function timed(backend: CudaBackend, work: () => void): { readonly ms: number; readonly hostMs: number } {
  backend.synchronize();
  const start = performance.now();
  work();
  const hostMs = performance.now() - start;
  backend.synchronize();
  return { ms: performance.now() - start, hostMs };
}

/** Passes whose layers are offloaded, beside those whose layers are not, one after the other. */
export function offloadedPasses(backend: CudaBackend, sizes: OffloadSizes): OffloadedPass[] {
  const { engine, model, offload, tokens, pass: once, graph, dispose } = subjectOf(backend, sizes);
  const withoutGradients = (work: () => void) => (): void => {
    model.zeroGrad();
    work();
  };
  const pass = withoutGradients(once);
  const launched = withoutGradients(() => engine.scope(() => void graph(tokens(), tokens())));
  const follow = (plan: readonly BlockPolicy[]): void => {
    model.sequence.plan = { blocks: model.sequence.blocks.map((_, i) => plan[i % plan.length]!) };
  };
  const gradients = (): HostData[] => model.parameters().map((p) => p.grad!.dataSync());
  const areSame = (a: readonly HostData[], b: readonly HostData[]): boolean =>
    a.every((g, i) => firstUnlike(g, b[i]!) < 0);

  let first: readonly HostData[] | undefined;
  const rows = plans.map((plan) => {
    follow(plan);
    pass();
    engine.ledger.resetPeak();
    const { hostCopies } = backend;
    const before = [offload.copiedBytes, hostCopies.copiesMs(), hostCopies.waitsMs()] as const;
    pass();
    const found = gradients();
    first ??= found;
    return {
      name: plan.join(", "),
      peakBytes: engine.memory().peakBytes,
      copiedBytes: offload.copiedBytes - before[0],
      copiesMs: hostCopies.copiesMs() - before[1],
      waitsMs: hostCopies.waitsMs() - before[2],
      isSame: areSame(found, first),
      times: [] as ReturnType<typeof timed>[],
      launches: [] as number[],
      whyNoGraph: undefined as string | undefined,
    };
  });
  for (let round = 0; round < sizes.rounds; round++) {
    plans.forEach((plan, i) => {
      follow(plan);
      pass();
      rows[i]!.times.push(timed(backend, pass));
    });
  }
  plans.forEach((plan, i) => {
    const row = rows[i]!;
    follow(plan);
    for (let call = 0; call < 5; call++) launched();
    const whyNot = graph.reason ?? graph.recordings.at(-1)?.whyNoGraph;
    row.whyNoGraph = whyNot;
    row.isSame &&= areSame(gradients(), first!);
    for (let round = 0; round < sizes.rounds; round++) row.launches.push(timed(backend, launched).ms);
  });
  dispose();
  return rows.map(({ times, launches, ...row }) => ({
    ...row,
    graphMs: median(launches),
    passMs: median(times.map(({ ms }) => ms)),
    hostMs: median(times.map(({ hostMs }) => hostMs)),
  }));
}

export interface PlannedPass {
  /** How many layers have which policy. */
  readonly name: string;
  readonly budgetBytes: number;
  /** Beyond the bytes before the pass, as rehearsed, and by the ledger. */
  readonly rehearsedBytes: number;
  readonly peakBytes: number;
  readonly predictedMs: number;
  readonly passMs: number;
}

/** The plans of least time for budgets, of all policies, copies beside the computation among them: what they promise and what they are. */
export function plannedPasses(backend: CudaBackend, { rounds, ...sizes }: OffloadSizes): PlannedPass[] {
  const { engine, model, pass: once, dispose } = subjectOf(backend, { rounds, ...sizes });
  // All begin without gradients, as planners reckon.
  const pass = (): void => {
    once();
    model.zeroGrad();
  };
  const planner = new ModelPlanner(model, pass, { policies: losslessPolicies });
  const problem = planner.problem(measureTimes(planner, { engine, pass, limitBytes: Number.POSITIVE_INFINITY }));
  const least = leastPeakBytes(problem);
  const most = planChain(problem, Number.POSITIVE_INFINITY)!.peakBytes;
  const rows = [0, 0.25, 0.5, 0.75].map((share): PlannedPass => {
    const budgetBytes = Math.ceil(least + share * (most - least));
    const { choices, timeMs } = planChain(problem, budgetBytes)!;
    const policies = choices.flatMap((c, i) => {
      const { policy } = problem.items[i]!.choices[c]!;
      return planner.times.items[i]!.place === undefined ? [] : [policy as BlockPolicy];
    });
    const { peakBytes, startBytes } = planner.rehearse({ policies: [policies] });
    planner.apply({ policies: [policies] });
    pass();
    engine.ledger.resetPeak();
    const before = engine.ledger.liveBytes;
    pass();
    const found = engine.memory().peakBytes - before;
    const counts = new Map(policies.map((p) => [p, policies.filter((other) => other === p).length]));
    return {
      name: [...counts].map(([policy, count]) => `${count} ${policy}`).join(", "),
      ...{ budgetBytes, rehearsedBytes: peakBytes - startBytes, peakBytes: found },
      ...{ predictedMs: timeMs, passMs: median(Array.from({ length: rounds }, () => timed(backend, pass).ms)) },
    };
  });
  dispose();
  return rows;
}

/** The first place where two arrays have different numbers; zeros by their signs, too. */
function firstUnlike(a: HostData, b: HostData): number {
  for (let i = 0; i < a.length; i++) if (!Object.is(a[i], b[i])) return i;
  return -1;
}
