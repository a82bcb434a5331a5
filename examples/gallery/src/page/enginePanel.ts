import { backendChoices, type EngineInfo } from "../work/backendChoices.ts";
import { element, showFacts } from "./dom.ts";

const facts = (): HTMLElement => document.querySelector<HTMLElement>("#engine-facts")!;

/** The list of backends, and what is known before any has been opened. */
export function mountEnginePanel(): void {
  const list = document.querySelector<HTMLSelectElement>("#backend")!;
  for (const [value, { label }] of Object.entries(backendChoices))
    list.append(element("option", { value, textContent: label }));
  showFacts(facts(), { Threads: threadsToCome(), Isolated: isolation() });
  document.querySelector("#engine-note")!.textContent = self.crossOriginIsolated
    ? ""
    : "Served without cross-origin isolation, so it computes on one thread: the same bits, later. npm run gallery serves it with.";
}

/** What the engine that runs now says of itself. */
export function showEngine({ label, detail, threads }: EngineInfo): void {
  showFacts(facts(), { Engine: detail === "" ? label : detail, Threads: String(threads), Isolated: isolation() });
}

const isolation = (): string => (self.crossOriginIsolated ? "yes" : "no");
const threadsToCome = (): string => String(self.crossOriginIsolated ? navigator.hardwareConcurrency : 1);
