import { BackendError } from "@revnet-zero/tensor";
import { OffloadError } from "./offloadError.ts";

/** What this package uses of Node; browsers have none of it. */
interface Builtins {
  readonly "node:fs": {
    openSync(path: string, flags: string, mode: number): number;
    closeSync(fd: number): void;
    unlinkSync(path: string): void;
  };
  readonly "node:os": { tmpdir(): string };
  readonly "node:path": { join(...parts: string[]): string };
  readonly "node:worker_threads": {
    readonly Worker: new (
      source: string,
      options: object,
    ) => { unref(): void; postMessage(value: unknown): void; terminate(): Promise<number> };
  };
}

interface NodeProcess {
  getBuiltinModule?<N extends keyof Builtins>(name: N): Builtins[N] | undefined;
  readonly pid: number;
  readonly platform: string;
  once(event: "exit", listener: () => void): void;
  off(event: "exit", listener: () => void): void;
}
const nodeProcess = (): NodeProcess | undefined => (globalThis as { process?: NodeProcess }).process;

/** A module of Node, loaded when it is used, so that pages may import what names it. */
export function builtin<N extends keyof Builtins>(name: N): Builtins[N] {
  const found = nodeProcess()?.getBuiltinModule?.(name);
  if (found !== undefined) return found;
  throw new BackendError("offload", "there are no files here", "offload to memory: offloadTo(new HostStore())");
}

export interface TempFile {
  readonly fd: number;
  close(): void;
}

let count = 0;

/**
 * An open file without a name: it is gone when it is closed, or when the process ends, however it ends. On Windows, where a file that is
 * open keeps its name, it is removed at the end of a process that is not killed.
 */
export function openTempFile(dir: string | undefined): TempFile {
  const fs = builtin("node:fs");
  const process = nodeProcess()!;
  const folder = dir ?? builtin("node:os").tmpdir();
  const path = builtin("node:path").join(folder, `revnet-offload-${process.pid}-${Date.now()}-${count++}`);
  let fd: number;
  try {
    fd = fs.openSync(path, "wx+", 0o600);
  } catch (error) {
    throw new OffloadError(
      "offload",
      `no file can be made in ${folder}: ${(error as Error).message}`,
      "new DiskStore({ dir }) takes a folder on a local disk that may be written to",
      { cause: error },
    );
  }
  if (process.platform !== "win32") {
    fs.unlinkSync(path);
    return { fd, close: () => fs.closeSync(fd) };
  }
  const remove = (): void => {
    fs.closeSync(fd);
    fs.unlinkSync(path);
  };
  process.once("exit", remove);
  return {
    fd,
    close: () => {
      process.off("exit", remove);
      remove();
    },
  };
}
