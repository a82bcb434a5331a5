import * as jax from "@jax-js/jax";
import { answerRequests } from "../subject.ts";
import { someFloats } from "../tasks/task.ts";
import type { GptSize, MlpSize } from "./configuration.ts";

// The training step in jax-js on WebAssembly, the whole step jitted as its documentation advises. Learned positions and an untied head
// instead of rotary and tied: less work, if anything.

const { numpy: np, nn, jit, valueAndGrad, tree } = jax;
type A = jax.Array;
type Parameters = { [name: string]: A };
type Loss = (p: Parameters, inputs: A, targets: A) => A;

await jax.init("wasm");
jax.defaultDevice("wasm");

let seed = 0;
const random = (shape: number[], scale: number): A => np.array(someFloats(shape, ++seed), { shape }).mul(scale);
const constant = (size: number, value: number): A => np.array(new Float32Array(size).fill(value), { shape: [size] });
const oneHot = (count: number, classes: number): A => {
  const values = new Float32Array(count * classes);
  for (let i = 0; i < count; i++) values[i * classes + ((i * 7919) % classes)] = 1;
  return np.array(values, { shape: [count, classes] });
};
const linear = (x: A, w: A, b: A): A => np.matmul(x, w).add(b);
/** Mean cross-entropy of logits `[n, classes]`. */
const crossEntropy = (logits: A, targets: A): A => np.mean(nn.logSoftmax(logits, -1).mul(targets).sum(-1)).mul(-1);

interface Problem {
  readonly parameters: Parameters;
  readonly loss: Loss;
  readonly inputs: A;
  readonly targets: A;
}

function mlp({ widths, batchSize }: MlpSize): Problem {
  const parameters: Parameters = {};
  for (let i = 1; i < widths.length; i++) {
    parameters[`w${i}`] = random([widths[i - 1]!, widths[i]!], widths[i - 1]! ** -0.5);
    parameters[`b${i}`] = constant(widths[i]!, 0);
  }
  const last = widths.length - 1;
  const loss: Loss = (p, inputs, targets) => {
    let x = inputs;
    for (let i = 1; i <= last; i++) {
      x = linear(x, p[`w${i}`]!, p[`b${i}`]!);
      if (i < last) x = nn.relu(x);
    }
    return crossEntropy(x, targets);
  };
  return { parameters, loss, inputs: random([batchSize, widths[0]!], 1), targets: oneHot(batchSize, widths[last]!) };
}

const VOCABULARY = 256;

function gpt({ numLayers, dModel, numHeads, sequenceLength, batchSize }: GptSize): Problem {
  const tokens = batchSize * sequenceLength;
  const parameters: Parameters = {
    embedding: random([VOCABULARY, dModel], 0.02),
    positions: random([sequenceLength, dModel], 0.02),
    scale: constant(dModel, 1),
    shift: constant(dModel, 0),
    head: random([dModel, VOCABULARY], 0.02),
  };
  for (let i = 0; i < numLayers; i++) {
    for (const n of [1, 2]) {
      parameters[`scale${n}.${i}`] = constant(dModel, 1);
      parameters[`shift${n}.${i}`] = constant(dModel, 0);
    }
    for (const [name, from, to] of [
      ["qkv", 1, 3],
      ["out", 1, 1],
      ["up", 1, 4],
      ["down", 4, 1],
    ] as const) {
      parameters[`${name}.${i}`] = random([from * dModel, to * dModel], 0.02);
      parameters[`${name}Bias.${i}`] = constant(to * dModel, 0);
    }
  }
  const norm = (x: A, scale: A, shift: A): A => {
    const mean = np.mean(x.ref, -1, { keepdims: true });
    const centred = x.sub(mean);
    const variance = np.mean(np.square(centred.ref), -1, { keepdims: true });
    return centred
      .mul(np.reciprocal(np.sqrt(variance.add(1e-5))))
      .mul(scale)
      .add(shift);
  };
  const loss: Loss = (p, inputs, targets) => {
    const layer = (x: A, name: string): A => linear(x, p[name]!, p[name.replace(".", "Bias.")]!);
    let x = np.matmul(inputs, p.embedding!).reshape([batchSize, sequenceLength, dModel]).add(p.positions!);
    x = x.reshape([tokens, dModel]);
    for (let i = 0; i < numLayers; i++) {
      const heads = [batchSize, sequenceLength, 3, numHeads, dModel / numHeads];
      const qkv = layer(norm(x.ref, p[`scale1.${i}`]!, p[`shift1.${i}`]!), `qkv.${i}`).reshape(heads);
      const [q, k] = [0, 1].map((n) => qkv.ref.slice([], [], n, [], [])) as [A, A];
      const v = qkv.slice([], [], 2, [], []);
      const mixed = nn.dotProductAttention(q, k, v, { isCausal: true }).reshape([tokens, dModel]);
      x = x.add(layer(mixed, `out.${i}`));
      const hidden = nn.gelu(layer(norm(x.ref, p[`scale2.${i}`]!, p[`shift2.${i}`]!), `up.${i}`));
      x = x.add(layer(hidden, `down.${i}`));
    }
    return crossEntropy(np.matmul(norm(x, p.scale!, p.shift!), p.head!), targets);
  };
  return { parameters, loss, inputs: oneHot(tokens, VOCABULARY), targets: oneHot(tokens, VOCABULARY) };
}

/** AdamW on everything, without clipping: less work, if anything. */
function build(size: GptSize | MlpSize) {
  const problem = "widths" in size ? mlp(size) : gpt(size);
  const { loss, inputs, targets } = problem;
  const step = jit((p: Parameters, m: Parameters, v: Parameters, x: A, y: A) => {
    const [l, g] = valueAndGrad(loss)(tree.ref(p), x, y) as [A, Parameters];
    const m2 = tree.map((a: A, b: A) => a.mul(0.9).add(b.mul(0.1)), m, tree.ref(g)) as Parameters;
    const v2 = tree.map((a: A, b: A) => a.mul(0.99).add(np.square(b).mul(0.01)), v, g) as Parameters;
    const updated = (a: A, mean: A, square: A): A =>
      a.ref.sub(mean.div(np.sqrt(square).add(1e-8)).mul(1e-3)).sub(a.mul(1e-4));
    const p2 = tree.map(updated, p, tree.ref(m2), tree.ref(v2)) as Parameters;
    return [l, p2, m2, v2] as const;
  });
  const zeros = (t: Parameters) => tree.map((a: A) => np.zeros(a.shape), tree.ref(t)) as Parameters;
  let [p, m, v] = [problem.parameters, zeros(problem.parameters), zeros(problem.parameters)];
  return async (): Promise<number> => {
    let l: A;
    [l, p, m, v] = step(p, m, v, inputs.ref, targets.ref) as unknown as [A, Parameters, Parameters, Parameters];
    await jax.blockUntilReady(tree.ref(p));
    return (l.dataSync() as Float32Array)[0]!;
  };
}

console.log = console.error;
let step: (() => Promise<number>) | undefined;
await answerRequests(async (request: { readonly build: GptSize | MlpSize } | { readonly step: number }) => {
  if ("build" in request) {
    step = build(request.build);
    return {};
  }
  const start = performance.now();
  const loss = await step!();
  return { timeMs: performance.now() - start, loss };
});
