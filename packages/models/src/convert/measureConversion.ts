import type { Module } from "@revnet-zero/nn";
import { readAll, type Tensor } from "@revnet-zero/tensor";

/** A model from one tensor to logits `[..., classes]`. */
export type LogitModel = Module & { forward(x: Tensor): Tensor };

/** How far a converted model is from its original, on given inputs. */
export interface ConversionReport {
  /** ‖converted - original‖ / ‖original‖ of the logits. */
  readonly relativeChange: number;
  /** Largest change of one logit. */
  readonly largestChange: number;
  /** Share of rows whose largest logit is in the same place. */
  readonly agreement: number;
  readonly isBitEqual: boolean;
}

/** Compares the logits of two models, both in eval mode and unrecorded. */
export async function measureConversion(
  original: LogitModel,
  converted: LogitModel,
  inputs: Tensor,
): Promise<ConversionReport> {
  const { engine } = inputs;
  const scope = engine.openScope("measureConversion");
  try {
    const logitsOf = (model: LogitModel): Tensor => engine.noGrad(() => model.inEval(() => model.call(inputs)));
    const logits = [original, converted].map(logitsOf);
    const [wanted, found, places, foundPlaces] = (await readAll([...logits, ...logits.map((l) => l.argmax(-1))])) as [
      Float32Array,
      Float32Array,
      Int32Array,
      Int32Array,
    ];
    let [error, size, largest, isBitEqual] = [0, 0, 0, true];
    wanted.forEach((w, i) => {
      const f = found[i]!;
      if (!Object.is(w, f)) isBitEqual = false;
      error += (f - w) ** 2;
      size += w ** 2;
      largest = Math.max(largest, Math.abs(f - w));
    });
    return {
      relativeChange: error === 0 ? 0 : Math.sqrt(error / size),
      largestChange: largest,
      agreement: places.filter((place, i) => place === foundPlaces[i]).length / places.length,
      isBitEqual,
    };
  } finally {
    scope.close();
  }
}
