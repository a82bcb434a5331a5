import { initialiseFromData, NormalizingFlow, realNVP, StandardNormal } from "@revnet-zero/flows";
import { Linear, Module } from "@revnet-zero/nn";
import { type Engine, foldKey, randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";
import { buildModel } from "@revnet-zero/train";
import { type GptSize, type StepMode, stepBuild, stepModels } from "../step/configuration.ts";

/** A forward and backward pass: a function of tensors that ends with `backward` and returns the loss. */
export interface Case {
  readonly parameters: readonly Tensor[];
  readonly args: readonly Tensor[];
  readonly run: (...args: readonly Tensor[]) => Tensor;
}

/** By name, from the one that is all calls to the one that is all arithmetic. */
export const cases: Readonly<Record<string, (engine: Engine) => Case>> = {
  "mlp 16-32-32-1, batch 32": (engine) => mlp(engine, [16, 32, 32, 1], 32),
  "flow of 8 couplings, batch 512": flow,
  "mlp 784-512-512-10, batch 128": (engine) => mlp(engine, [784, 512, 512, 10], 128),
  "twenty elementwise ops on 1,000,000 numbers": chain,
  "gpt-2x256 stored": (engine) => gpt(engine, "stored"),
  "gpt-2x256 exact reversible": (engine) => gpt(engine, "reversible-exact"),
};

class Layers extends Module {
  readonly layers: readonly Linear[];
  constructor(widths: readonly number[], engine: Engine) {
    super();
    this.layers = widths.slice(1).map((out, i) => {
      const activation = i === widths.length - 2 ? "none" : "relu";
      return new Linear({ in: widths[i]!, out, key: foldKey(randomKey(1), i), engine, activation });
    });
  }
  override forward(x: Tensor): Tensor {
    return this.layers.reduce((y, layer) => layer.forward(y), x);
  }
}

const backward = (loss: Tensor): Tensor => {
  loss.backward();
  return loss.detach();
};

function mlp(engine: Engine, widths: readonly number[], batchSize: number): Case {
  const model = new Layers(widths, engine);
  const x = engine.keep(randomNormal([batchSize, widths[0]!], { key: randomKey(2), engine }));
  const target = engine.keep(randomNormal([batchSize, widths.at(-1)!], { key: randomKey(3), engine }));
  return {
    parameters: model.parameters(),
    args: [x, target],
    run: (input, wanted) => backward(model.call(input!).sub(wanted!).square().mean()),
  };
}

function flow(engine: Engine): Case {
  const key = randomKey(4);
  const transform = realNVP({ dim: 2, hidden: 64, couplings: 8, key, engine, mode: "store" });
  const density = new NormalizingFlow({ transform, base: new StandardNormal({ shape: [2], engine }) });
  const x = engine.keep(randomNormal([512, 2], { key: foldKey(key, 1), engine }));
  initialiseFromData(density, () => density.logProbability(x));
  return { parameters: density.parameters(), args: [x], run: (points) => backward(density.loss(points!)) };
}

function chain(engine: Engine): Case {
  const weight = engine.keep(tensor([0.5], { engine })).requireGrad();
  const x = engine.keep(randomNormal([1_000_000], { key: randomKey(5), engine }));
  const run = (...[input]: readonly Tensor[]): Tensor => {
    let y = input!.mul(weight);
    for (let i = 0; i < 9; i++) y = y.mul(0.9).add(0.1);
    return backward(y.tanh().mean());
  };
  return { parameters: [weight], args: [x], run };
}

function gpt(engine: Engine, mode: StepMode): Case {
  const { model: shape, train } = stepBuild(stepModels.cpu["gpt-2x256"] as GptSize, mode, "cpu").build;
  const model = buildModel(shape, 1, engine);
  const words = Int32Array.from({ length: train.batchSize * train.sequenceLength }, (_, i) => (i * 7919) % 256);
  const tokens = engine.keep(tensor(words, { shape: [train.batchSize, train.sequenceLength], engine }));
  const run = (...[input, target]: readonly Tensor[]): Tensor => backward(model.loss(input!, target!));
  return { parameters: model.parameters(), args: [tokens, tokens], run };
}
