import type {
  Backend,
  BufferView,
  DType,
  Engine,
  HostCopies,
  Kernel,
  Storage,
  Tensor,
  TypedArray,
} from "@revnet-zero/tensor";
import { WatchedCopies } from "./hostMoves.ts";
import type { Instruction, Program, Slot, SlotView } from "./program.ts";

/**
 * A backend seen while it works: notes what it is asked for and passes it on. What cannot be run again without the program
 * (values read by the host, buffers of others freed) becomes the reason why there is no recording; the work goes on.
 */
export class Recorder {
  readonly instructions: Instruction[] = [];
  readonly backend: Backend;
  reason: string | undefined;
  readonly #engine: Engine;
  readonly #slots = new Map<unknown, Slot>();
  readonly #captured = new Set<Storage>();
  readonly #outside: ReadonlyMap<unknown, Storage>;
  #hostCopies: WatchedCopies | undefined;

  constructor(engine: Engine, args: readonly Tensor[]) {
    const { backend } = engine;
    this.#engine = engine;
    this.#outside = new Map([...engine.storages].map((s) => [s.data, s]));
    args.forEach((t, index) => {
      if (!this.#slots.has(t.storage.data)) this.#slots.set(t.storage.data, { kind: "argument", index });
    });
    this.backend = this.#watched(backend);
  }

  #watched(backend: Backend): Backend {
    const table = backend.kernels as Readonly<Record<string, Kernel<unknown, unknown>>>;
    const kernels = Object.fromEntries(
      Object.entries(table).map(([name, kernel]) => [name, this.#kernel(name, kernel)]),
    );
    const { readSync, hostCopies, arithmetic, assumptions, dtypes, bytesOf, largestTemporary } = backend;
    return {
      name: backend.name,
      isSynchronous: backend.isSynchronous,
      ...(arithmetic === undefined ? {} : { arithmetic }),
      ...(assumptions === undefined ? {} : { assumptions }),
      ...(dtypes === undefined ? {} : { dtypes }),
      ...(largestTemporary === undefined ? {} : { largestTemporary }),
      ...(bytesOf === undefined ? {} : { bytesOf: bytesOf.bind(backend) }),
      kernels: kernels as unknown as Backend["kernels"],
      elementwise: (op, attrs, inputs, output) => {
        backend.elementwise(op, attrs, inputs, output);
        this.#note({ kind: "elementwise", op, attrs, inputs: this.#views(inputs), outputs: this.#views([output]) });
      },
      allocate: (dtype, elements) => {
        const data = backend.allocate(dtype, elements);
        this.#slots.set(data, { kind: "made", dtype, elements });
        return data;
      },
      free: (data) => {
        this.#slots.delete(data);
        backend.free(data);
      },
      write: (data, values) => {
        backend.write(data, values);
        const slot = this.#slotOf(data);
        if (slot.kind !== "made") this.refuse("it writes numbers of the host into a tensor made outside");
        else {
          const output = this.#whole(data, slot.dtype, slot.elements);
          this.#note({ kind: "write", words: values.slice(), inputs: [], outputs: [output] });
        }
      },
      read: (data, dtype, elements) => {
        this.refuse("it reads values on the host");
        return backend.read(data, dtype, elements);
      },
      ...(readSync === undefined
        ? {}
        : {
            readSync: (data: unknown, dtype: DType, elements: number) => {
              this.refuse("it reads values on the host");
              return readSync.call(backend, data, dtype, elements);
            },
          }),
      ...(hostCopies === undefined ? {} : { hostCopies: this.#watchedCopies(hostCopies) }),
      releaseCaches: () => backend.releaseCaches?.(),
    };
  }

  #watchedCopies(copies: HostCopies<unknown>): HostCopies<unknown> {
    this.#hostCopies = new WatchedCopies(copies, {
      view: (data, dtype, elements) => this.#whole(data, dtype, elements),
      note: (move) => this.#note(move),
      refuse: (reason) => this.refuse(reason),
    });
    return this.#hostCopies;
  }

  #kernel(name: string, kernel: Kernel<unknown, unknown>): Kernel<unknown, unknown> {
    const run: Kernel<unknown, unknown>["run"] = (inputs, outputs, attrs) => {
      kernel.run(inputs, outputs, attrs);
      this.#note({
        kind: "kernel",
        name,
        run: (...given) => kernel.run(...given),
        attrs,
        inputs: this.#views(inputs),
        outputs: this.#views(outputs),
      });
    };
    return { ...kernel, run };
  }

  #note(instruction: Instruction): void {
    this.instructions.push(instruction);
  }

  /** What was written last is made by the host at every call. */
  noteValues(data: unknown, make: () => TypedArray): void {
    const written = this.instructions.at(-1);
    // Into a tensor made outside: refused already.
    if (written?.kind !== "write" || written.outputs[0]!.slot !== this.#slotOf(data)) return;
    this.instructions.splice(-1, 1, { kind: "values", make, inputs: [], outputs: written.outputs });
  }

  /** Of a buffer that was made before: a recording would free it only once. */
  noteFreed(storage: Storage): void {
    if (this.#outside.get(storage.data) === storage) this.refuse("it frees a tensor that was made outside");
  }

  /** Whether a buffer was made before, and is no argument: every call has the same one. */
  isOutside({ data }: Storage): boolean {
    return this.#outside.has(data) && this.#slots.get(data)?.kind !== "argument";
  }

  /** There will be no recording. The first reason counts. */
  refuse(reason: string): void {
    const { modulePath } = this.#engine;
    this.reason ??= modulePath.length === 0 ? reason : `${reason} (in ${modulePath.join(".")})`;
  }

  #views(views: readonly BufferView<unknown>[]): SlotView[] {
    return views.map(({ data, dtype, shape, strides, offset }) => {
      return { slot: this.#slotOf(data), dtype, shape, strides, offset };
    });
  }

  #whole(data: unknown, dtype: DType, elements: number): SlotView {
    return { slot: this.#slotOf(data), dtype, shape: [elements], strides: [1], offset: 0 };
  }

  #slotOf(data: unknown): Slot {
    const known = this.#slots.get(data);
    if (known !== undefined) return known;
    const storage = this.#outside.get(data)!;
    const slot: Slot = { kind: "captured", storage };
    this.#slots.set(data, slot);
    this.#captured.add(storage);
    return slot;
  }

  /** What the function returned, as slots; what it made and kept beside that is a reason. */
  finish(results: readonly Tensor[]): Pick<Program, "results" | "captured" | "copies"> {
    const found = results.map(({ storage, layout: { shape, strides, offset }, dtype }) => {
      return { slot: this.#slotOf(storage.data), dtype, shape, strides, offset, category: storage.category };
    });
    const returned = new Set<Slot>(found.map((r) => r.slot));
    for (const slot of this.#slots.values()) {
      if (slot.kind !== "made" || returned.has(slot)) continue;
      this.refuse(`it keeps a tensor that it does not return (${slot.elements} elements, ${slot.dtype})`);
    }
    if ((this.#hostCopies?.live ?? 0) > 0) this.refuse("it keeps tensors in host memory");
    const captured = [...this.#captured];
    const written = new Set(this.instructions.flatMap((x) => x.outputs.map((v) => v.slot)));
    const copies = captured.flatMap(({ copyOf, data }) =>
      copyOf?.isCurrent === true && written.has(this.#slots.get(data)!) ? [copyOf] : [],
    );
    return { results: found, captured, copies };
  }
}
