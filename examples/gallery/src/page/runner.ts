import type { BackendName, EngineInfo } from "../work/backendChoices.ts";
import type { DemoName, EventOf, QuestionOf, SettingsOf } from "../work/demos/index.ts";
import type { Command, Problem, Report } from "../work/protocol.ts";

export type RunState = "ready" | "running" | "paused" | "done" | "cancelled" | "failed";

/** What a demonstration's section of the page does with what the worker says. */
export interface Listener<N extends DemoName> {
  /** Whether the finished run can be asked about what it has made: its worker is kept for that. */
  readonly isAsked: boolean;
  onEvent(event: EventOf<N>): void;
  onState(state: RunState): void;
  onEngine(info: EngineInfo): void;
  onProblem(problem: Problem): void;
  onAnswered?(): void;
}

/** A worker that does not give up in this time is ended. */
const PATIENCE_MS = 2000;

/** The one that computes now: others wait, so that speeds mean something. */
let busy: { pause(): void } | undefined;

/** Runs one demonstration in a worker of its own, anew each time. */
export class Runner<N extends DemoName> {
  readonly #demo: N;
  readonly #listener: Listener<N>;
  #worker: Worker | undefined;
  #state: RunState = "ready";

  constructor(demo: N, listener: Listener<N>) {
    this.#demo = demo;
    this.#listener = listener;
  }

  get state(): RunState {
    return this.#state;
  }

  start(settings: SettingsOf<N>, backend: BackendName): void {
    this.#end();
    this.#worker = new Worker(new URL("../work/worker.ts", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }: MessageEvent<Report>) => this.#hear(data);
    this.#worker.onerror = ({ message }) => {
      this.#fail({ title: "The worker stopped", message: message || "it gave no reason", hint: "reload the page" });
    };
    const textUrl = new URL("moby-dick.txt", document.baseURI).href;
    this.#send({ type: "start", demo: this.#demo, backend, settings, textUrl });
    this.#become("running");
  }

  pause(): void {
    if (this.#state !== "running") return;
    this.#send({ type: "pause" });
    this.#become("paused");
  }

  resume(): void {
    if (this.#state !== "paused") return;
    this.#send({ type: "resume" });
    this.#become("running");
  }

  cancel(): void {
    if (this.#state !== "running" && this.#state !== "paused") return;
    const worker = this.#worker;
    this.#send({ type: "cancel" });
    setTimeout(() => {
      if (this.#worker === worker && (this.#state === "running" || this.#state === "paused")) this.#stop("cancelled");
    }, PATIENCE_MS);
  }

  /** Asks about what the finished run has made. */
  ask(question: QuestionOf<N>): void {
    this.#send({ type: "ask", question });
  }

  #send(command: Command): void {
    this.#worker?.postMessage(command);
  }

  #hear(report: Report): void {
    if (report.type === "event") this.#listener.onEvent(report.event as EventOf<N>);
    else if (report.type === "engine") this.#listener.onEngine(report.info);
    else if (report.type === "answered") this.#listener.onAnswered?.();
    else if (report.type === "failed") this.#fail(report.problem);
    else if (report.type === "cancelled") this.#stop("cancelled");
    else if (this.#listener.isAsked) this.#become("done");
    else this.#stop("done");
  }

  #fail(problem: Problem): void {
    this.#listener.onProblem(problem);
    this.#stop("failed");
  }

  #stop(state: RunState): void {
    this.#end();
    this.#become(state);
  }

  #end(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
  }

  #become(state: RunState): void {
    this.#state = state;
    if (state === "running") {
      if (busy !== this) busy?.pause();
      busy = this;
    } else if (busy === this) busy = undefined;
    this.#listener.onState(state);
  }
}
