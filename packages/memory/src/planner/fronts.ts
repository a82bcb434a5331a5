import { type RestBound, restMs } from "./lowerBound.ts";
import { type Link, liveBytesOf, queueAfter } from "./problem.ts";

/**
 * The plans for the first items of a chain that may still become the best one, all with the same choice for the last item. A plan is
 * left out if another has no more bytes live, no more bytes queued for the offload store, and takes no more time.
 */
export interface Front {
  readonly choice: number;
  /** Bytes that are fetched while the last item runs backward. */
  readonly prefetchBytes: number;
  /** Ascending. */
  readonly liveBytes: number[];
  readonly queuedBytes: number[];
  readonly timeMs: number[];
  /** The plan for the items before: its front's number, and its place there. */
  readonly parentFront: number[];
  readonly parent: number[];
}

export const emptyFront = (choice: number, prefetchBytes: number): Front => ({
  choice,
  prefetchBytes,
  liveBytes: [],
  queuedBytes: [],
  timeMs: [],
  parentFront: [],
  parent: [],
});

/** A front whose plans all go on with the same choice. */
export interface Extension {
  readonly front: Front;
  /** Its number. */
  readonly number: number;
  readonly keptBytes: number;
  readonly addedMs: number;
  /** Plans with more bytes live cannot go on so. */
  readonly mostLiveBytes: number;
  /** Neither can those with more bytes live and queued. */
  readonly mostBytes: number;
}

/** What becomes of the queue, and which plans are not worth keeping. */
export interface ExtensionRules {
  readonly link: Link | undefined;
  /** The time in which bytes leave the queue, and bytes that enter it. */
  readonly forwardMs: number;
  readonly transferBytes: number;
  readonly mostBytes: number;
  /** With more bytes live at its end there is no room for its backward pass, whatever follows. */
  readonly mostLiveBytes: number;
  /** Plans that cannot end below the limit are left out. */
  readonly rest: RestBound;
  readonly limitMs: number;
}

/** All extended plans as one front, without those that another dominates. */
export function extend(into: Front, extensions: readonly Extension[], rules: ExtensionRules): void {
  const { link, forwardMs, transferBytes, mostBytes, mostLiveBytes: mostAfter, rest, limitMs } = rules;
  // The next plan of every extension, as it would go on: Infinity after its last one.
  const at = extensions.map(() => -1);
  const nextLive = extensions.map(() => 0);
  const nextTime = extensions.map(() => 0);
  const advance = (e: number): void => {
    const { front, keptBytes, addedMs, mostLiveBytes } = extensions[e]!;
    const place = ++at[e]!;
    const before = place < front.liveBytes.length ? front.liveBytes[place]! : Number.POSITIVE_INFINITY;
    nextLive[e] = before > mostLiveBytes ? Number.POSITIVE_INFINITY : before + keptBytes;
    nextTime[e] = before > mostLiveBytes ? 0 : front.timeMs[place]! + addedMs;
  };
  extensions.forEach((_, e) => {
    advance(e);
  });
  // Of the plans so far, those that no other beats in queue and time. Without transfers this is one.
  const stairs: Stair[] = [];
  const { liveBytes, queuedBytes, timeMs, parentFront, parent } = into;
  for (;;) {
    let next = 0;
    for (let e = 1; e < at.length; e++) {
      if (nextLive[e]! > nextLive[next]!) continue;
      if (nextLive[e]! < nextLive[next]! || nextTime[e]! < nextTime[next]!) next = e;
    }
    const live = nextLive[next]!;
    if (live > mostAfter || live === Number.POSITIVE_INFINITY) return;
    const place = at[next]!;
    const { front, number, mostBytes: mostBefore } = extensions[next]!;
    const queuedBefore = front.queuedBytes[place]!;
    const { queuedBytes: queued, waitMs } = queueAfter(link, queuedBefore, forwardMs, transferBytes);
    const time = nextTime[next]! + waitMs;
    advance(next);
    if (isDominated(stairs, queued, time)) continue;
    if (front.liveBytes[place]! + liveBytesOf(link, queuedBefore) > mostBefore) continue;
    if (live + liveBytesOf(link, queued) > mostBytes) continue;
    if (time + restMs(rest, live) > limitMs) continue;
    addStair(stairs, queued, time);
    liveBytes.push(live);
    queuedBytes.push(queued);
    timeMs.push(time);
    parentFront.push(number);
    parent.push(place);
  }
}

type Stair = { queuedBytes: number; timeMs: number };

function isDominated(stairs: readonly Stair[], queuedBytes: number, timeMs: number): boolean {
  for (const s of stairs) if (s.queuedBytes <= queuedBytes && s.timeMs <= timeMs) return true;
  return false;
}

function addStair(stairs: Stair[], queuedBytes: number, timeMs: number): void {
  let kept = 0;
  for (const s of stairs) if (s.queuedBytes < queuedBytes || s.timeMs < timeMs) stairs[kept++] = s;
  stairs.length = kept;
  stairs.push({ queuedBytes, timeMs });
}

/** At most `most` plans of a front, in their order: half are those that promise least time, half are spread over all. */
export function thin(front: Front, most: number, leastTimeMs: (liveBytes: number, timeMs: number) => number): Front {
  const { length } = front.liveBytes;
  if (length <= most) return front;
  const promise = front.liveBytes.map((live, i) => leastTimeMs(live, front.timeMs[i]!));
  const order = promise.map((_, i) => i).sort((a, b) => promise[a]! - promise[b]!);
  const half = most >> 1;
  const spread = Array.from({ length: most - half }, (_, k) =>
    Math.round((k * (length - 1)) / Math.max(1, most - half - 1)),
  );
  const chosen = [...new Set([...order.slice(0, half), ...spread])].sort((a, b) => a - b);
  const pick = (values: readonly number[]): number[] => chosen.map((i) => values[i]!);
  return {
    ...front,
    liveBytes: pick(front.liveBytes),
    queuedBytes: pick(front.queuedBytes),
    timeMs: pick(front.timeMs),
    parentFront: pick(front.parentFront),
    parent: pick(front.parent),
  };
}
