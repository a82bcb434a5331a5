import type { BackendName, EngineInfo } from "./backendChoices.ts";
import type { DemoName } from "./demos/index.ts";

/** From the page to the worker. */
export type Command =
  | {
      readonly type: "start";
      readonly demo: DemoName;
      readonly backend: BackendName;
      readonly settings: unknown;
      readonly textUrl: string;
    }
  | { readonly type: "ask"; readonly question: unknown }
  | { readonly type: "pause" | "resume" | "cancel" };

/** What went wrong, for people. */
export interface Problem {
  readonly title: string;
  readonly message: string;
  readonly hint: string | undefined;
}

/** From the worker to the page. */
export type Report =
  | { readonly type: "engine"; readonly info: EngineInfo }
  | { readonly type: "event"; readonly event: unknown }
  | { readonly type: "done" | "answered" | "cancelled" }
  | { readonly type: "failed"; readonly problem: Problem };
