import type { BufferView, DType, HostCopies, HostCopy } from "@revnet-zero/tensor";
import type { HostMove, SlotView } from "./program.ts";

/** What is told of copies in host memory while they are made. */
export interface MoveObserver {
  /** The first elements of a buffer. */
  view(data: unknown, dtype: DType, elements: number): SlotView;
  note(move: HostMove): void;
  refuse(reason: string): void;
}

/** A device's copies in host memory, noted while they are made. */
export class WatchedCopies implements HostCopies<unknown> {
  readonly #copies: HostCopies<unknown>;
  readonly #observer: MoveObserver;
  #made = 0;
  /** Not released yet. */
  live = 0;

  constructor(copies: HostCopies<unknown>, observer: MoveObserver) {
    this.#copies = copies;
    this.#observer = observer;
  }

  copy(data: unknown, dtype: DType, elements: number): HostCopy<unknown> {
    const observer = this.#observer;
    const one = this.#copies.copy(data, dtype, elements);
    const copy = this.#made++;
    this.live++;
    /** The buffer that is read, or written, until the copy is settled. */
    let inputs: readonly SlotView[] = [observer.view(data, dtype, elements)];
    let outputs: readonly SlotView[] = [];
    observer.note({ kind: "copy", copy, inputs, outputs });
    return {
      copyTo: (to) => {
        one.copyTo(to);
        [inputs, outputs] = [[], [observer.view(to, dtype, elements)]];
        observer.note({ kind: "copyTo", copy, inputs, outputs });
      },
      settle: () => {
        one.settle();
        observer.note({ kind: "settle", copy, inputs, outputs });
        [inputs, outputs] = [[], []];
      },
      release: () => {
        one.release();
        this.live--;
        observer.note({ kind: "release", copy, inputs, outputs });
      },
    };
  }

  copiesMs(): number {
    this.#observer.refuse("it asks how long copies took");
    return this.#copies.copiesMs();
  }
  waitsMs(): number {
    this.#observer.refuse("it asks how long copies were waited for");
    return this.#copies.waitsMs();
  }
}

/** The copies of a recording that is run. */
export class RunningCopies {
  readonly #copies: HostCopies<unknown> | undefined;
  readonly #running = new Map<number, HostCopy<unknown>>();

  constructor(copies: HostCopies<unknown> | undefined) {
    this.#copies = copies;
  }

  /** What makes a move on these buffers. */
  mover({ kind, copy, inputs }: HostMove, buffer: BufferView<unknown> | undefined): () => void {
    const running = this.#running;
    switch (kind) {
      case "copy": {
        const [{ dtype, shape }] = inputs as [SlotView];
        return () => void running.set(copy, this.#copies!.copy(buffer!.data, dtype, shape[0]!));
      }
      case "copyTo":
        return () => running.get(copy)!.copyTo(buffer!.data);
      case "settle":
        return () => running.get(copy)!.settle();
      case "release":
        return () => {
          running.get(copy)!.release();
          running.delete(copy);
        };
    }
  }

  /** Gives up what a run that failed has left. */
  end(): void {
    for (const copy of this.#running.values()) copy.release();
    this.#running.clear();
  }
}
