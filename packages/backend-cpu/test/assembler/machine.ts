import { i32, ModuleBuilder } from "../../src/wasm/assembler/index.ts";
import { webAssembly } from "../../src/wasm/webAssembly.ts";

export const [A, B, C, OUT] = [0, 64, 128, 192] as const;
type Emit = Parameters<ModuleBuilder["function"]>[2];

export interface Machine {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  run(): void;
}

/** A function of no parameters on one page of memory. */
export function machine(emit: Emit): Machine {
  const api = webAssembly!;
  const builder = new ModuleBuilder({ maximumPages: 1, isShared: true });
  builder.function("run", [], emit);
  const memory = new api.Memory({ initial: 1, maximum: 1, shared: true });
  const { run } = new api.Instance(new api.Module(builder.bytes()), { host: { memory } }).exports;
  return { bytes: new Uint8Array(memory.buffer), view: new DataView(memory.buffer), run: run! };
}

export const place = (at: number) => i32.const(at);
