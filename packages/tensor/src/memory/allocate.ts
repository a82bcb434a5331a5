import type { Engine } from "../engine.ts";
import { DTypeError, describe, OutOfMemoryError } from "../errors.ts";
import type { Meta } from "../op.ts";
import { numel } from "../shape.ts";
import type { MemoryCategory } from "./ledger.ts";
import { liveReport } from "./report.ts";
import { callSite } from "./site.ts";
import { Storage } from "./storage.ts";

/** A new buffer. Where memory is short, copies that can be made again and what the backend caches are given up first. */
export function allocateStorage(engine: Engine, meta: Meta, category: MemoryCategory): Storage {
  const { backend, ledger } = engine;
  const { dtype } = meta;
  const elements = numel(meta.shape);
  if (backend.dtypes?.includes(dtype) === false) {
    throw new DTypeError(
      "allocate",
      `the ${backend.name} backend has no ${dtype}, asked for ${describe(meta)}`,
      `use ${backend.dtypes.join(", ")}`,
    );
  }
  const bytes = engine.bytesOf(dtype, elements);
  if (exceeds(engine, bytes)) dropCastCopies(engine);
  if (exceeds(engine, bytes)) throw outOfMemory(engine, bytes, `the limit of ${engine.memoryLimitBytes} bytes`);
  const site = engine.recordsSites ? siteIn(engine) : undefined;
  const data = allocateData(engine, meta, elements, bytes);
  const storage = new Storage(engine, { data, dtype, elements, bytes }, category, site);
  if (ledger.isWatched) for (const o of ledger.observers) o.allocated(storage, meta.shape);
  return storage;
}

const exceeds = ({ ledger, memoryLimitBytes }: Engine, bytes: number): boolean =>
  ledger.liveBytes + bytes > memoryLimitBytes;

function allocateData(engine: Engine, { dtype }: Meta, elements: number, bytes: number): unknown {
  const { backend } = engine;
  try {
    return backend.allocate(dtype, elements);
  } catch (first) {
    if (!(first instanceof RangeError)) throw first;
    dropCastCopies(engine);
    backend.releaseCaches?.();
    try {
      return backend.allocate(dtype, elements);
    } catch {
      throw outOfMemory(engine, bytes, `the ${backend.name} device's memory`);
    }
  }
}

/** Gives up copies that nobody reads at the moment, where this code is not being recorded. */
function dropCastCopies({ notesHostEffects, isRehearsing, storages }: Engine): void {
  if (notesHostEffects || isRehearsing) return;
  for (const { copyOf, references } of [...storages]) if (copyOf !== undefined && references === 1) copyOf.drop();
}

const outOfMemory = (engine: Engine, bytes: number, boundary: string): OutOfMemoryError =>
  new OutOfMemoryError(
    "allocate",
    `${bytes} bytes more exceed ${boundary}\n${liveReport(engine)}`,
    "make the batch or the sequence shorter, use a reversible or checkpointed model, or dispose tensors earlier (scope)",
  );

function siteIn({ modulePath }: Engine): string {
  const caller = callSite();
  return modulePath.length === 0 ? caller : `${modulePath.join(".")} ${caller}`;
}
