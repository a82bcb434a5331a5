/** States of a transfer, in the first word of its buffer. */
export const state = { busy: 1, done: 2, failed: 3 } as const;

/** Bytes before the data. Words: the state, the length of an error's text, the microseconds the transfer took; then that text. */
export const HEADER_BYTES = 256;
const errorStart = 12;

/** What the worker is asked to do with a buffer's data. */
export interface Transfer {
  readonly buffer: SharedArrayBuffer;
  readonly bytes: number;
  /** Place in the file. */
  readonly position: number;
  readonly isWrite: boolean;
}

interface Port {
  on(event: "message", listener: (transfer: Transfer) => void): void;
}
interface Files {
  writeSync(fd: number, data: Uint8Array, offset: number, length: number, position: number): number;
  readSync(fd: number, data: Uint8Array, offset: number, length: number, position: number): number;
}
interface Setting {
  readonly fd: number;
  readonly headerBytes: number;
  readonly errorStart: number;
  readonly state: typeof state;
}

/** The worker, run from its source text: so it uses nothing but what it is given, and holds no function with a name. */
function workerMain({ fd, headerBytes, errorStart, state }: Setting, port: Port, files: Files): void {
  port.on("message", ({ buffer, bytes, position, isWrite }) => {
    const header = new Int32Array(buffer, 0, 3);
    const start = performance.now();
    const data = new Uint8Array(buffer, headerBytes, bytes);
    try {
      // The system may take less than it is given.
      for (let at = 0; at < bytes; ) {
        const moved = isWrite
          ? files.writeSync(fd, data, at, bytes - at, position + at)
          : files.readSync(fd, data, at, bytes - at, position + at);
        if (moved === 0) throw new Error(isWrite ? "nothing was written" : "the file ends before the data");
        at += moved;
      }
      header[2] = 1000 * (performance.now() - start);
      Atomics.store(header, 0, state.done);
    } catch (error) {
      const text = new TextEncoder().encode(String((error as Error).message)).subarray(0, headerBytes - errorStart);
      new Uint8Array(buffer, errorStart, text.length).set(text);
      header[1] = text.length;
      header[2] = 0;
      Atomics.store(header, 0, state.failed);
    }
    Atomics.notify(header, 0);
  });
}

interface NodeWorker {
  unref(): void;
  postMessage(value: unknown): void;
  terminate(): Promise<number>;
}
interface NodeThreads {
  readonly Worker: new (source: string, options: object) => NodeWorker;
}

/** A thread that moves data between buffers and a file, one transfer after the other. */
export class FileWorker {
  readonly #worker: NodeWorker;

  constructor(fd: number, { Worker }: NodeThreads) {
    const setting: Setting = { fd, headerBytes: HEADER_BYTES, errorStart, state };
    const source = `(${workerMain})(require("node:worker_threads").workerData, require("node:worker_threads").parentPort, require("node:fs"))`;
    this.#worker = new Worker(source, { eval: true, workerData: setting, execArgv: [], env: {}, stdout: false });
    this.#worker.unref();
  }

  start(transfer: Transfer): void {
    Atomics.store(new Int32Array(transfer.buffer, 0, 2), 0, state.busy);
    this.#worker.postMessage(transfer);
  }

  /** Nothing may be on its way. */
  stop(): void {
    void this.#worker.terminate();
  }
}

/** What a transfer that has ended took. */
export const transferMsOf = (buffer: SharedArrayBuffer): number => new Int32Array(buffer, 0, 3)[2]! / 1000;

/** What went wrong with a transfer that failed. */
export function errorOf(buffer: SharedArrayBuffer): string {
  const length = new Int32Array(buffer, 0, 2)[1]!;
  return new TextDecoder().decode(new Uint8Array(buffer, errorStart, length).slice());
}
