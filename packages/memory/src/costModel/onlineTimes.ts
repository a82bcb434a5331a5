import type { Arm } from "./arms.ts";
import type { ArmTime, TimeModel } from "./timeModel.ts";

/** What is believed of an arm's time before it was run itself: a function of its features. */
export interface Guess {
  prepare(arms: readonly Arm[]): void;
  /** Natural logarithm of milliseconds. */
  logMs(arm: Arm): number;
  observe(times: readonly ArmTime[]): void;
}

/** Operations and bytes, scaled by how much slower or faster than that everything was at first. */
export class ScaledPrior implements Guess {
  #bias = 0;
  #weight = 0;

  prepare(): void {}

  logMs(arm: Arm): number {
    return Math.log(arm.priorMs) + this.#bias;
  }

  observe(times: readonly ArmTime[]): void {
    const total = times.reduce((sum, { ms }) => sum + ms, 0);
    const prior = times.reduce((sum, { arm }) => sum + arm.priorMs, 0);
    if (total <= 0 || prior <= 0) return;
    this.#weight = 0.8 * this.#weight + 1;
    this.#bias += (Math.log(total / prior) - this.#bias) / this.#weight;
  }
}

export interface OnlineOptions {
  /** How far a guess may be off before an arm was run: a standard deviation of logarithms. Default 0.4. */
  readonly guessDeviation?: number;
  /** Share of what is known of an arm that a step takes away: costs change. Default 0.02. */
  readonly forgetting?: number;
}

/** Runs of an arm count at most so many: what is newer weighs more. */
const MOST_RUNS = 8;
/** What was seen of its kind says so much of an arm, in runs of its own. */
const KIND_SHARE = 0.5;
/**
 * A time that is off by this much (a logarithm) is an accident (garbage was collected, another program ran), and hardly counts; the second one
 * after another, in the same direction, is a change: what was known before counts for less.
 */
const SURPRISE = 0.25;
/** What an accident counts, in runs. */
const ACCIDENT = 0.1;

/** A step that was slower or faster as a whole moves the load by this share. */
const LOAD_SHARE = 0.5;

interface Belief {
  /** What it is worth, in runs. */
  runs: number;
  /** Mean of the logarithm of the time, without the load. */
  logMs: number;
  /** The last time, where it was taken for an accident. */
  suspectMs?: number | undefined;
}

/**
 * A guess, corrected for every arm by what it took itself, and as its kind did; all times the load, by which steps as a whole are slower
 * than they were. Optimism in the face of uncertainty: an arm's best case is its expectation times exp(-deviation / sqrt(1 + 60 · runs)),
 * so that a plan made of best cases tries what may be better, and stops when it is known not to be. What was learned fades, so that arms
 * which have not been run for long are tried again.
 */
export class OnlineTimes implements TimeModel {
  readonly #guess: Guess;
  readonly #options: Required<OnlineOptions>;
  readonly #arms = new Map<string, Belief>();
  readonly #kinds = new Map<string, Belief>();
  #load = 0;

  constructor(guess: Guess, { guessDeviation = 0.4, forgetting = 0.02 }: OnlineOptions = {}) {
    this.#guess = guess;
    this.#options = { guessDeviation, forgetting };
  }

  prepare(arms: readonly Arm[]): void {
    this.#guess.prepare(arms);
  }

  expectedMs(arm: Arm): number {
    return Math.exp(this.#logMs(arm));
  }

  optimisticMs(arm: Arm): number {
    const runs = (this.#arms.get(nameOf(arm))?.runs ?? 0) + KIND_SHARE * (this.#kinds.get(arm.kind)?.runs ?? 0);
    return this.expectedMs(arm) * Math.exp(-this.#options.guessDeviation / Math.sqrt(1 + 60 * runs));
  }

  observe(times: readonly ArmTime[]): void {
    const { forgetting } = this.#options;
    for (const beliefs of [this.#arms, this.#kinds]) for (const b of beliefs.values()) b.runs *= 1 - forgetting;
    const isFirst = this.#arms.size === 0;
    const logs = times.map(({ ms }) => Math.log(Math.max(ms, 1e-4)));
    const off = times.map(({ arm }, i) => logs[i]! - this.#logMs(arm));
    // The median: what became slower by itself does not make everything slower. At first it is the guess that is off.
    const shift = isFirst ? 0 : LOAD_SHARE * median(off);
    this.#load += shift;
    this.#guess.observe(times.map(({ arm }, i) => ({ arm, ms: Math.exp(logs[i]! - this.#load) })));
    times.forEach(({ arm }, i) => {
      const log = logs[i]! - this.#load;
      learn(this.#arms, nameOf(arm), log, Math.abs(off[i]! - shift) > SURPRISE);
      learn(this.#kinds, arm.kind, log, false);
    });
  }

  #logMs(arm: Arm): number {
    const usual = blend(this.#guess.logMs(arm), this.#kinds.get(arm.kind), 0.5);
    return this.#load + blend(usual, this.#arms.get(nameOf(arm)), 0.2);
  }
}

/** With its kind: in a pass of other shapes an item has other work. */
const nameOf = ({ item, kind }: Arm): string => `${item} ${kind}`;

/** A belief and what was believed before it, which is worth `runs` runs. */
const blend = (before: number, belief: Belief | undefined, runs: number): number =>
  belief === undefined ? before : (belief.runs * belief.logMs + runs * before) / (belief.runs + runs);

function learn(beliefs: Map<string, Belief>, key: string, logMs: number, isSurprise: boolean): void {
  const belief = beliefs.get(key) ?? { runs: 0, logMs };
  beliefs.set(key, belief);
  const { suspectMs } = belief;
  belief.suspectMs = undefined;
  if (isSurprise && belief.runs >= 1) {
    const isConfirmed = suspectMs !== undefined && suspectMs > belief.logMs === logMs > belief.logMs;
    if (!isConfirmed) {
      belief.suspectMs = logMs;
      belief.logMs += (ACCIDENT * (logMs - belief.logMs)) / (belief.runs + ACCIDENT);
      return;
    }
    belief.runs = 1;
    belief.logMs = suspectMs;
  }
  belief.runs = Math.min(belief.runs + 1, MOST_RUNS);
  belief.logMs += (logMs - belief.logMs) / belief.runs;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1] ?? 0;
}
