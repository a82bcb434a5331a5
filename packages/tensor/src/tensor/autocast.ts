import { type DType, dtypes, isFloat } from "../dtype.ts";
import type { Engine } from "../engine.ts";
import { isContiguous } from "../layout.ts";
import { CastCopy } from "../memory/castCopy.ts";
import type { AnyOp } from "../op.ts";
import { cast } from "../ops/copy.ts";
import { makeTensor } from "./link.ts";
import { record } from "./record.ts";
import type { Tensor } from "./tensor.ts";

// What autocast does to operands. Parameters are read in fewer bits by every pass, and change once a step: their copies are kept.

/** Runs `cast`. */
type Cast = (t: Tensor, dtype: DType) => Tensor;

/** Autocast: matrix products read operands rounded to the low precision, norms and losses read f32. */
export function castForPolicy(engine: Engine, op: AnyOp, inputs: readonly Tensor[], run: Cast): readonly Tensor[] {
  const low = engine.ambient.autocast;
  if (low === undefined || op.autocast === undefined) return inputs;
  const target = op.autocast === "low" ? low : "f32";
  return inputs.map((t, i) =>
    isFloat(t.dtype) && t.dtype !== "f64" && t.dtype !== target && op.readsAnyFloat?.includes(i) !== true
      ? castOperand(t, target, run)
      : t,
  );
}

/** `t` in another float type: a parameter's copy where one is kept, else a cast. The same values and the same node of the graph. */
export function castOperand(t: Tensor, dtype: DType, run: Cast): Tensor {
  const { engine, layout } = t;
  const kept = copyOf(t, dtype);
  if (kept === undefined) return run(t, dtype);
  const copy = makeTensor({ engine, storage: kept.storage.retain(), layout, dtype });
  return record(engine, cast, [t], [copy], { dtype })[0]!;
}

/** The copy of a parameter, made or brought up to date where it must be and may be. */
function copyOf(t: Tensor, dtype: DType): CastCopy | undefined {
  const { engine, storage } = t;
  if (!isKept(t, dtype)) return undefined;
  const known = storage.copies?.get(dtype);
  if (known?.bringUpToDate() === true) return known;
  // A recording must not keep what it makes: the next pass that is none does.
  return engine.notesHostEffects ? undefined : CastCopy.make(storage, dtype);
}

/** Parameters of float32 as wholes, in fewer bits. */
const isKept = ({ engine, storage, layout, dtype, size }: Tensor, to: DType): boolean =>
  storage.category === "parameters" &&
  engine.readsCopiesOf(storage) &&
  dtype === "f32" &&
  dtypes[to].bytes < dtypes[dtype].bytes &&
  layout.offset === 0 &&
  size === storage.elements &&
  isContiguous(layout);

/** A parameter's copy that holds its present values and may be written: for who writes the parameter, and writes it as well. */
export function writableCopyOf({ engine, storage, layout }: Tensor): Tensor | undefined {
  if (!engine.readsCopiesOf(storage)) return undefined;
  for (const copy of storage.copies?.values() ?? []) {
    if (!copy.isCurrent || copy.storage.isSaved) continue;
    return makeTensor({ engine, storage: copy.storage.retain(), layout, dtype: copy.storage.dtype });
  }
  return undefined;
}
