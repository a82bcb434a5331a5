import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface, type Interface } from "node:readline";

/** Threads of the program asked before stay awake for some milliseconds, waiting for more, on the cores that the next one needs. */
export const SETTLE_MS = 10;

/**
 * A program under measurement in its own process: reads one JSON value a line, answers one a line. Its memory is its
 * own, and several can be asked in turn, so that a slow moment of the machine hits all of them alike.
 */
export class Subject {
  readonly #name: string;
  readonly #process: ChildProcess;
  readonly #lines: Interface;
  readonly #waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  #end: Error | undefined;

  constructor(name: string, command: string, args: readonly string[], env: NodeJS.ProcessEnv = process.env) {
    this.#name = name;
    this.#process = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], env });
    this.#lines = createInterface({ input: this.#process.stdout! });
    this.#lines.on("line", (line) => this.#answer(line));
    this.#process.on("error", (error) => this.#fail(error));
    this.#process.on("close", (code, signal) =>
      this.#fail(new Error(`${name} ended with ${signal ?? `exit code ${code}`} before it had answered`)),
    );
    // A request to a process that is gone fails through `close`, which says more.
    this.#process.stdin!.on("error", () => undefined);
  }

  /** A TypeScript file of this folder, on the same Node with the same flags. */
  static node(name: string, file: URL, env?: NodeJS.ProcessEnv): Subject {
    return new Subject(name, process.execPath, [...process.execArgv, file.pathname], env);
  }

  ask<T>(request: unknown): Promise<T> {
    if (this.#end !== undefined) return Promise.reject(this.#end);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve: resolve as (value: unknown) => void, reject });
      this.#process.stdin!.write(`${JSON.stringify(request)}\n`);
    });
  }

  [Symbol.dispose](): void {
    void this.end();
  }

  /** Ends the process, and waits until it is gone: what it held of a device is free then. */
  async end(): Promise<void> {
    this.#lines.close();
    const { exitCode, signalCode } = this.#process;
    const isGone = exitCode !== null || signalCode !== null;
    const exit = isGone ? Promise.resolve() : once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await exit;
    // A process of its own that it left behind would hold the pipe, and so this one.
    this.#process.stdout!.destroy();
  }

  #answer(line: string): void {
    const asked = this.#waiting.shift();
    if (asked === undefined) return;
    try {
      asked.resolve(JSON.parse(line));
    } catch {
      asked.reject(new Error(`${this.#name} answered ${JSON.stringify(line.slice(0, 200))}, which is not JSON`));
    }
  }

  #fail(error: Error): void {
    this.#end ??= error;
    for (const { reject } of this.#waiting.splice(0)) reject(this.#end);
  }
}

/** The other end: answers every request of the parent until it hangs up. */
export async function answerRequests(answer: (request: never) => unknown): Promise<void> {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as never))}\n`);
  }
}
