import { CpuBackend } from "@revnet-zero/backend-cpu";
import { watchLiveness } from "@revnet-zero/testkit";
import { expect, test } from "vitest";
import { checkpoint, dispatch, Engine, ones, ops, type Tensor, tensor } from "../src/index.ts";
import { random } from "./engine.fixture.ts";

// A scope frees what it made when it closes, a vjp when it returns, saved tensors when the gradient has passed. What
// lies between that and freeing at the last use must stay below a fifth.

type Program = (engine: Engine) => void;

const parameters = (engine: Engine, ...shapes: number[][]): Tensor[] =>
  shapes.map((s, i) => random(engine, i, s).requireGrad());

/** One residual layer, in a scope of its own as modules run. */
const layer = (engine: Engine, x: Tensor, w1: Tensor, w2: Tensor, gain: Tensor): Tensor =>
  engine.scope(() => x.rmsNorm(gain).linear(w1, undefined, "gelu").linear(w2).add(x));

const attentionLayer = (engine: Engine, x: Tensor, qkv: Tensor, gain: Tensor): Tensor =>
  engine.scope(() => {
    const [b, t, c] = x.shape as [number, number, number];
    const heads = x
      .rmsNorm(gain)
      .linear(qkv)
      .reshape([b, t, 3, 4, c / 4])
      .permute([2, 0, 3, 1, 4]); // [3, b, h, t, d]
    const [q, k, v] = heads.split(3, 0).map((p) => p.squeeze(0)) as [Tensor, Tensor, Tensor];
    return q.attention(k, v, { isCausal: true }).permute([0, 2, 1, 3]).reshape([b, t, c]).add(x);
  });

const programs: Record<string, Program> = {
  "a deep perceptron": (engine) => {
    const [w1, w2, gain] = parameters(engine, [64, 32], [32, 64], [32]) as [Tensor, Tensor, Tensor];
    engine.scope(() => {
      const loss = engine.scope(() => {
        let h = random(engine, 9, [64, 32]);
        for (let i = 0; i < 6; i++) h = layer(engine, h, w1, w2, gain);
        return h.square().mean();
      });
      loss.backward();
    });
  },
  "a deep perceptron of checkpoints": (engine) => {
    const [w1, w2, gain] = parameters(engine, [64, 32], [32, 64], [32]) as [Tensor, Tensor, Tensor];
    engine.scope(() => {
      const loss = engine.scope(() => {
        let h = random(engine, 9, [64, 32]);
        for (let i = 0; i < 6; i++) h = checkpoint((x) => layer(engine, x, w1, w2, gain), h);
        return h.square().mean();
      });
      loss.backward();
    });
  },
  "transformer layers and their loss": (engine) => {
    const [embedding, qkv, gain, w1, w2] = parameters(engine, [50, 32], [96, 32], [32], [64, 32], [32, 64]) as [
      Tensor,
      Tensor,
      Tensor,
      Tensor,
      Tensor,
    ];
    engine.scope(() => {
      const tokens = tensor(
        Int32Array.from({ length: 64 }, (_, i) => (i * 7) % 50),
        { engine },
      );
      let h: Tensor = embedding.take(tokens).reshape([2, 32, 32]);
      for (let i = 0; i < 3; i++) h = layer(engine, attentionLayer(engine, h, qkv, gain), w1, w2, gain);
      const loss = engine.scope(() => h.reshape([64, 32]).matmul(embedding.transpose()).crossEntropy(tokens).mean());
      loss.backward();
    });
  },
  "an optimizer step over many parameters": (engine) => {
    const ps = parameters(engine, ...new Array<number[]>(12).fill([40, 40]));
    engine.scope(() => {
      engine.noGrad(() => {
        const gradients = ps.map((_, i) => random(engine, 50 + i, [40, 40]));
        const norm = dispatch(engine, ops.globalNorm, gradients, undefined)[0]!;
        const groups = ps.flatMap((p, i) => [p.detach(), gradients[i]!, p.zerosLike(), p.zerosLike()]);
        const attrs = { beta1: 0.9, beta2: 0.99, eps: 1e-8, weightDecay: 0.1 };
        dispatch(engine, ops.adamw, [norm, ones([3], { engine }), ...groups], attrs);
      });
    });
  },
  "a random initialisation": (engine) => {
    random(engine, 1, [1000]).dispose();
  },
};

test.each(Object.keys(programs))("%s peaks at most a fifth above ideal liveness", (name) => {
  const { backend, report } = watchLiveness(new CpuBackend());
  const engine = new Engine(backend);
  programs[name]!(engine);
  const { peakBytes, idealBytes } = report();
  expect(peakBytes).toBe(engine.memory().peakBytes);
  expect(peakBytes / idealBytes).toBeLessThanOrEqual(1.2);
});

test("a scope that is too wide is seen", () => {
  const { backend, report } = watchLiveness(new CpuBackend());
  const engine = new Engine(backend);
  engine.scope(() => {
    let h = random(engine, 9, [64, 32]);
    for (let i = 0; i < 10; i++) h = h.mul(2);
  });
  const { peakBytes, idealBytes } = report();
  expect(peakBytes / idealBytes).toBeGreaterThan(3);
});
