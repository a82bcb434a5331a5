import { Module } from "@revnet-zero/nn";
import type { Key, Tensor } from "@revnet-zero/tensor";
import type { Distribution } from "./distributions.ts";
import type { FlowLayer } from "./flowLayer.ts";

export interface NormalizingFlowOptions {
  /** From data to the base distribution's samples. */
  readonly transform: FlowLayer;
  readonly base: Distribution;
}

/**
 * A density with exact likelihood and exact sampling: log p(x) = log p_base(f(x)) + log |det ∂f/∂x|.
 * Source: Dinh et al. 2014 (arXiv:1410.8516), section 2; Rezende & Mohamed 2015 (arXiv:1505.05770), section 3.
 *
 * ```ts
 * import { NormalizingFlow, randomKey, realNVP, randomNormal, StandardNormal } from "revnet-zero";
 *
 * const transform = realNVP({ dim: 2, couplings: 4, hidden: 16, key: randomKey(1) });
 * const flow = new NormalizingFlow({ transform, base: new StandardNormal({ shape: [2] }) });
 * const x = randomNormal([64, 2], { key: randomKey(2) });
 * flow.loss(x).backward();
 * flow.logProbability(x).shape; // => [ 64 ]
 * flow.sample(10, randomKey(3)).shape; // => [ 10, 2 ]
 * ```
 */
export class NormalizingFlow extends Module {
  readonly transform: FlowLayer;
  readonly base: Distribution;

  constructor({ transform, base }: NormalizingFlowOptions) {
    super();
    this.transform = transform;
    this.base = base;
  }

  /** log p(x) of every sample in nats: `[batch, ...]` -> `[batch]`. */
  logProbability(x: Tensor): Tensor {
    return this.within(x.engine, () => this.forward(x));
  }

  override forward(x: Tensor): Tensor {
    const { value, logDeterminant } = this.transform.call(x);
    return this.base.call(value).add(logDeterminant);
  }

  /** Mean negative log-likelihood of a batch in nats: a scalar to minimise. */
  loss(x: Tensor): Tensor {
    return this.within(x.engine, () => this.forward(x).mean().neg());
  }

  /** n independent samples; the same for the same key. Not recorded: for gradients through samples, `transform.inverse` them. */
  sample(n: number, key: Key): Tensor {
    const latents = this.base.sample(n, key);
    const { engine } = latents;
    try {
      return this.within(engine, () => engine.noGrad(() => this.transform.inverse(latents).value));
    } finally {
      latents.dispose();
    }
  }
}
