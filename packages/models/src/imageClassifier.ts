import { Module } from "@revnet-zero/nn";
import { describe, ShapeError, type Tensor, ValueError } from "@revnet-zero/tensor";

/** What images a model takes, and what it tells them apart into. */
export interface ImageOptions {
  /** Pixels: one number for square images, or [height, width]. */
  readonly imageSize: number | readonly [height: number, width: number];
  /** 1 for grey, 3 for colour. */
  readonly channels: number;
  readonly numClasses: number;
}

export interface ClassificationLossOptions {
  /**
   * Share of the target spread evenly over all classes, 0 to below 1. Default 0.
   * Source: Szegedy et al. 2016 (arXiv:1512.00567), section 7.
   */
  readonly labelSmoothing?: number;
}

/** A model from images `[batch, channels, height, width]` f32 to logits `[batch, classes]`. */
export abstract class ImageClassifier extends Module {
  abstract readonly options: ImageOptions;
  abstract override forward(images: Tensor): Tensor;

  /** Mean cross-entropy in nats per image; labels are i32 `[batch]`, and negative ones do not count. */
  loss(images: Tensor, labels: Tensor, { labelSmoothing = 0 }: ClassificationLossOptions = {}): Tensor {
    if (labels.rank !== 1 || labels.shape[0] !== images.shape[0] || labels.dtype !== "i32") {
      throw new ShapeError(
        "model",
        `needs a label for each of the images ${describe(images)}, got ${describe(labels)}`,
        "give labels as [batch] i32",
      );
    }
    if (!(labelSmoothing >= 0 && labelSmoothing < 1))
      throw new ValueError("model", `labelSmoothing is ${labelSmoothing}`, "use a share from 0 to below 1, say 0.1");
    return images.engine.scope(() => {
      const logits = (this as ImageClassifier).call(images);
      const isCounted = labels.greaterEqual(0).cast("f32");
      const count = isCounted.sum().maximum(1);
      const chosen = logits.crossEntropy(labels);
      if (labelSmoothing === 0) return chosen.sum().div(count);
      const even = logits.logSoftmax().mean(-1).neg().mul(isCounted);
      return chosen
        .mul(1 - labelSmoothing)
        .add(even.mul(labelSmoothing))
        .sum()
        .div(count);
    });
  }

  /** The likeliest class of each image, i32 `[batch]`: in eval mode and unrecorded. */
  predict(images: Tensor): Tensor {
    const { engine } = images;
    return engine.scope(() =>
      engine.noGrad(() => this.inEval(() => (this as ImageClassifier).call(images).argmax(-1))),
    );
  }
}

/** [height, width] of the images. */
export function sizeOf({ imageSize }: Pick<ImageOptions, "imageSize">): readonly [number, number] {
  return typeof imageSize === "number" ? [imageSize, imageSize] : imageSize;
}

/** Throws unless x are images of the size that a model was built for. */
export function checkImages(model: string, x: Tensor, options: ImageOptions): void {
  const [height, width] = sizeOf(options);
  const { channels } = options;
  const [, c, h, w] = x.shape;
  if (x.rank === 4 && c === channels && h === height && w === width && x.dtype === "f32") return;
  throw new ShapeError(
    model,
    `needs images [batch, ${channels}, ${height}, ${width}] f32, got ${describe(x)}`,
    "unsqueeze(0) a single image; build the model for the images' size",
  );
}
