import { type AnyOp, dtypes, type Engine, type Meta, numel, type OpEvent, ops } from "@revnet-zero/tensor";

const bytesOf = (metas: readonly Meta[]): number =>
  metas.reduce((sum, { shape, dtype }) => sum + numel(shape) * dtypes[dtype].bytes, 0);

/** Bytes that every op of a run reads and writes; views move nothing. */
export function bytesMoved(engine: Engine, run: () => void): number {
  let bytes = 0;
  const stop = engine.trace.listen(({ op, inputs, outputs }: OpEvent) => {
    if ((ops as { readonly [name: string]: AnyOp | undefined })[op]?.kind === "view") return;
    bytes += bytesOf(inputs) + bytesOf(outputs);
  });
  run();
  stop();
  return bytes;
}
