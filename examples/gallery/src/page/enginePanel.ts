import { type BackendName, backendChoices, type EngineInfo } from "../work/backendChoices.ts";
import { element, showFacts } from "./dom.ts";

const facts = (): HTMLElement => document.querySelector<HTMLElement>("#engine-facts")!;

/** The list of backends, and what is known before any has been opened. */
export function mountEnginePanel(): void {
  const list = document.querySelector<HTMLSelectElement>("#backend")!;
  for (const [value, { label }] of Object.entries(backendChoices))
    list.append(element("option", { value, textContent: label }));
  list.addEventListener("change", showChoice);
  showChoice();
}

function showChoice(): void {
  const chosen = document.querySelector<HTMLSelectElement>("#backend")!.value as BackendName;
  const { note } = backendChoices[chosen];
  showFacts(facts(), { Threads: chosen === "cpu" ? threadsToCome() : "1", Isolated: isolation() });
  const alone = chosen === "cpu" && !self.crossOriginIsolated ? onOneThread : "";
  document.querySelector("#engine-note")!.textContent = note || alone;
}

const onOneThread =
  "Served without cross-origin isolation, so it computes on one thread: the same bits, later. npm run gallery serves it with.";

/** What the engine that runs now says of itself. */
export function showEngine({ engine, threads }: EngineInfo): void {
  showFacts(facts(), { Engine: engine, Threads: String(threads), Isolated: isolation() });
}

const isolation = (): string => (self.crossOriginIsolated ? "yes" : "no");
const threadsToCome = (): string => String(self.crossOriginIsolated ? navigator.hardwareConcurrency : 1);
