import { beforeEach, describe, expect, test } from "vitest";
import {
  AdamW,
  type Backend,
  type Compiled,
  compile,
  compileGradients,
  Decoder,
  defaultConfig,
  Engine,
  type EngineOptions,
  encodeBytes,
  estimateStep,
  foldKey,
  type ReversibleMode,
  ReversibleTransformer,
  randomKey,
  type Tensor,
  type TrainConfig,
  Trainer,
  Transformer,
  tensor,
} from "../src/index.ts";
import { backend, bits, checkPrograms, reason } from "./graphPrograms.ts";

beforeEach((context) => {
  if (reason !== undefined) context.skip(reason);
});

const makeEngine = (options: EngineOptions = {}): Engine => new Engine(backend!, options);
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

test("a graph has the bits of the function and of its recording, random numbers included", () => checkPrograms(8));

const STEPS = 5;

/** The weights after a few steps of two micro-batches, as words. */
function train(mode: ReversibleMode | "ordinary", dtype: "bf16" | undefined, graph: boolean | undefined, options = {}) {
  const engine = makeEngine(options);
  const size = { numLayers: 2, dModel: 16, numHeads: 2, maxSeqLen: 8, dropout: 0.2, vocabSize: 32 };
  const shape = { ...size, key: randomKey(3), engine };
  const model =
    mode === "ordinary" ? new Transformer(shape) : new ReversibleTransformer({ ...shape, reversibility: mode });
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
  const eager = train(mode, dtype, undefined, { keepsCastCopies: false });
  expect(train(mode, dtype, undefined)).toEqual(eager);
  for (const graph of [false, true]) {
    const { losses, weights, found } = train(mode, dtype, graph);
    expect(losses).toEqual(eager.losses);
    expect(weights).toEqual(eager.weights);
    // One recording without gradients to add to, and one with.
    if (graph) expect(found).toEqual([undefined, undefined, undefined]);
  }
});

test("a trainer that is told to runs its steps as graphs: the same weights by a few launches, in the memory it was said to need", async () => {
  const sections = {
    model: { numLayers: 1, dModel: 8, numHeads: 1, maxSeqLen: 8 },
    train: {
      steps: 5,
      batchSize: 1,
      sequenceLength: 8,
      microBatches: 3,
      evalEvery: 0,
      checkpointEvery: 0,
      sampleEvery: 0,
    },
  };
  const config: TrainConfig = {
    ...defaultConfig,
    model: { ...defaultConfig.model, ...sections.model },
    train: { ...defaultConfig.train, ...sections.train },
  };
  const text = encodeBytes("the whale that swam some miles, and some more. ".repeat(20));
  const run = async (graph: boolean) => {
    const trainer = new Trainer({
      config: { ...config, train: { ...config.train, graph } },
      engine: makeEngine(),
      text,
    });
    const launches: number[] = [];
    trainer.on("step", () => launches.push(backend!.device.launches));
    await trainer.run();
    const weights = trainer.model.parameters().map(bits);
    trainer.dispose();
    expect(backend!.memory().liveBlocks).toBe(0);
    const [before, after] = launches.slice(-2) as [number, number];
    const { peakBytes, whyNoGraph } = trainer;
    expect(estimateStep(trainer.config, backend! as Backend).peakBytes).toBe(peakBytes);
    return { weights, launches: after - before, whyNoGraph };
  };
  const [plain, graph] = [await run(false), await run(true)];
  expect(graph.whyNoGraph).toBeUndefined();
  expect(graph.weights).toEqual(plain.weights);
  // The step, and the streams' counters, which are looked at between steps.
  expect(graph.launches).toBeLessThan(8);
  expect(plain.launches).toBeGreaterThan(100);
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
    // The input, the result, and what it works in: the product, and the sums.
    expect(engine!.memory().live.workspace).toBe(2 * 16 + 2 * 512);
    expect(backend!.memory().usedBytes).toBe(4 * 512);
    nothingIsLeft(g);
  });

  test("is taken down for every shape, and all work in the same memory", () => {
    const g = compile(f, { graph: true });
    settle(g);
    for (let call = 0; call < 5; call++) expect(values(g, call, 9)).toEqual(values(f, call, 9));
    expect(values(g, 3)).toEqual(values(f, 3));
    expect(whyNoGraph(g)).toEqual([undefined, undefined]);
    expect(engine!.memory().live.workspace).toBe(2 * 16 + 2 * 36 + 2 * 512);
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
    expect(whyNoGraph(g)).toEqual(["an argument that it uses in place lies elsewhere than before"]);
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
    ["cuLaunchKernel:1:1", "launching a kernel"],
    ["cuLaunchKernelEx:2:1", "launching a kernel"],
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

test.for([
  ["ordinary", "f32"],
  ["exact", "bf16"],
] as const)(
  "decoding as a graph gives the tokens and the bits of decoding called: %s, in %s",
  async ([mode, precision]) => {
    const engine = makeEngine();
    const size = { numLayers: 1, dModel: 16, numHeads: 1, maxSeqLen: 8, vocabSize: 32 };
    const options = { ...size, key: randomKey(3), engine };
    const model =
      mode === "ordinary" ? new Transformer(options) : new ReversibleTransformer({ ...options, reversibility: mode });
    const prompts = [[1, 2], [5]];
    const run = async (graph: boolean) => {
      const decoder = new Decoder(model, { batch: 2, precision, graph });
      const tokens: number[][][] = [];
      // A prompt is run, recorded, done from its recording, and taken down.
      for (let n = 0; n < 4; n++) tokens.push(await decoder.continue(prompts, { length: 3 }));
      const { launches } = backend!.device;
      tokens.push(await decoder.continue(prompts, { length: 3 }));
      const perToken = (backend!.device.launches - launches) / 3;
      const drawn = { length: 3, temperature: 1.5, topK: 9 };
      for (const seed of [8, 9]) tokens.push(await decoder.continue(prompts, { ...drawn, key: randomKey(seed) }));
      decoder.rewind();
      const afterPrompts = [1, 2, 3].map((n) =>
        engine.scope(() =>
          bits(
            decoder.prefill([
              [n, 2],
              [3, 4, n],
            ]),
          ),
        ),
      );
      decoder.rewind();
      const logits = Array.from({ length: 5 }, (_, n) =>
        engine.scope(() => bits(decoder.step(tensor(Int32Array.of(n, 3 * n), { engine })))),
      );
      const { whyNoGraph } = decoder;
      decoder.dispose();
      return { found: { tokens, afterPrompts, logits }, perToken, whyNoGraph };
    };
    const [called, graph] = [await run(false), await run(true)];
    expect(graph.found).toEqual(called.found);
    expect([called.whyNoGraph, graph.whyNoGraph]).toEqual(["not asked for (graph: true)", undefined]);
    expect(graph.perToken).toBeLessThan(3);
    expect(called.perToken).toBeGreaterThan(20);
    model.dispose();
    expect([engine.memory().liveBytes, backend!.memory().liveBlocks]).toEqual([0, 0]);
  },
);
