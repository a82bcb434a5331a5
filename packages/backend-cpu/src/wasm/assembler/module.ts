import { section, text, unsigned, vector } from "./encode.ts";
import { FunctionBuilder, type Local, localAt } from "./function.ts";
import { type Type, typeCodes } from "./value.ts";

/** The memory every module of the backend works on: imported as `host.memory`, 16 bits of pages. */
export interface MemoryImport {
  readonly maximumPages: number;
  readonly isShared: boolean;
}

type Locals<P extends readonly Type[]> = { [K in keyof P]: Local<P[K]> };

/** A module under construction: functions over one imported memory, all exported by name. */
export class ModuleBuilder {
  readonly #memory: MemoryImport;
  readonly #types = new Map<string, number>();
  readonly #functions: { readonly builder: FunctionBuilder; readonly type: number; readonly name: string }[] = [];

  constructor(memory: MemoryImport) {
    this.#memory = memory;
  }

  /** A function without result; kernels write to memory. */
  function<const P extends readonly Type[]>(
    name: string,
    parameters: P,
    build: (f: FunctionBuilder, ...locals: Locals<P>) => void,
  ): FunctionBuilder {
    const builder = new FunctionBuilder(this.#functions.length, parameters.length);
    this.#functions.push({ builder, type: this.#typeOf(parameters), name });
    build(builder, ...(parameters.map((type, i) => localAt(type, i)) as Locals<P>));
    return builder;
  }

  #typeOf(parameters: readonly Type[]): number {
    const key = parameters.join();
    const index = this.#types.get(key) ?? this.#types.size;
    this.#types.set(key, index);
    return index;
  }

  bytes(): Uint8Array<ArrayBuffer> {
    const { maximumPages, isShared } = this.#memory;
    const types = [...this.#types.keys()].map((key) => {
      const parameters = key === "" ? [] : (key.split(",") as Type[]);
      return [0x60, ...vector(parameters.map((p) => [typeCodes[p]])), 0];
    });
    const memory = [...text("host"), ...text("memory"), 2, isShared ? 3 : 1, ...unsigned(0), ...unsigned(maximumPages)];
    const exports = this.#functions.map(({ name, builder }) => [...text(name), 0, ...unsigned(builder.index)]);
    const code: number[] = [...unsigned(this.#functions.length)];
    for (const { builder } of this.#functions) for (const byte of builder.bytes()) code.push(byte);
    return Uint8Array.from([
      ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
      ...section(1, vector(types)),
      ...section(2, vector([memory])),
      ...section(3, vector(this.#functions.map(({ type }) => unsigned(type)))),
      ...section(7, vector(exports)),
      ...section(10, code),
    ]);
  }
}
