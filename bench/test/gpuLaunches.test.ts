import { useStandIn } from "@revnet-zero/backend-cuda/testing";
import { ReversibleTransformer, Transformer } from "@revnet-zero/models";
import { type Backend, Engine, type Kernel, randomKey, zeros } from "@revnet-zero/tensor";
import { wrapBackend } from "@revnet-zero/testkit";
import { passOf } from "@revnet-zero/train";
import { expect, test } from "vitest";

// Which kernels a block of a training step asks for, and how many launches they are. Nothing is run: the stand-in is told so.
const reason = useStandIn();
process.env.REVNET_STANDIN_IDLE = "1";

if (reason === undefined) {
  const { CudaBackend } = await import("@revnet-zero/backend-cuda");
  const backend = new CudaBackend();
  type Block = ReturnType<typeof backend.allocate>;

  type Mode = "ordinary" | "exact" | "store";

  /** Calls by kernel of a forward and backward pass in bfloat16, and all launches. */
  function callsOf(mode: Mode, numLayers: number): { readonly calls: Map<string, number>; readonly launches: number } {
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
    const shape = { vocabSize: 512, numLayers, dModel: 128, numHeads: 2, maxSeqLen: 64, key: randomKey(1), engine };
    const model =
      mode === "ordinary" ? new Transformer(shape) : new ReversibleTransformer({ ...shape, reversibility: mode });
    const pass = passOf(model, 1, { precision: "bf16" });
    const step = (): void =>
      engine.scope(() => {
        const tokens = zeros([2, 64], { dtype: "i32", engine });
        pass(tokens, tokens);
        model.zeroGrad();
      });
    step();
    calls.clear();
    const before = backend.device.launches;
    step();
    const launches = backend.device.launches - before;
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

  test("an ordinary block: its products, attention, two sums with their norms; what is left beside them is the weights' conversion", () => {
    expect(blockOf("ordinary")).toMatchInlineSnapshot(`
      {
        "addNorm": 2,
        "addNormBackward": 2,
        "cast": 8,
        "headAttention": 1,
        "headAttentionBackward": 1,
        "launches": 44,
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
        "cast": 16,
        "fixedPointAddNorm": 4,
        "headAttention": 2,
        "headAttentionBackward": 1,
        "launches": 67,
        "linear": 8,
        "linearActivationBackward": 1,
        "linearParametersBackward": 4,
        "matmul": 3,
        "writeSlice": 2,
      }
    `);
    // Reconstruction and gradient share one run of the branches: forward kernels twice, backward kernels once.
    for (const name of ["linear", "headAttention"]) expect(exact[name]).toBe(2 * ordinary[name]!);
    for (const name of ["headAttentionBackward", "linearActivationBackward", "linearParametersBackward", "matmul"])
      expect(exact[name]).toBe(ordinary[name]);
    // Every half-step adds, and takes away, in the pass that norms what it gives.
    expect([exact.fixedPointAddNorm, exact.addNormBackward, exact.fixedPointNorm]).toEqual([4, 2, undefined]);
  });
} else {
  test("launches on the stand-in driver", (context) => context.skip(reason));
}
