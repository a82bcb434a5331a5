import { type Tensor, ValueError } from "@revnet-zero/tensor";

export interface GradScalerOptions {
  /** What the loss is multiplied with at first. Default 65536. */
  readonly initialScale: number;
  /** The scale grows by this after `growthInterval` steps without an overflow. Default 2. */
  readonly growthFactor: number;
  /** It shrinks by this after an overflow. Default 0.5. */
  readonly backoffFactor: number;
  /** Default 2000. */
  readonly growthInterval: number;
}

/** Everything a scaler must be given back to continue bit for bit. */
export interface GradScalerState {
  readonly scale: number;
  /** Steps without an overflow since the scale last changed. */
  readonly goodSteps: number;
  /** Steps that were left out, over the whole run. */
  readonly skippedSteps: number;
}

const defaults: GradScalerOptions = {
  initialScale: 2 ** 16,
  growthFactor: 2,
  backoffFactor: 0.5,
  growthInterval: 2000,
};

/** Larger than any gradient asks for; beyond 2^127 float32 has no such number. */
const LARGEST = 2 ** 60;

const isPowerOfTwo = (value: number): boolean => value > 0 && Number.isInteger(Math.log2(value));

/**
 * Keeps the gradients of float16 ops from vanishing: the loss is multiplied by a scale, and the optimizer's gradient factor
 * takes it back. A step whose gradients overflow is left out and the scale shrinks; without overflows it grows. Scales are powers
 * of two, so a float32 gradient comes out with the bits it has without a scaler.
 * Source: Micikevicius et al. 2018 (arXiv:1710.03740), section 3.2, with the dynamic rule of its section 3.2 as PyTorch has it.
 *
 * ```ts
 * import { AdamW, clipByGlobalNorm, defaultEngine, GradScaler, tensor } from "revnet-zero";
 *
 * const w = tensor([4, -3]).requireGrad();
 * const optimizer = new AdamW([w]);
 * const scaler = new GradScaler();
 * const engine = defaultEngine();
 * for (let step = 0; step < 3; step++) {
 *   const scope = engine.openScope();
 *   scaler.scaleLoss(engine.autocast("f16", () => w.square().sum())).backward();
 *   const { norm, factor } = clipByGlobalNorm([w], 1, { scale: scaler.scale });
 *   const isFinite = Number.isFinite(await norm.item());
 *   if (isFinite) optimizer.step({ gradientFactor: factor });
 *   optimizer.zeroGrad();
 *   scaler.update(isFinite);
 *   scope.close();
 * }
 * scaler.scale; // => 65536
 * ```
 */
export class GradScaler {
  readonly #options: GradScalerOptions;
  #scale: number;
  #goodSteps = 0;
  #skippedSteps = 0;

  constructor(options: Partial<GradScalerOptions> = {}) {
    this.#options = { ...defaults, ...options };
    const { initialScale, growthFactor, backoffFactor, growthInterval } = this.#options;
    for (const [name, value] of Object.entries({ initialScale, growthFactor, backoffFactor })) {
      if (!isPowerOfTwo(value))
        throw new ValueError("GradScaler", `${name} is ${value}`, "use a power of two: scaling by others rounds");
    }
    if (growthFactor < 1 || backoffFactor > 1)
      throw new ValueError(
        "GradScaler",
        `growthFactor is ${growthFactor}, backoffFactor ${backoffFactor}`,
        "2 and 0.5",
      );
    if (!Number.isInteger(growthInterval) || growthInterval < 1)
      throw new ValueError("GradScaler", `growthInterval is ${growthInterval}`, "use a whole number of steps from 1");
    this.#scale = initialScale;
  }

  /** What gradients are multiplied with at present. */
  get scale(): number {
    return this.#scale;
  }

  /** Steps left out so far. */
  get skippedSteps(): number {
    return this.#skippedSteps;
  }

  /** The loss to call `backward` on. */
  scaleLoss(loss: Tensor): Tensor {
    return loss.mul(this.#scale);
  }

  /** Ends a step: whether its gradients were all numbers. Where they were not, the step must have been left out. */
  update(areFinite: boolean): void {
    const { growthFactor, backoffFactor, growthInterval } = this.#options;
    if (!areFinite) {
      this.#scale *= backoffFactor;
      this.#goodSteps = 0;
      this.#skippedSteps++;
    } else if (++this.#goodSteps === growthInterval) {
      this.#scale = Math.min(this.#scale * growthFactor, LARGEST);
      this.#goodSteps = 0;
    }
  }

  stateDict(): GradScalerState {
    return { scale: this.#scale, goodSteps: this.#goodSteps, skippedSteps: this.#skippedSteps };
  }

  loadStateDict({ scale, goodSteps, skippedSteps }: GradScalerState): void {
    if (!isPowerOfTwo(scale) || !Number.isSafeInteger(goodSteps) || !Number.isSafeInteger(skippedSteps)) {
      const found = JSON.stringify({ scale, goodSteps, skippedSteps });
      throw new ValueError("GradScaler", `${found} is no state of a scaler`, "give what stateDict() gave");
    }
    this.#scale = scale;
    this.#goodSteps = goodSteps;
    this.#skippedSteps = skippedSteps;
  }
}
