import type { Tensor } from "@revnet-zero/tensor";
import fc from "fast-check";
import {
  Adafactor,
  type AdafactorOptions,
  AdamW,
  type AdamWOptions,
  Lion,
  type LionOptions,
  type Optimizer,
  type OptimizerOptions,
  SGD,
  type SGDOptions,
} from "../src/index.ts";
import { adafactor, adamw, lion, type Oracle, sgd } from "./oracles.ts";

/** An optimizer of some options, with its written-out twin. */
export interface Algorithm {
  readonly text: string;
  readonly learningRate: number;
  readonly make: (parameters: readonly Tensor[]) => Optimizer<OptimizerOptions>;
  /** For one parameter. */
  readonly oracle: (size: number, shape: readonly number[]) => Oracle;
  /** Elements of state for a parameter of a shape. */
  readonly stateSize: (shape: readonly number[]) => number;
}

const between = (min: number, max: number): fc.Arbitrary<number> => fc.double({ min, max, noNaN: true });
const product = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1);
const learningRateScale = 1;
const describe = (name: string, options: object): string => `${name} ${JSON.stringify(options)}`;

const sgdAlgorithm = fc
  .record({
    learningRate: between(0.001, 0.1),
    momentum: fc.constantFrom(0, 0.5, 0.9),
    nesterov: fc.boolean(),
    weightDecay: fc.constantFrom(0, 0.1),
  })
  .map((changes): Algorithm => {
    const options: SGDOptions = { learningRateScale, ...changes };
    return {
      text: describe("SGD", options),
      learningRate: options.learningRate,
      make: (parameters) => new SGD(parameters, options),
      oracle: (size) => sgd(options, size),
      stateSize: (shape) => (options.momentum === 0 ? 0 : product(shape)),
    };
  });

const adamwAlgorithm = fc
  .record({
    learningRate: between(0.001, 0.1),
    beta1: fc.constantFrom(0, 0.5, 0.9),
    beta2: fc.constantFrom(0.9, 0.95, 0.999),
    eps: fc.constantFrom(1e-8, 1e-3),
    weightDecay: fc.constantFrom(0, 0.1),
  })
  .map((changes): Algorithm => {
    const options: AdamWOptions = { learningRateScale, ...changes };
    return {
      text: describe("AdamW", options),
      learningRate: options.learningRate,
      make: (parameters) => new AdamW(parameters, options),
      oracle: (size) => adamw(options, size),
      stateSize: (shape) => 2 * product(shape),
    };
  });

const lionAlgorithm = fc
  .record({
    learningRate: between(0.001, 0.01),
    beta1: fc.constantFrom(0.5, 0.9),
    beta2: fc.constantFrom(0.9, 0.99),
    weightDecay: fc.constantFrom(0, 0.1),
  })
  .map((changes): Algorithm => {
    const options: LionOptions = { learningRateScale, ...changes };
    return {
      text: describe("Lion", options),
      learningRate: options.learningRate,
      make: (parameters) => new Lion(parameters, options),
      oracle: (size) => lion(options, size),
      stateSize: product,
    };
  });

const adafactorAlgorithm = fc
  .record({
    learningRate: between(0.001, 0.1),
    relativeStep: fc.boolean(),
    clipThreshold: fc.constantFrom(0.5, 1, 2),
    weightDecay: fc.constantFrom(0, 0.1),
    decayPower: fc.constantFrom(0.5, 0.8),
  })
  .map((changes): Algorithm => {
    const options: AdafactorOptions = { learningRateScale, eps1: 1e-30, eps2: 1e-3, ...changes };
    return {
      text: describe("Adafactor", options),
      learningRate: options.learningRate,
      make: (parameters) => new Adafactor(parameters, options),
      oracle: (size, shape) => adafactor(options, size, shape),
      stateSize: (shape) => {
        if (shape.length < 2) return product(shape);
        const [rows, columns] = shape.slice(-2) as [number, number];
        return product(shape) / columns + product(shape) / rows;
      },
    };
  });

/** One arbitrary an optimizer. */
export const algorithms: Readonly<Record<string, fc.Arbitrary<Algorithm>>> = {
  SGD: sgdAlgorithm,
  AdamW: adamwAlgorithm,
  Lion: lionAlgorithm,
  Adafactor: adafactorAlgorithm,
};
