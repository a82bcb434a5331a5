import { CpuBackend, ReferenceBackend } from "@revnet-zero/backend-cpu";
import {
  type Backend,
  BackendError,
  checkpoint,
  dispatch,
  Engine,
  fromWords,
  type MemoryReport,
  ones,
  ops,
  randomKey,
  randomNormal,
  type Tensor,
  tensor,
  zeros,
} from "@revnet-zero/tensor";
import { describe, expect, test } from "vitest";
import { MetaBackend } from "../src/index.ts";

/** The reference, every kernel of which asks for row-major copies: the other way a kernel table moves the peak. */
function contiguousReference(): Backend {
  const backend = new ReferenceBackend();
  const kernels = Object.fromEntries(
    Object.entries(backend.kernels).map(([name, k]) => [name, { ...k, inputs: "contiguous" }]),
  ) as unknown as typeof backend.kernels;
  return {
    name: "contiguous reference",
    isSynchronous: true,
    kernels,
    elementwise: (op, attrs, inputs, output) => backend.elementwise(op, attrs, inputs as never, output as never),
    allocate: (dtype, elements) => backend.allocate(dtype, elements),
    free: (data) => backend.free(data as never),
    write: (data, values) => backend.write(data as never, values),
    read: (data, dtype, elements) => backend.read(data as never, dtype, elements),
  };
}

const random = (engine: Engine, seed: number, ...shape: number[]): Tensor =>
  randomNormal(shape, { key: randomKey(seed), engine });

function parameters(engine: Engine, ...shapes: number[][]): Tensor[] {
  return shapes.map((shape, i) => {
    const p = random(engine, 100 + i, ...shape);
    p.storage.category = "parameters";
    return p.requireGrad();
  });
}

/** One AdamW update of everything that has a gradient, with moments made here. */
function adamwStep(engine: Engine, ps: readonly Tensor[]): void {
  engine.scope(() => {
    const groups = ps.flatMap((p) => [p.detach(), p.grad!, zeros(p.shape, { engine }), zeros(p.shape, { engine })]);
    const attrs = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1 };
    const factor = dispatch(
      engine,
      ops.globalNorm,
      ps.map((p) => p.grad!),
      undefined,
    )[0]!;
    engine.noGrad(() => dispatch(engine, ops.adamw, [factor, ones([3], { engine }), ...groups], attrs));
  });
}

/** Programs whose memory depends on fused kernels, on copies for strided operands, on the graph and on scopes. */
const programs: Record<string, (engine: Engine) => void> = {
  "a perceptron trained for two steps": (engine) => {
    const [w1, b1, w2] = parameters(engine, [32, 16], [32], [16, 32]);
    for (let step = 0; step < 2; step++) {
      engine.scope(() => {
        const x = random(engine, 7 + step, 8, 16);
        x.linear(w1!, b1!, "gelu").linear(w2!).sub(x).square().mean().backward();
      });
      adamwStep(engine, [w1!, b1!, w2!]);
      for (const p of [w1!, b1!, w2!]) {
        p.grad?.dispose();
        p.grad = undefined;
      }
    }
  },
  "an attention block with its loss": (engine) => {
    const [embedding, qkv, gain] = parameters(engine, [11, 12], [36, 12], [12]);
    engine.scope(() => {
      const tokens = tensor([1, 2, 3, 4, 5, 6, 7, 8], { dtype: "i32", engine });
      const x = embedding!.take(tokens).reshape([2, 4, 12]);
      const [q, k, v] = x
        .rmsNorm(gain!)
        .linear(qkv!)
        .split(3)
        .map((t) => t.reshape([2, 4, 3, 4]).permute([0, 2, 1, 3]));
      const positions = tensor([0, 1, 2, 3], { dtype: "i32", engine });
      const mixed = q!.rope(positions).attention(k!.rope(positions), v!, { isCausal: true });
      const y = mixed.permute([0, 2, 1, 3]).reshape([2, 4, 12]).add(x);
      y.reshape([8, 12]).matmul(embedding!.transpose()).crossEntropy(tokens).mean().backward();
    });
    adamwStep(engine, [embedding!, qkv!, gain!]);
  },
  "strided operands of structural ops": (engine) => {
    const [a, b] = parameters(engine, [6, 4], [6, 8]);
    engine.scope(() => {
      const x = a!.transpose().matmul(b!); // [4, 8]
      const y = x.transpose().cumsum(0).flip(0).concat([x.transpose()], 1).sort(0).values;
      y.softmax(0).max(0).sum().backward();
    });
  },
  "checkpoints and second derivatives": (engine) => {
    const [w] = parameters(engine, [16, 16]);
    engine.scope(() => {
      const x = random(engine, 3, 4, 16).requireGrad();
      const layer = (h: Tensor): Tensor => checkpoint((t) => t.matmul(w!).tanh().layerNorm(w!.sum(0), w!.mean(0)), h);
      const y = layer(layer(x));
      y.square().sum().backward({ createGraph: true });
      x.grad!.square().sum().backward();
    });
  },
  "mixed precision under autocast": (engine) => {
    const [w, g] = parameters(engine, [16, 16], [16]);
    engine.scope(() => {
      engine.autocast("bf16", () => random(engine, 3, 4, 16).linear(w!).rmsNorm(g!).square().sum()).backward();
    });
  },
};

function ledgerOf(backend: Backend, program: (engine: Engine) => void): MemoryReport & { readonly handles: number } {
  const engine = new Engine(backend);
  program(engine);
  return { ...engine.memory(), handles: engine.liveTensors };
}

const backends: Record<string, () => Backend> = {
  reference: () => new ReferenceBackend(),
  "contiguous reference": contiguousReference,
  cpu: () => new CpuBackend(),
};

describe.each(Object.keys(backends))("the ledger of the meta backend is that of the %s backend", (name) => {
  test.each(Object.keys(programs))("%s", (program) => {
    const real = ledgerOf(backends[name]!(), programs[program]!);
    expect(ledgerOf(MetaBackend.like(backends[name]!()), programs[program]!)).toEqual(real);
    expect(real.peakBytes).toBeGreaterThan(1000);
  });
});

test("which kernels there are decides the peak: fused ones need less, contiguous ones more", () => {
  const peak = (backend: Backend): number => {
    const engine = new Engine(backend);
    engine.scope(() => {
      const q = zeros([1, 64, 4, 8], { engine }).permute([0, 2, 1, 3]);
      q.attention(q, q);
    });
    return engine.memory().peakBytes;
  };
  const bytes = 4 * 64 * 4 * 8;
  const fused = peak(new MetaBackend({ attention: {} }));
  expect(fused).toBe(2 * bytes + 4 * 64 * 4); // the operand, the output, its log-sum-exp
  expect(peak(new MetaBackend({ attention: { inputs: "contiguous" } }))).toBe(fused + 3 * bytes);
  expect(peak(new MetaBackend())).toBeGreaterThan(4 * 64 * 64 * 4);
});

describe("values do not exist", () => {
  test("reading says what to do instead", async () => {
    const engine = new Engine(MetaBackend.like(new ReferenceBackend()));
    const t = tensor([1, 2, 3], { engine }).mul(2);
    expect(t.shape).toEqual([3]);
    await expect(t.data()).rejects.toBeInstanceOf(BackendError);
    await expect(t.data()).rejects.toThrowErrorMatchingInlineSnapshot(`
      [NoValuesError: read: the meta (reference) backend has shapes but no values
        hint: read engine.memory() for the ledger, or run the same program on an engine with a computing backend]
    `);
    expect(() => t.dataSync()).toThrowErrorMatchingInlineSnapshot(`
      [NoValuesError: readSync: the meta (reference) backend has shapes but no values
        hint: read engine.memory() for the ledger, or run the same program on an engine with a computing backend]
    `);
  });

  test("a terabyte takes no room", () => {
    const engine = new Engine(new MetaBackend());
    engine.scope(() => {
      const x = zeros([2 ** 19, 2 ** 19], { engine });
      expect(x.matmul(x.transpose()).shape).toEqual([2 ** 19, 2 ** 19]);
    });
    expect(engine.memory()).toMatchObject({ liveBytes: 0, peakBytes: 2 ** 41 });
  });

  test("the same dtypes are refused as on the real backend", () => {
    const engine = new Engine(new MetaBackend({ sum: { dtypes: ["f32"] } }));
    expect(() => fromWords(new Float64Array(2), [2], "f64", engine).sum()).toThrowErrorMatchingInlineSnapshot(`
      [DTypeError: sum: the meta kernel takes f32, got [2] f64
        hint: cast the operands]
    `);
  });
});
