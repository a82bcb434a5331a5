import * as tf from "@tensorflow/tfjs";
import { answerRequests } from "../subject.ts";
import { start } from "../tasks/tfjs.ts";
import type { GptSize, MlpSize } from "./configuration.ts";

// The training step in TensorFlow.js on WebAssembly, with its own Adam: it has no AdamW, and no gradient of an embedding there, so that
// tokens are one-hot rows. Learned positions and an untied head instead of rotary and tied.

const VOCABULARY = 256;

/** Mean cross-entropy of logits `[n, classes]`. */
const crossEntropy = (logits: tf.Tensor, targets: tf.Tensor): tf.Scalar => {
  const shifted = tf.sub(logits, tf.max(logits, -1, true));
  const lse = tf.log(tf.sum(tf.exp(shifted), -1, true));
  return tf.neg(tf.mean(tf.sum(tf.mul(tf.sub(shifted, lse), targets), -1)));
};
const oneHot = (count: number, classes: number): tf.Tensor =>
  tf.cast(
    tf.oneHot(
      tf.tensor1d(
        Int32Array.from({ length: count }, (_, i) => (i * 7919) % classes),
        "int32",
      ),
      classes,
    ),
    "float32",
  );

interface Problem {
  readonly variables: readonly tf.Variable[];
  readonly loss: () => tf.Scalar;
}

/** Parameters as they are made. */
class Variables {
  readonly all: tf.Variable[] = [];
  random(...shape: number[]): tf.Variable {
    return this.#add(tf.randomNormal(shape, 0, 0.02));
  }
  constant(size: number, value: number): tf.Variable {
    return this.#add(tf.fill([size], value));
  }
  linear(from: number, to: number): (x: tf.Tensor) => tf.Tensor {
    const [w, b] = [this.random(from, to), this.constant(to, 0)];
    return (x) => tf.add(tf.matMul(x, w), b);
  }
  norm(size: number): (x: tf.Tensor) => tf.Tensor {
    const [scale, shift] = [this.constant(size, 1), this.constant(size, 0)];
    return (x) => {
      const centred = tf.sub(x, tf.mean(x, -1, true));
      const variance = tf.mean(tf.square(centred), -1, true);
      return tf.add(tf.mul(tf.mul(centred, tf.rsqrt(tf.add(variance, 1e-5))), scale), shift);
    };
  }
  #add(value: tf.Tensor): tf.Variable {
    const variable = tf.variable(value);
    this.all.push(variable);
    return variable;
  }
}

function mlp({ widths, batchSize }: MlpSize): Problem {
  const make = new Variables();
  const layers = widths.slice(1).map((to, i) => make.linear(widths[i]!, to));
  const [x, targets] = [tf.randomNormal([batchSize, widths[0]!]), oneHot(batchSize, widths.at(-1)!)];
  const forward = (): tf.Tensor =>
    layers.reduce((y: tf.Tensor, layer, i) => (i === layers.length - 1 ? layer(y) : tf.relu(layer(y))), x);
  return { variables: make.all, loss: () => crossEntropy(forward(), targets) };
}

const gelu = (x: tf.Tensor): tf.Tensor =>
  tf.mul(x, tf.sigmoid(tf.mul(tf.add(x, tf.mul(tf.mul(tf.mul(x, x), x), 0.044715)), 2 * Math.sqrt(2 / Math.PI))));

function gpt({ numLayers, dModel, numHeads, sequenceLength, batchSize }: GptSize): Problem {
  const make = new Variables();
  const headSize = dModel / numHeads;
  const tokens = batchSize * sequenceLength;
  const [embedding, positions] = [make.random(VOCABULARY, dModel), make.random(sequenceLength, dModel)];
  const blocks = Array.from({ length: numLayers }, () => ({
    norm1: make.norm(dModel),
    qkv: make.linear(dModel, 3 * dModel),
    out: make.linear(dModel, dModel),
    norm2: make.norm(dModel),
    up: make.linear(dModel, 4 * dModel),
    down: make.linear(4 * dModel, dModel),
  }));
  const [norm, head] = [make.norm(dModel), make.random(dModel, VOCABULARY)];
  const [inputs, targets] = [oneHot(tokens, VOCABULARY), oneHot(tokens, VOCABULARY)];
  const length = sequenceLength;
  const hidden = Float32Array.from({ length: length * length }, (_, i) =>
    i % length <= Math.floor(i / length) ? 0 : -1e9,
  );
  const mask = tf.tensor(hidden, [length, length]);
  const mix = (qkv: tf.Tensor): tf.Tensor => {
    const turned = tf.transpose(tf.reshape(qkv, [batchSize, length, 3, numHeads, headSize]), [2, 0, 3, 1, 4]);
    const [q, k, v] = tf.unstack(tf.reshape(turned, [3, batchSize * numHeads, length, headSize])) as [
      tf.Tensor,
      tf.Tensor,
      tf.Tensor,
    ];
    const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), headSize ** -0.5), mask);
    const heads = tf.reshape(tf.matMul(tf.softmax(scores), v), [batchSize, numHeads, length, headSize]);
    return tf.reshape(tf.transpose(heads, [0, 2, 1, 3]), [tokens, dModel]);
  };
  const loss = (): tf.Scalar => {
    const embedded = tf.reshape(tf.matMul(inputs as tf.Tensor2D, embedding as tf.Tensor2D), [
      batchSize,
      length,
      dModel,
    ]);
    let x: tf.Tensor = tf.reshape(tf.add(embedded, positions), [tokens, dModel]);
    for (const { norm1, qkv, out, norm2, up, down } of blocks) {
      x = tf.add(x, out(mix(qkv(norm1(x)))));
      x = tf.add(x, down(gelu(up(norm2(x)))));
    }
    return crossEntropy(tf.matMul(norm(x), head), targets);
  };
  return { variables: make.all, loss };
}

console.log = console.info = console.warn = console.error;
let step: (() => number) | undefined;
await answerRequests(async (request: { readonly build: GptSize | MlpSize } | { readonly step: number }) => {
  if ("build" in request) {
    await start("wasm");
    const { variables, loss } = "widths" in request.build ? mlp(request.build) : gpt(request.build);
    const optimizer = tf.train.adam(1e-3);
    step = () => tf.tidy(() => optimizer.minimize(loss, true, [...variables])!.dataSync()[0]!);
    return {};
  }
  const began = performance.now();
  const loss = step!();
  return { timeMs: performance.now() - began, loss };
});
