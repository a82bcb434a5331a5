import { useStandIn } from "@revnet-zero/backend-cuda/testing";
import { ReversibleTransformer, Transformer } from "@revnet-zero/models";
import { AdamW, clipByGlobalNorm } from "@revnet-zero/optim";
import { type Backend, Engine, type Kernel, randomKey, zeros } from "@revnet-zero/tensor";
import { wrapBackend } from "@revnet-zero/testkit";
import { passOf } from "@revnet-zero/train";
import { expect, test } from "vitest";

// Which kernels a training step asks for, its block and its rest, and how many launches they are. Nothing is run: the stand-in is told so.
const reason = useStandIn();
process.env.REVNET_STANDIN_IDLE = "1";

if (reason === undefined) {
  const { CudaBackend } = await import("@revnet-zero/backend-cuda");
  const backend = new CudaBackend();
  type Block = ReturnType<typeof backend.allocate>;

  type Mode = "ordinary" | "exact" | "store";

  /** Calls by kernel of a training step in bfloat16, and all launches. */
  function callsOf(
    mode: Mode,
    numLayers: number,
    { vocabSize = 512, batch = 2 } = {},
  ): { readonly calls: Map<string, number>; readonly launches: number } {
    const calls = new Map<string, number>();
    const note = (name: string): void => void calls.set(name, (calls.get(name) ?? 0) + 1);
    const kernels = Object.entries(backend.kernels).map(([name, kernel]) => {
      const plain = kernel as unknown as Kernel<Block, unknown>;
      const run: typeof plain.run = (...call) => {
        note(name);
        plain.run(...call);
      };
      return [name, { ...plain, run }];
    });
    const counted = wrapBackend(backend as unknown as Backend, {
      kernels: Object.fromEntries(kernels) as never,
      elementwise: (op, ...call) => {
        note(op.name);
        const [attrs, inputs, output] = call;
        backend.elementwise(op, attrs, inputs as never, output as never);
      },
    });
    const engine = new Engine(counted);
    const shape = { vocabSize, numLayers, dModel: 128, numHeads: 2, maxSeqLen: 64, key: randomKey(1), engine };
    const model =
      mode === "ordinary" ? new Transformer(shape) : new ReversibleTransformer({ ...shape, reversibility: mode });
    const pass = passOf(model, 1, { precision: "bf16" });
    const optimizer = new AdamW(model.parameters());
    const step = (): void =>
      engine.scope(() => {
        const tokens = zeros([batch, 64], { dtype: "i32", engine });
        pass(tokens, tokens);
        const { factor } = clipByGlobalNorm(model.parameters(), 1);
        optimizer.step({ gradientFactor: factor });
        model.zeroGrad();
      });
    // The first makes what stays: the optimizer's state, weights in bfloat16.
    step();
    calls.clear();
    const before = backend.device.launches;
    step();
    const launches = backend.device.launches - before;
    optimizer.dispose();
    model.dispose();
    return { calls, launches };
  }

  /** What one block more asks for. */
  function blockOf(mode: Mode): Record<string, number> {
    const [few, more] = [callsOf(mode, 2), callsOf(mode, 3)];
    const names = [...new Set([...few.calls.keys(), ...more.calls.keys()])].sort();
    const added = names.map((name) => [name, (more.calls.get(name) ?? 0) - (few.calls.get(name) ?? 0)] as const);
    return { ...Object.fromEntries(added.filter(([, n]) => n !== 0)), launches: more.launches - few.launches };
  }

  test("an ordinary block: its products, attention, two sums with their norms, and nothing that only casts or copies", () => {
    expect(blockOf("ordinary")).toMatchInlineSnapshot(`
      {
        "addNorm": 2,
        "addNormBackward": 2,
        "headAttention": 1,
        "headAttentionBackward": 1,
        "launches": 37,
        "linear": 4,
        "linearActivationBackward": 1,
        "linearParametersBackward": 4,
        "matmul": 3,
      }
    `);
  });

  test("an exact block asks for one forward pass more, and nothing twice", () => {
    const [ordinary, exact] = [blockOf("ordinary"), blockOf("exact")];
    expect(exact).toMatchInlineSnapshot(`
      {
        "addNormBackward": 2,
        "fixedPointAddNorm": 4,
        "headAttention": 2,
        "headAttentionBackward": 1,
        "launches": 50,
        "linear": 8,
        "linearActivationBackward": 1,
        "linearParametersBackward": 4,
        "matmul": 3,
      }
    `);
    // Reconstruction and gradient share one run of the branches: forward kernels twice, backward kernels once.
    for (const name of ["linear", "headAttention"]) expect(exact[name]).toBe(2 * ordinary[name]!);
    for (const name of ["headAttentionBackward", "linearActivationBackward", "linearParametersBackward", "matmul"])
      expect(exact[name]).toBe(ordinary[name]);
    // Every half-step adds, and takes away, in the pass that norms what it gives.
    expect([exact.fixedPointAddNorm, exact.addNormBackward, exact.fixedPointNorm]).toEqual([4, 2, undefined]);
  });
  test("no block casts, copies, fills or counts by a launch of its own", () => {
    const moves = ["cast", "copy", "concat", "writeSlice", "overwrite", "assign", "fill", "add"];
    for (const mode of ["ordinary", "exact"] as const)
      expect(Object.keys(blockOf(mode)).filter((name) => moves.includes(name))).toEqual([]);
  });

  test("a head in chunks concatenates nothing, and sums its losses at once", () => {
    const [whole, chunked] = [41, 83].map((batch) => callsOf("exact", 2, { vocabSize: 50_304, batch }).calls);
    expect(chunked!.get("crossEntropyWithGradient")).toBe(2);
    expect([whole!, chunked!].map((calls) => [calls.get("concat"), calls.get("sum")])).toEqual([
      [undefined, 2],
      [undefined, 2],
    ]);
  });

  test("what a step does besides its blocks", () => {
    const rest = (mode: Mode): Record<string, number> => {
      const [all, block] = [callsOf(mode, 2), blockOf(mode)];
      const names = [...all.calls.keys()].sort();
      const left = names.map((name) => [name, all.calls.get(name)! - 2 * (block[name] ?? 0)] as const);
      return { ...Object.fromEntries(left.filter(([, n]) => n !== 0)), launches: all.launches - 2 * block.launches! };
    };
    expect(rest("ordinary")).toMatchInlineSnapshot(`
      {
        "adamw": 1,
        "adamwCopying": 1,
        "add": 3,
        "addNorm": -1,
        "addNormBackward": -1,
        "cast": 3,
        "copy": 1,
        "crossEntropy": 1,
        "crossEntropyBackward": 1,
        "div": 1,
        "divGrad0": 1,
        "fill": 9,
        "finite": 1,
        "globalNorm": 1,
        "greaterEqual": 1,
        "launches": 46,
        "layerNorm": 2,
        "layerNormBackward": 2,
        "linear": 1,
        "linearParametersBackward": 1,
        "matmul": 1,
        "maximum": 1,
        "minimum": 1,
        "mul": 2,
        "mulGrad0": 1,
        "reciprocal": 1,
        "scatterAddTo": 1,
        "sum": 2,
        "take": 1,
        "where": 1,
      }
    `);
    expect(rest("exact")).toMatchInlineSnapshot(`
      {
        "adamw": 1,
        "adamwCopying": 1,
        "add": 3,
        "assign": 1,
        "cast": 2,
        "copy": 1,
        "crossEntropy": 1,
        "crossEntropyBackward": 1,
        "dequantise": 2,
        "div": 1,
        "divGrad0": 1,
        "fill": 11,
        "finite": 1,
        "fixedPointAdd": 2,
        "fixedPointAddNorm": -2,
        "fixedPointNorm": 2,
        "globalNorm": 1,
        "greaterEqual": 1,
        "launches": 56,
        "layerNorm": 1,
        "layerNormBackward": 1,
        "linear": 1,
        "linearParametersBackward": 1,
        "matmul": 1,
        "maximum": 1,
        "minimum": 1,
        "mul": 3,
        "mulGrad0": 2,
        "quantise": 2,
        "reciprocal": 1,
        "scatterAddTo": 1,
        "sum": 2,
        "take": 1,
        "where": 1,
      }
    `);
  });
} else {
  test("launches on the stand-in driver", (context) => context.skip(reason));
}
