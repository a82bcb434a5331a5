import { join } from "node:path";
import { useStandIn } from "@revnet-zero/backend-cuda/testing";
import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import {
  AdamW,
  type Compiled,
  compile,
  compileGradients,
  Engine,
  foldKey,
  type ReversibleMode,
  ReversibleTransformer,
  randomKey,
  type Tensor,
  Transformer,
  tensor,
  toWords,
} from "../src/index.ts";

// Recordings as CUDA graphs, on the stand-in driver: it takes launches down and runs them at every launch of the graph, and
// refuses what a device refuses meanwhile.
const reason = useStandIn();
// With its matrix products.
process.env.REVNET_CUDA_LIBRARIES += `:${join(process.env.REVNET_CUDA_LIBRARIES ?? "", "products")}`;
const backend = reason === undefined ? new (await import("@revnet-zero/backend-cuda")).CudaBackend() : undefined;

beforeEach((context) => {
  if (reason !== undefined) context.skip(reason);
});

const makeEngine = (): Engine => new Engine(backend!);
const bits = (t: Tensor): unknown => Array.from(toWords(t.dataSync(), t.dtype));
const failing = <T>(failure: string, f: () => T): T => {
  process.env.REVNET_STANDIN_FAIL = failure;
  try {
    return f();
  } finally {
    process.env.REVNET_STANDIN_FAIL = "";
  }
};
const whyNoGraph = ({ recordings }: Pick<Compiled<[Tensor], Tensor>, "recordings">): (string | undefined)[] =>
  recordings.map((r) => r.whyNoGraph);

const steps = ["neg", "tanh", "square", "sum", "transpose", "dropout", "matmul", "add", "constant"] as const;
const programs = fc.array(fc.record({ op: fc.constantFrom(...steps), a: fc.nat(7) }), { minLength: 2, maxLength: 6 });

/** A program over a growing list of [3, 3] tensors. */
function runProgram(nodes: readonly { readonly op: (typeof steps)[number]; readonly a: number }[], x: Tensor): Tensor {
  const { engine } = x;
  const values = [x];
  for (const { op, a } of nodes) {
    const [last, other] = [values.at(-1)!, values[a % values.length]!];
    if (op === "sum") values.push(last.sum(0).add(other));
    else if (op === "dropout") values.push(last.dropout(0.3, engine.nextKey("program")));
    else if (op === "matmul" || op === "add") values.push(last[op](other));
    else if (op === "constant") values.push(last.mul(tensor([1, 2, a], { engine })));
    else values.push(last[op]());
  }
  return values.at(-1)!;
}

test("a graph has the bits of the function and of its recording, random numbers included", () => {
  fc.assert(
    fc.property(programs, fc.constantFrom(undefined, "bf16" as const), (nodes, dtype) => {
      const engine = makeEngine();
      const f = (x: Tensor): Tensor => engine.autocast(dtype, () => runProgram(nodes, x));
      const [recorded, graph] = [compile(f), compile(f, { graph: true })];
      for (let call = 0; call < 6; call++) {
        engine.scope(() => {
          const x = tensor(
            Float32Array.from({ length: 9 }, (_, i) => Math.sin(i + call)),
            { shape: [3, 3], engine },
          );
          const [expected, replayed, found] = [f, recorded, graph].map((g) =>
            engine.withKey(foldKey(randomKey(5), call), () => [bits(g(x)), engine.nextKey("after")]),
          );
          expect(replayed).toEqual(expected);
          expect(found).toEqual(expected);
        });
      }
      expect(whyNoGraph(graph)).toEqual([undefined]);
      expect(whyNoGraph(recorded)).toEqual(["not asked for (graph: true)"]);
      for (const one of [recorded, graph]) one.dispose();
      expect([engine.memory().liveBytes, backend!.memory().liveBlocks]).toEqual([0, 0]);
    }),
    { numRuns: 8 },
  );
});

const STEPS = 5;

/** The weights after a few steps of two micro-batches, as words. */
function train(mode: ReversibleMode | "ordinary", dtype: "bf16" | undefined, graph: boolean | undefined) {
  const engine = makeEngine();
  const size = { numLayers: 2, dModel: 16, numHeads: 2, maxSeqLen: 8, dropout: 0.2, vocabSize: 32 };
  const options = { ...size, key: randomKey(3), engine };
  const model =
    mode === "ordinary" ? new Transformer(options) : new ReversibleTransformer({ ...options, reversibility: mode });
  const optimizer = new AdamW(model.parameters(), { learningRate: 0.01 });
  const run = (tokens: Tensor, targets: Tensor): Tensor => {
    const loss = engine.autocast(dtype, () => model.loss(tokens, targets));
    loss.backward();
    return loss.detach();
  };
  const compiled = graph === undefined ? undefined : compileGradients(model.parameters(), run, { graph });
  const losses: number[] = [];
  for (let step = 0; step < STEPS; step++) {
    engine.scope(() => {
      for (let micro = 0; micro < 2; micro++) {
        const words = Int32Array.from({ length: 17 }, (_, i) => (i * 37 + step * 11 + micro * 5) % 32);
        const [tokens, targets] = [0, 1].map((at) => tensor(words.slice(at, at + 16), { shape: [2, 8], engine }));
        const key = foldKey(foldKey(randomKey(9), step), micro);
        losses.push(engine.withKey(key, () => (compiled ?? run)(tokens!, targets!)).itemSync());
      }
      optimizer.step();
      optimizer.zeroGrad();
    });
  }
  const weights = model.parameters().map(bits);
  const found = compiled === undefined ? [] : [compiled.reason, ...whyNoGraph(compiled)];
  for (const one of [compiled, optimizer, model]) one?.dispose();
  expect([engine.memory().liveBytes, backend!.memory().liveBlocks]).toEqual([0, 0]);
  return { losses, weights, found };
}

test.for([
  ["exact", "bf16"],
  ["ordinary", undefined],
] as const)("training steps as graphs have the bits of training steps: %s, matrix products in %s", ([mode, dtype]) => {
  const eager = train(mode, dtype, undefined);
  for (const graph of [false, true]) {
    const { losses, weights, found } = train(mode, dtype, graph);
    expect(losses).toEqual(eager.losses);
    expect(weights).toEqual(eager.weights);
    // One recording without gradients to add to, and one with.
    if (graph) expect(found).toEqual([undefined, undefined, undefined]);
  }
});

describe("a graph", () => {
  const engine = reason === undefined ? makeEngine() : undefined;
  const input = (n: number, length = 4): Tensor => {
    return tensor(
      Float32Array.from({ length }, (_, i) => i + n),
      { engine: engine! },
    );
  };
  const f = (x: Tensor): Tensor => x.mul(2).cumsum(0).add(1);
  const values = (g: (x: Tensor) => Tensor, n: number, length?: number): number[] =>
    engine!.scope(() => Array.from(g(input(n, length)).dataSync()) as number[]);
  const settle = (g: (x: Tensor) => Tensor): void => {
    for (let call = 0; call < 4; call++) values(g, call);
  };
  const nothingIsLeft = (g: Compiled<[Tensor], Tensor>): void => {
    g.dispose();
    expect([engine!.memory().liveBytes, backend!.memory().liveBlocks]).toEqual([0, 0]);
  };

  test("is one launch, and is counted with what it keeps", () => {
    const g = compile(f, { graph: true });
    settle(g);
    const { launches } = backend!.device;
    expect(values(g, 7)).toEqual(values(f, 7));
    expect(values(g, 8)).toEqual(values(f, 8));
    expect(whyNoGraph(g)).toEqual([undefined]);
    const eager = (backend!.device.launches - launches - 2) / 2;
    expect(eager).toBeGreaterThan(2);
    // The input, the result, and the segment that it works in.
    expect(engine!.memory().live.workspace).toBe(2 * 16 + 2 ** 21);
    expect(backend!.memory().usedBytes).toBe(2 * 512 + 2 ** 21);
    nothingIsLeft(g);
  });

  test("is taken down for every shape, and all work in the same memory", () => {
    const g = compile(f, { graph: true });
    settle(g);
    for (let call = 0; call < 5; call++) expect(values(g, call, 9)).toEqual(values(f, call, 9));
    expect(values(g, 3)).toEqual(values(f, 3));
    expect(whyNoGraph(g)).toEqual([undefined, undefined]);
    expect(engine!.memory().live.workspace).toBe(2 * 16 + 2 * 36 + 2 ** 21);
    nothingIsLeft(g);
  });

  test("does not write over a result that is held", () => {
    const g = compile(f, { graph: true });
    settle(g);
    engine!.scope(() => {
      const held = g(input(1));
      expect(values(g, 2)).toEqual(values(f, 2));
      expect(whyNoGraph(g)).toEqual(["a result of its last call is still held"]);
      expect(Array.from(held.dataSync())).toEqual(values(f, 1));
    });
    expect(values(g, 3)).toEqual(values(f, 3));
    expect(whyNoGraph(g)).toEqual([undefined]);
    nothingIsLeft(g);
  });

  test("writes to tensors made outside where they lie, arguments only if they lie where they lay", () => {
    const total = engine!.keep(input(0));
    const g = compile(
      (x: Tensor) => {
        x.assign(x.mul(2));
        total.assign(total.add(x));
        return x.add(total);
      },
      { graph: true },
    );
    const own = engine!.keep(input(1));
    for (let call = 0; call < 5; call++) g(own).dispose();
    expect(whyNoGraph(g)).toEqual([undefined]);
    expect(Array.from(own.dataSync())).toEqual([1, 2, 3, 4].map((v) => v * 32));
    expect(Array.from(total.dataSync())).toEqual([1, 2, 3, 4].map((v, i) => i + v * 62));
    values(g, 1);
    expect(whyNoGraph(g)).toEqual(["argument 0, which it uses in place, lies elsewhere"]);
    expect(Array.from(total.dataSync())).toEqual([1, 2, 3, 4].map((v, i) => i + v * 64));
    for (const t of [own, total]) t.dispose();
    nothingIsLeft(g);
  });

  test("is given back when memory is short, and its recording goes on without it", () => {
    const g = compile(f, { graph: true });
    settle(g);
    backend!.releaseCaches();
    expect([engine!.memory().liveBytes, backend!.memory().usedBytes]).toEqual([0, 0]);
    expect(values(g, 5)).toEqual(values(f, 5));
    expect(whyNoGraph(g)).toEqual(["memory ran short, and what the graph kept was given back"]);
    nothingIsLeft(g);
  });

  test("is not made under a memory limit", () => {
    const g = compile(f, { graph: true });
    engine!.withMemoryLimit(2 ** 30, () => settle(g));
    expect(whyNoGraph(g)).toEqual(["the engine has a memory limit, and a graph keeps what it works in"]);
    nothingIsLeft(g);
  });

  test.each([
    ["cuStreamBeginCapture_v2:1:1", "starting a capture"],
    ["cuStreamEndCapture:1:1", "ending a capture"],
    ["cuGraphInstantiateWithFlags:1", "making a graph: out of memory"],
    ["cuGraphLaunch:1:1", "launching a graph"],
    ["cuLaunchKernel:2:1", "launching a kernel"],
  ])("that fails (%s) is done call by call, says why, and leaves nothing", (failure, message) => {
    const g = compile(f, { graph: true });
    for (let call = 0; call < 3; call++) values(g, call);
    expect(failing(failure, () => values(g, 6))).toEqual(values(f, 6));
    expect(whyNoGraph(g)[0]).toContain(message);
    expect([engine!.memory().liveBytes, backend!.memory().liveBlocks]).toEqual([0, 0]);
    expect(values(g, 7)).toEqual(values(f, 7));
    expect(whyNoGraph(g)[0]).toContain(message);
    nothingIsLeft(g);
  });
});
