import { CpuBackend } from "@revnet-zero/backend-cpu";
import { compileGradients } from "@revnet-zero/compile";
import { Linear, Module } from "@revnet-zero/nn";
import { AdamW, clipByGlobalNorm } from "@revnet-zero/optim";
import { Engine, foldKey, randomKey, randomNormal, type Tensor, tensor } from "@revnet-zero/tensor";
import { answerRequests } from "../subject.ts";
import type { MlpSize } from "./configuration.ts";

// Our classifier: told to build, then to make steps one by one.

class Classifier extends Module {
  readonly layers: readonly Linear[];

  constructor(widths: readonly number[], engine: Engine) {
    super();
    const last = widths.length - 2;
    this.layers = widths.slice(1).map((out, i) => {
      const key = foldKey(randomKey(1), i);
      return new Linear({ in: widths[i]!, out, key, engine, activation: i === last ? "none" : "relu" });
    });
  }

  override forward(x: Tensor): Tensor {
    return this.layers.reduce((y, layer) => layer.forward(y), x);
  }
}

function build({ widths, batchSize }: MlpSize) {
  const backend = new CpuBackend();
  const engine = new Engine(backend);
  const model = new Classifier(widths, engine);
  const optimizer = new AdamW(model.parameters(), { learningRate: 1e-3, weightDecay: 0.1 });
  const x = engine.keep(randomNormal([batchSize, widths[0]!], { key: randomKey(2), engine }));
  const labels = Int32Array.from({ length: batchSize }, (_, i) => i % widths.at(-1)!);
  const targets = engine.keep(tensor(labels, { engine }));
  const gradients = compileGradients(model.parameters(), (inputs: Tensor, labels: Tensor) => {
    const loss = model.forward(inputs).crossEntropy(labels).mean();
    loss.backward();
    return loss.detach();
  });
  const step = (): number =>
    engine.scope(() => {
      const loss = gradients(x, targets);
      const { factor } = clipByGlobalNorm(model.parameters(), 1);
      optimizer.step({ gradientFactor: factor });
      optimizer.zeroGrad();
      return loss.itemSync();
    });
  return { threads: backend.threads, tier: backend.tier, step };
}

let trainee: ReturnType<typeof build> | undefined;
await answerRequests((request: { readonly build: MlpSize } | { readonly step: number }) => {
  if ("build" in request) {
    trainee = build(request.build);
    return { threads: trainee.threads, tier: trainee.tier };
  }
  const start = performance.now();
  const loss = trainee!.step();
  return { timeMs: performance.now() - start, loss };
});
