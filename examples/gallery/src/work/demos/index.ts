import type { Session } from "../session.ts";
import { density } from "./density.ts";
import { exactness } from "./exactness.ts";
import { languageModel } from "./languageModel.ts";
import { memory } from "./memory.ts";
import { picture } from "./picture.ts";

/** A demonstration that was opened: it runs once, and may then answer questions about what it has made. */
export interface Demo<S, Q = never> {
  run(settings: S): Promise<void>;
  ask?(question: Q): Promise<void>;
}

/** Everything that runs live, by name. Each makes a demonstration on a session. */
export const demos = { languageModel, memory, exactness, picture, density } as const;

export type DemoName = keyof typeof demos;
type Opened<N extends DemoName> = ReturnType<(typeof demos)[N]>;
export type SettingsOf<N extends DemoName> = Parameters<Opened<N>["run"]>[0];
export type EventOf<N extends DemoName> = Parameters<(typeof demos)[N]>[0] extends Session<infer E> ? E : never;
export type QuestionOf<N extends DemoName> = Opened<N> extends Demo<never, infer Q> ? Q : never;
