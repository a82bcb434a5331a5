/** What the backend uses of the global `WebAssembly`, typed here so that the package needs no browser types. */
export interface Memory {
  readonly buffer: SharedArrayBuffer;
  grow(pages: number): number;
}
export interface Module {
  readonly [Symbol.toStringTag]: string;
}
interface Api {
  readonly Memory: new (options: { initial: number; maximum: number; shared: boolean }) => Memory;
  readonly Module: new (bytes: Uint8Array) => Module;
  readonly Instance: new (
    module: Module,
    imports: { readonly host: { readonly memory: Memory } },
  ) => {
    readonly exports: Readonly<Record<string, (...args: number[]) => void>>;
  };
  readonly RuntimeError: new (message: string) => Error;
  validate(bytes: Uint8Array): boolean;
}

/** Undefined where the engine has no WebAssembly. */
export const webAssembly: Api | undefined = (globalThis as { WebAssembly?: Api }).WebAssembly;
