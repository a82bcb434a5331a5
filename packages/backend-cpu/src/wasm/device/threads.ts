import { type WorkerStart, workerText } from "./workerSource.ts";

/** A running worker. */
export interface Thread {
  /** Ends it at once. */
  terminate(): unknown;
}

/** Where workers come from. */
export interface ThreadHost {
  /** Whether a worker starts while this thread computes and waits: in Node. A page must first go back to its event loop. */
  readonly startsAtOnce: boolean;
  start(given: WorkerStart, onError: (message: string) => void): Thread;
}

interface NodeWorker extends Thread {
  unref(): void;
  on(event: "error", listener: (error: Error) => void): void;
}
interface NodeThreads {
  readonly Worker: new (source: string, options: object) => NodeWorker;
}

function nodeHost({ Worker }: NodeThreads): ThreadHost {
  return {
    startsAtOnce: true,
    start: (given, onError) => {
      const source = workerText('require("node:worker_threads").workerData');
      const worker = new Worker(source, { eval: true, workerData: given, execArgv: [], env: {}, stdout: false });
      worker.unref();
      worker.on("error", ({ message }) => onError(message));
      return worker;
    },
  };
}

interface WebWorker extends Thread {
  postMessage(value: unknown): void;
  onerror: ((event: { readonly message?: string }) => void) | null;
}
/** What a page or a worker of the browser has. */
interface Web {
  readonly Worker?: new (url: string) => WebWorker;
  readonly Blob?: new (parts: readonly string[], options: { readonly type: string }) => object;
  readonly URL?: { createObjectURL(blob: object): string; revokeObjectURL(url: string): void };
}

function webHost({ Worker, Blob, URL }: Required<Web>): ThreadHost {
  return {
    startsAtOnce: false,
    start: (given, onError) => {
      const source = `onmessage = ({ data }) => ${workerText("data")}`;
      const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
      worker.onerror = ({ message = "a content security policy may forbid workers from blob: URLs" }) =>
        onError(message);
      worker.postMessage(given);
      return worker;
    },
  };
}

/** Undefined where there are no workers. */
export const threadHost: ThreadHost | undefined = find();

function find(): ThreadHost | undefined {
  const { process, Worker, Blob, URL } = globalThis as unknown as Web & {
    process?: { getBuiltinModule?: (name: string) => unknown };
  };
  const node = process?.getBuiltinModule?.("node:worker_threads") as NodeThreads | undefined;
  if (node !== undefined) return nodeHost(node);
  return Worker === undefined || Blob === undefined || URL === undefined ? undefined : webHost({ Worker, Blob, URL });
}
