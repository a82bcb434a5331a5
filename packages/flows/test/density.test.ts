import { AdamW } from "@revnet-zero/optim";
import { arange, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ActNorm,
  DiagonalNormal,
  type Distribution,
  FlowSequence,
  InvertibleLinear,
  initialiseFromData,
  NormalizingFlow,
  realNVP,
  StandardLogistic,
  StandardNormal,
} from "../src/index.ts";
import { engine, expectSame, floats } from "./fixtures.ts";
import { massOf, moons } from "./plane.ts";

/** Mean negative log-likelihood in nats of points under the normal distribution fitted to others (f64, closed form). */
function gaussianLoss(fitted: Tensor, points: Tensor): number {
  return engine.scope(() => {
    const [x, y] = [fitted.cast("f64"), points.cast("f64")];
    const mean = x.mean(0, { keepDims: true });
    const centred = x.sub(mean);
    const [a, b, , d] = centred
      .transpose()
      .matmul(centred)
      .mul(1 / x.shape[0]!)
      .dataSync() as Float64Array;
    const determinant = a! * d! - b! * b!;
    const inverse = tensor(
      [d!, -b!, -b!, a!].map((v) => v / determinant),
      { shape: [2, 2], dtype: "f64", engine },
    );
    const away = y.sub(mean);
    const squared = away.matmul(inverse).mul(away).sum(1).mean().itemSync();
    return 0.5 * squared + Math.log(2 * Math.PI) + 0.5 * Math.log(determinant);
  });
}

describe("a flow trained on two moons", () => {
  let flow: NormalizingFlow;
  beforeAll(() => {
    const transform = realNVP({ dim: 2, couplings: 6, hidden: 32, key: randomKey(1), engine });
    flow = new NormalizingFlow({ transform, base: new StandardNormal({ shape: [2], engine }) });
    engine.scope(() => {
      const first = moons(512, 1);
      initialiseFromData(flow, () => flow.logProbability(first));
    });
    using optimizer = new AdamW(flow.parameters(), { learningRate: 3e-3, weightDecay: 0 });
    for (let i = 0; i < 300; i++) {
      engine.scope(() => flow.loss(moons(256, 100 + i)).backward());
      optimizer.step();
      flow.zeroGrad();
    }
  });
  afterAll(() => flow.dispose());

  test("its density integrates to 1 within 1e-3, by the midpoint rule on 400 x 400 cells", () => {
    expect(Math.abs(massOf(flow, 400, 10) - 1)).toBeLessThan(1e-3);
  });

  test("it describes points it has not seen better than a fitted normal distribution, by a third of a nat", () => {
    engine.scope(() => {
      const [seen, unseen] = [moons(5000, 2), moons(5000, 3)];
      const loss = engine.noGrad(() => flow.loss(unseen).itemSync());
      expect(loss).toBeLessThan(gaussianLoss(seen, unseen) - 1 / 3);
    });
  });

  test("samples come back from their latents, and have the probability that the latents say", () => {
    engine.scope(() => {
      const samples = flow.sample(500, randomKey(9));
      expectSame(flow.sample(500, randomKey(9)), samples, "samples of one key");
      const [forward, latents] = engine.noGrad(() => [
        flow.transform.call(samples),
        flow.base.sample(500, randomKey(9)),
      ]);
      // float32 through 6 couplings whose scales reach e².
      const bound = 2 ** 10 * 2 ** -24;
      expect(forward!.value.sub(latents).abs().max().itemSync()).toBeLessThan(64 * bound);
      const back = engine.noGrad(() => flow.transform.inverse(forward!.value));
      expect(back.value.sub(samples).abs().max().itemSync()).toBeLessThan(64 * bound);
      const known = engine.noGrad(() => flow.base.call(latents).sub(back.logDeterminant));
      const found = engine.noGrad(() => flow.logProbability(samples));
      expect(found.sub(known).abs().max().itemSync()).toBeLessThan(256 * bound);
    });
  });

  test("its samples are as likely under it as the data is", () => {
    engine.scope(() => {
      const ofSamples = engine.noGrad(() => flow.loss(flow.sample(5000, randomKey(10))).itemSync());
      const ofData = engine.noGrad(() => flow.loss(moons(5000, 11)).itemSync());
      expect(Math.abs(ofSamples - ofData)).toBeLessThan(0.15);
    });
  });
});

test("change of variables: a linear flow of normals is the multivariate normal of its covariance", () => {
  for (const dim of [1, 2, 3, 8]) {
    engine.scope(() => {
      const options = { channels: dim, engine, dtype: "f64" as const };
      const mixing = new InvertibleLinear({ ...options, key: [dim, 2] });
      const norm = new ActNorm(options);
      for (const p of [...mixing.parameters(), ...norm.parameters()]) {
        p.detach().assign(p.detach().add(floats(p.shape, dim).mul(0.2)));
      }
      const transform = new FlowSequence({ layers: [norm, mixing] });
      const base = new StandardNormal({ shape: [dim], dtype: "f64", engine });
      const flow = new NormalizingFlow({ transform, base });
      // z = W (s x + b): x has mean -b / s and precision A Aᵀ's like, with A = W diag(s).
      const x = floats([20, dim], 5);
      const a = mixing.weight().mul(norm.logScale.exp());
      const away = x.add(norm.shift.mul(norm.logScale.neg().exp()));
      const squared = away.matmul(a.transpose().matmul(a)).mul(away).sum(1);
      const logNormaliser = norm.logScale
        .sum()
        .add(mixing.logScale.sum())
        .sub(0.5 * dim * Math.log(2 * Math.PI));
      const expected = squared.mul(-0.5).add(logNormaliser);
      expect(flow.logProbability(x).sub(expected).abs().max().itemSync()).toBeLessThan(1e-11);
      flow.dispose();
    });
  }
});

describe("base distributions", () => {
  const shifted = new DiagonalNormal({ shape: [1], dtype: "f64", engine });
  engine.scope(() => {
    shifted.mean.detach().assign(tensor([0.7], { dtype: "f64", engine }));
    shifted.logDeviation.detach().assign(tensor([-0.4], { dtype: "f64", engine }));
  });
  const cases: { readonly name: string; readonly of: Distribution }[] = [
    { name: "standard normal", of: new StandardNormal({ shape: [1], dtype: "f64", engine }) },
    { name: "standard logistic", of: new StandardLogistic({ shape: [1], dtype: "f64", engine }) },
    { name: "diagonal normal", of: shifted },
  ];
  // A grid wide enough for the logistic's tails: e^-40.
  const [cells, side] = [8000, 80];
  const density = (of: Distribution): Float64Array =>
    engine.scope(() => {
      const middles = arange(cells, { dtype: "f64", engine })
        .add(0.5)
        .mul(side / cells)
        .sub(side / 2);
      return engine.noGrad(
        () =>
          of
            .call(middles.reshape([cells, 1]))
            .exp()
            .dataSync() as Float64Array,
      );
    });

  test.each(cases)("$name: the density integrates to 1", ({ of }) => {
    expect(Math.abs(density(of).reduce((a, b) => a + b) * (side / cells) - 1)).toBeLessThan(1e-6);
  });

  test.each(cases)("$name: samples follow the density (Kolmogorov-Smirnov at 1 in 10,000)", ({ of }) => {
    const n = 20_000;
    const drawn = engine.scope(() => of.sample(n, randomKey(3)).dataSync().toSorted());
    let [mass, below, distance] = [0, 0, 0];
    density(of).forEach((p, i) => {
      mass += p * (side / cells);
      const edge = ((i + 1) * side) / cells - side / 2;
      while (below < n && drawn[below]! <= edge) below++;
      distance = Math.max(distance, Math.abs(mass - below / n));
    });
    // The limit distribution passes 2.23 / √n once in 10,000 draws.
    expect(distance).toBeLessThan(2.23 / Math.sqrt(n));
  });

  test("elements are independent: the log-probability of a sample is the sum of theirs", () => {
    engine.scope(() => {
      const z = floats([4, 2, 3], 1);
      const joint = new StandardLogistic({ shape: [2, 3], dtype: "f64", engine }).call(z);
      const single = cases[1]!.of
        .call(z.reshape([-1, 1]))
        .reshape([4, 6])
        .sum(1);
      expect(joint.sub(single).abs().max().itemSync()).toBeLessThan(1e-14);
    });
  });
});
