import type { DType } from "../dtype.ts";
import { contiguous } from "../layout.ts";
import { cast } from "../ops/copy.ts";
import type { Storage } from "./storage.ts";

/**
 * A parameter's values in another float type, in a buffer that lives as long as the parameter's: what autocast reads. They are those of
 * one version of the source. Whoever writes to that makes them stale; who writes both says so.
 */
export class CastCopy {
  readonly source: Storage;
  readonly storage: Storage;
  #version: number | undefined;

  private constructor(source: Storage, storage: Storage) {
    this.source = source;
    this.storage = storage;
    storage.category = source.category;
    storage.copyOf = this;
  }

  /** Casts all of a buffer, which keeps the copy from then on. */
  static make(source: Storage, dtype: DType): CastCopy {
    const copy = new CastCopy(source, source.engine.allocate({ shape: [source.elements], dtype }));
    copy.#cast();
    source.keepCopy(copy);
    return copy;
  }

  /** Whether it holds the source's present values. */
  get isCurrent(): boolean {
    return this.#version === this.source.version;
  }

  /** The source's present values were written to it. */
  markCurrent(): void {
    this.#version = this.source.version;
  }

  /**
   * Casts the source again where it was written since, into the same buffer. False where a graph holds the values there are: those must not
   * be written over.
   */
  bringUpToDate(): boolean {
    const { engine, isSaved } = this.storage;
    // A rehearsal has no values: what was stale stays so.
    if (this.isCurrent || engine.isRehearsing) return true;
    if (isSaved) return false;
    this.storage.prepareWrite();
    this.#cast();
    this.storage.version++;
    return true;
  }

  #cast(): void {
    const { source, storage } = this;
    const { engine, dtype } = storage;
    const layout = contiguous([source.elements]);
    const [from, to] = [source, storage].map((s) => ({ data: s.data, dtype: s.dtype, ...layout }));
    const run = (): void => engine.backend.kernels.cast.run([from!], [to!], { dtype });
    if (engine.trace.isOn) {
      const { shape } = layout;
      const module = engine.modulePath.join(".");
      engine.trace.run(
        { op: cast.name, module, inputs: [{ shape, dtype: source.dtype }], outputs: [{ shape, dtype }] },
        run,
      );
    } else run();
    this.markCurrent();
  }

  /** The source keeps it no longer: whoever reads it has it for himself. */
  drop(): void {
    this.source.forgetCopy(this.storage.dtype);
    this.storage.copyOf = undefined;
    this.storage.release();
  }
}
