import type { Tensor } from "@revnet-zero/tensor";
import { Module } from "./module.ts";
import { checkProbability } from "./options.ts";

/**
 * Zeroes elements with probability p and scales the rest by 1 / (1 - p); the identity in eval. Draws its key from the
 * engine (`engine.withKey`), so the mask is a function of the place in the program and is never stored.
 * Source: Srivastava et al. 2014, "Dropout: a simple way to prevent neural networks from overfitting".
 */
export class Dropout extends Module {
  readonly p: number;

  constructor(p: number) {
    super();
    checkProbability("Dropout", p);
    this.p = p;
  }

  override forward(x: Tensor): Tensor {
    return this.training && this.p > 0 ? x.dropout(this.p, x.engine.nextKey("Dropout")) : x;
  }
}
