import { type Tensor, ValueError } from "@revnet-zero/tensor";
import { checkChoice } from "./options.ts";

/** How one vector becomes a pair of streams: two copies of it that are averaged at the end, or its two halves. */
export type StreamKind = "full" | "split";

/** The width of a stream. */
export function streamWidth(model: string, dModel: number, kind: StreamKind): number {
  checkChoice(model, "streams", kind, ["full", "split"]);
  const width = kind === "split" ? dModel / 2 : dModel;
  if (Number.isInteger(width)) return width;
  throw new ValueError(model, `dModel ${dModel} does not split in two`, "use an even dModel");
}

/** `[..., dModel]` -> two streams `[..., width]`. */
export function openStreams(x: Tensor, kind: StreamKind): [Tensor, Tensor] {
  return kind === "full" ? [x, x] : (x.split(2) as [Tensor, Tensor]);
}

/** Two streams `[..., width]` -> `[..., dModel]`. */
export function joinStreams([a, b]: readonly Tensor[], kind: StreamKind): Tensor {
  return kind === "full" ? a!.add(b!).mul(0.5) : a!.concat([b!], -1);
}
