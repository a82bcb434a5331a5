import { dtypes } from "../dtype.ts";
import { DTypeError, describe, ShapeError } from "../errors.ts";
import { contiguous, isContiguous, type Layout } from "../layout.ts";
import type { Storage } from "../memory/storage.ts";
import type { Meta } from "../op.ts";
import { numel, sameShape } from "../shape.ts";
import { makeTensor } from "./link.ts";
import type { Tensor } from "./tensor.ts";

/** Where an output goes: the rows of a row-major tensor from `first` on, along its first axis. */
export interface Rows {
  readonly tensor: Tensor;
  readonly first: number;
}

/** A part of a buffer. */
export interface Inside {
  readonly storage: Storage;
  readonly layout: Layout;
}

/** What kernels that write inside of buffers may ask of a place. */
const ALIGNED_BYTES = 256;

function layoutOf(op: string, { tensor, first }: Rows, { shape, dtype }: Meta): Layout {
  const { layout } = tensor;
  if (tensor.dtype !== dtype)
    throw new DTypeError(
      op,
      `${describe({ shape, dtype })} is no part of ${describe(tensor)}`,
      "give rows of its dtype",
    );
  const [rows = 0, ...rest] = shape;
  const isPart = sameShape(rest, layout.shape.slice(1)) && first >= 0 && first + rows <= (layout.shape[0] ?? 0);
  if (!isPart || !isContiguous(layout))
    throw new ShapeError(
      op,
      `${describe({ shape, dtype })} does not fit ${describe(tensor)} from row ${first} on`,
      "give a row-major tensor that has these rows",
    );
  return { ...contiguous(shape), offset: layout.offset + first * numel(rest) };
}

/** The place of an output, where a kernel can write there; undefined where it begins at no round address. */
export function rowsAt(op: string, rows: Rows, meta: Meta): Inside | undefined {
  const layout = layoutOf(op, rows, meta);
  const { storage } = rows.tensor;
  if ((layout.offset * dtypes[meta.dtype].bytes) % ALIGNED_BYTES !== 0) return undefined;
  storage.prepareWrite();
  return { storage, layout };
}

/** A tensor copied to its place, and let go of. */
export function placed(op: string, rows: Rows, t: Tensor): Tensor {
  const { engine, storage, layout: whole, dtype } = rows.tensor;
  const layout = layoutOf(op, rows, t);
  const view = (of: Storage, { shape, strides, offset }: Layout) => ({ data: of.data, dtype, shape, strides, offset });
  storage.prepareWrite();
  const starts = whole.shape.map((_, axis) => (axis === 0 ? rows.first : 0));
  const all = view(storage, whole);
  engine.backend.kernels.writeSlice.run([all, view(t.storage, t.layout)], [all], { starts });
  storage.version++;
  t.dispose();
  return makeTensor({ engine, storage: storage.retain(), layout, dtype });
}
