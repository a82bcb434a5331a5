import { Engine, setDefaultEngine } from "@revnet-zero/tensor";
import { openBackend } from "./backends.ts";
import { type Demo, demos } from "./demos/index.ts";
import { problemOf } from "./problem.ts";
import type { Command, Report } from "./protocol.ts";
import { Cancelled, Session, type SessionHost, type Transferred } from "./session.ts";

// The worker: one engine, one demonstration. The page ends it when it is not wanted any more.

interface WorkerScope {
  onmessage: ((message: { readonly data: Command }) => void) | null;
  postMessage(report: Report, transferred?: Transferred): void;
}
const scope = globalThis as unknown as WorkerScope;

let session: Session<unknown> | undefined;
let demo: Demo<unknown, unknown> | undefined;
/** Commands that came before the engine was open. */
const early: ("pause" | "resume" | "cancel")[] = [];

async function start({ demo: name, backend, settings, textUrl }: Extract<Command, { type: "start" }>): Promise<void> {
  const opened = await openBackend(backend);
  const engine = new Engine(opened.backend);
  setDefaultEngine(engine);
  scope.postMessage({ type: "engine", info: opened.info });
  const host: SessionHost = {
    engine,
    post: (event, transferred) => scope.postMessage({ type: "event", event }, transferred),
    readText: async () => {
      const response = await fetch(textUrl);
      if (!response.ok) throw new Error(`the text did not load: ${response.status} ${response.statusText}`);
      return new Uint8Array(await response.arrayBuffer());
    },
  };
  session = new Session(host);
  for (const command of early) session[command]();
  demo = (demos[name] as unknown as (on: Session<unknown>) => Demo<unknown, unknown>)(session);
  await session.turn();
  await demo.run(settings);
}

async function report(work: Promise<void> | undefined, type: "done" | "answered"): Promise<void> {
  try {
    await work;
    scope.postMessage({ type });
  } catch (error) {
    if (error instanceof Cancelled) scope.postMessage({ type: "cancelled" });
    else scope.postMessage({ type: "failed", problem: problemOf(error) });
  }
}

scope.onmessage = ({ data: command }) => {
  if (command.type === "start") void report(start(command), "done");
  else if (command.type === "ask") void report(demo?.ask?.(command.question), "answered");
  else if (session === undefined) early.push(command.type);
  else session[command.type]();
};
