import { CpuBackend } from "@revnet-zero/backend-cpu";
import { ReversibleResNet, ReversibleTransformer } from "@revnet-zero/models";
import { MLP, Module } from "@revnet-zero/nn";
import { affine, BlockSequence, type ReversibleBlock, ReversibleSequence } from "@revnet-zero/reversible";
import { Engine, randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";

export const newEngine = (): Engine => new Engine(new CpuBackend());

/** A model with a forward and a backward pass on inputs of its own. */
export interface Subject {
  readonly name: string;
  readonly engine: Engine;
  readonly model: Module;
  readonly pass: () => Tensor;
}

export interface LanguageModelOptions {
  readonly numLayers?: number;
  readonly time?: number;
  readonly dropout?: number;
  readonly precision?: "bf16" | undefined;
}

export function languageModel(
  engine: Engine = newEngine(),
  { numLayers = 5, time = 16, dropout = 0, precision }: LanguageModelOptions = {},
): Subject {
  const shape = { vocabSize: 32, numLayers, dModel: 16, numHeads: 2, maxSeqLen: 64, dropout };
  const model = new ReversibleTransformer({ ...shape, key: randomKey(1), engine });
  const tokens = tensor(
    Int32Array.from({ length: 2 * time }, (_, i) => (7 * i) % 32),
    { shape: [2, time], engine },
  );
  const pass = (): Tensor =>
    engine.withKey(randomKey(5), () => {
      const loss = engine.autocast(precision, () => model.loss(tokens, tokens));
      loss.backward();
      return loss.detach();
    });
  return { name: precision === undefined ? "language model" : `language model in ${precision}`, engine, model, pass };
}

export function residualNetwork(engine: Engine = newEngine()): Subject {
  const shape = { imageSize: 8, channels: 1, numClasses: 4, stageBlocks: [2, 2], width: 4 };
  const model = new ReversibleResNet({ ...shape, key: randomKey(2), engine });
  const images = engine.keep(randomNormal([2, 1, 8, 8], { key: randomKey(3), engine }));
  const targets = tensor(Int32Array.of(1, 3), { engine });
  const pass = (): Tensor => {
    const loss = model.loss(images, targets);
    loss.backward();
    return loss.detach();
  };
  return { name: "residual network", engine, model, pass };
}

/** Affine couplings, with the bits that their factors take away kept beside the streams. */
class Flow extends Module {
  readonly sequence: ReversibleSequence;
  readonly weights: Tensor[];

  constructor(engine: Engine, depth: number) {
    super();
    const weight = (i: number): Tensor =>
      this.parameter(randomNormal([8, 16], { key: randomKey(10 + i), engine, std: 0.1 }));
    this.weights = Array.from({ length: 2 * depth }, (_, i) => weight(i));
    const branch = (i: number) => (x: Tensor) => x.matmul(this.weights[i]!).tanh();
    const blocks: ReversibleBlock[] = Array.from({ length: depth }, (_, i) =>
      affine({ F: branch(2 * i), G: branch(2 * i + 1) }),
    );
    this.sequence = new ReversibleSequence({ blocks, fractionBits: 12, engine });
  }

  override forward(x1: Tensor, x2: Tensor): Tensor {
    const { streams, logDeterminant } = this.sequence.transform(x1, x2);
    return streams.reduce((sum, y) => sum.add(y.square().sum()), logDeterminant.sum().neg());
  }
}

export function flow(engine: Engine = newEngine()): Subject {
  const model = new Flow(engine, 4);
  const xs = [0, 1].map((i) => engine.keep(randomNormal([6, 8], { key: randomKey(30 + i), engine })));
  const pass = (): Tensor => {
    const loss = model.call(xs[0]!, xs[1]!);
    loss.backward();
    return loss.detach();
  };
  return { name: "flow", engine, model, pass };
}

/** x + mlp(x), ordinary. */
class Residual extends Module {
  readonly mlp: MLP;

  constructor(engine: Engine, i: number) {
    super();
    this.mlp = new MLP({ dim: 8, key: randomKey(50 + i), engine });
  }

  override forward(x: Tensor): Tensor {
    return x.add(this.mlp.call(x));
  }
}

/** A row of ordinary blocks, reversible ones, and a row again. */
class Mixed extends Module {
  readonly before: BlockSequence;
  readonly sequence: ReversibleSequence;
  readonly after: BlockSequence;

  constructor(engine: Engine) {
    super();
    const row = (from: number) =>
      new BlockSequence({ blocks: [0, 1, 2, 3].map((i) => new Residual(engine, from + i)) });
    const branch = (i: number) => new MLP({ dim: 8, key: randomKey(70 + i), engine });
    this.before = row(0);
    this.sequence = new ReversibleSequence({
      blocks: [0, 1, 2].map((i) => ({ F: branch(i), G: branch(9 + i) })),
      engine,
    });
    this.after = row(10);
  }

  override forward(x: Tensor): Tensor {
    const y = this.before.call(x);
    const [a, b] = this.sequence.call(y, y) as [Tensor, Tensor];
    return this.after.call(a.add(b));
  }
}

export function mixedModel(engine: Engine = newEngine()): Subject {
  const model = new Mixed(engine);
  const x = engine.keep(randomNormal([32, 8], { key: randomKey(40), engine }));
  const pass = (): Tensor => {
    const loss = model.call(x).square().mean();
    loss.backward();
    return loss.detach();
  };
  return { name: "mixed model", engine, model, pass };
}

export const subjects = [languageModel, residualNetwork, flow, mixedModel];

/** Loss and gradients of a pass as words, and no gradients left. */
export function bitsOf({ model }: Subject, run: () => Tensor): string {
  const loss = run();
  const words = [loss, ...model.parameters().flatMap((p) => (p.grad === undefined ? [] : [p.grad]))].map((t) =>
    Buffer.from(new Uint8Array(t.dataSync().buffer, t.dataSync().byteOffset, t.bytes)).toString("base64"),
  );
  loss.dispose();
  model.zeroGrad();
  return words.join(" ");
}
