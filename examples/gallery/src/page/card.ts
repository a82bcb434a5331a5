import type { BackendName } from "../work/backendChoices.ts";
import type { DemoName, EventOf, SettingsOf } from "../work/demos/index.ts";
import type { Problem } from "../work/protocol.ts";
import { element } from "./dom.ts";
import { showEngine } from "./enginePanel.ts";
import { Runner, type RunState } from "./runner.ts";

/** What a demonstration's section adds to the buttons, the bar and the messages that all of them have. */
export interface CardParts<N extends DemoName> {
  /** What the form says; read when Run is pressed. */
  settings(form: FormData): SettingsOf<N> | Promise<SettingsOf<N>>;
  onStart(settings: SettingsOf<N>): void;
  onEvent(event: EventOf<N>): void;
  onDone?(): void;
  /** The worker is gone, and with it what questions were about. */
  onEnd?(): void;
  onAnswered?(): void;
}

export interface Card<N extends DemoName> {
  readonly runner: Runner<N>;
  /** Steps of how many, and what they are called. */
  progress(done: number, total: number, unit: string): void;
}

const primary: Readonly<Record<RunState, string>> = {
  ready: "Run",
  running: "Pause",
  paused: "Resume",
  done: "Run again",
  cancelled: "Run again",
  failed: "Try again",
};
const said: Readonly<Record<RunState, string>> = {
  ready: "Ready",
  running: "Running",
  paused: "Paused",
  done: "Done",
  cancelled: "Cancelled",
  failed: "Stopped",
};

/** Puts buttons, progress and messages under the section's form, and a runner behind them. */
export function mountCard<N extends DemoName>(section: HTMLElement, demo: N, parts: CardParts<N>): Card<N> {
  const form = section.querySelector<HTMLFormElement>(".about form")!;
  const run = element("button", { type: "submit", className: "primary", textContent: primary.ready });
  const cancel = element("button", { type: "button", textContent: "Cancel", disabled: true });
  const state = element("span", { role: "status", className: "state", textContent: said.ready });
  const count = element("span", { className: "count" });
  const bar = element("progress", { max: 1, value: 0, ariaLabel: "Progress" });
  const problem = element("div", { role: "alert", className: "problem", hidden: true });
  form.append(
    element("div", { className: "buttons" }, run, cancel),
    element("div", { className: "progress" }, bar, element("p", {}, state, count)),
    problem,
  );
  /** Time spent running, pauses left out, and since when it runs. */
  let [ranMs, since] = [0, 0];

  const runner = new Runner<N>(demo, {
    isAsked: parts.onAnswered !== undefined,
    onEvent: parts.onEvent,
    onEngine: showEngine,
    onProblem: (found) => showProblem(problem, found),
    onAnswered: () => parts.onAnswered?.(),
    onState(now) {
      if (section.dataset.state === "running") ranMs += performance.now() - since;
      since = performance.now();
      section.dataset.state = now;
      run.textContent = primary[now];
      const isBusy = now === "running" || now === "paused";
      // A button that has the focus and goes away would leave the keyboard nowhere.
      if (!isBusy && document.activeElement === cancel) run.focus();
      cancel.disabled = !isBusy;
      for (const field of form.querySelectorAll<HTMLInputElement | HTMLSelectElement>(".field :is(input, select)"))
        field.disabled = isBusy;
      state.textContent = now === "done" ? `Done in ${(ranMs / 1000).toFixed(1)} s` : said[now];
      if (now === "done") parts.onDone?.();
      if (now === "cancelled" || now === "failed") parts.onEnd?.();
    },
  });

  async function start(): Promise<void> {
    problem.hidden = true;
    try {
      const settings = await parts.settings(new FormData(form));
      ranMs = 0;
      progress(0, 1, "");
      parts.onEnd?.();
      parts.onStart(settings);
      runner.start(settings, chosenBackend());
    } catch (error) {
      const { message } = error as Error;
      showProblem(problem, { title: "This cannot be run", message, hint: undefined });
    }
  }
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (runner.state === "running") runner.pause();
    else if (runner.state === "paused") runner.resume();
    else void start();
  });
  cancel.addEventListener("click", () => runner.cancel());

  function progress(done: number, total: number, unit: string): void {
    bar.max = total;
    bar.value = done;
    count.textContent = unit === "" ? "" : `${unit} ${done} of ${total}`;
  }
  return { runner, progress };
}

const chosenBackend = (): BackendName => document.querySelector<HTMLSelectElement>("#backend")!.value as BackendName;

function showProblem(box: HTMLElement, { title, message, hint }: Problem): void {
  box.hidden = false;
  box.replaceChildren(
    element("strong", { textContent: title }),
    element("p", { textContent: message }),
    ...(hint === undefined ? [] : [element("p", { className: "hint", textContent: `What to do: ${hint}.` })]),
  );
}
