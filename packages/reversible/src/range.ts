import { type Tensor, ValueError } from "@revnet-zero/tensor";
import type { StreamArithmetic } from "./arithmetic/arithmetic.ts";
import { floatArithmetic } from "./arithmetic/float.ts";
import type { PlacedBlock } from "./block.ts";
import { ForwardPass } from "./passes/forwardPass.ts";
import { SideInformation } from "./passes/side.ts";
import { ownStream, type StreamPassOptions } from "./passes/streamPass.ts";

// How large streams get, measured once with float streams, and the binary points that follow from it.

/** Streams may grow to this many times what was measured before they wrap or leave their grid. */
export const HEADROOM = 4;

interface Measurement extends Omit<StreamPassOptions, "arithmetic" | "side"> {
  readonly blocks: readonly PlacedBlock[];
  /** Of the shape of the range that is wanted: [], or [channels]. */
  readonly like: Tensor;
}

/** max |x| over all streams between steps: of everything, or of each channel (the last axis). Nothing is given up. */
export function measureRange({ blocks, like, streams: inputs, ...pass }: Measurement): Tensor {
  const { engine } = pass;
  return engine.noGrad(() =>
    engine.scope(() => {
      const measured = new Measured(like);
      try {
        const arithmetic = measuring((stream) => measured.note(stream));
        const streams = inputs.map((x) => ownStream(arithmetic.enter(x)));
        const side = new SideInformation(engine, { keeps: false });
        new ForwardPass({ ...pass, arithmetic, streams, side }).runBlocks(blocks);
        for (const s of streams) s.dispose();
      } finally {
        engine.adopt(measured.largest);
      }
      return measured.largest;
    }),
  );
}

class Measured {
  largest: Tensor;
  constructor(like: Tensor) {
    this.largest = like.engine.keep(like.mul(0));
  }
  note(stream: Tensor): void {
    const before = this.largest;
    const { engine, rank, size } = before;
    if (stream.size === 0) return;
    const rows = rank === 0 ? stream.flatten() : stream.reshape([-1, size]);
    this.largest = engine.keep(engine.scope(() => before.maximum(rows.abs().max(0))));
    before.dispose();
  }
}

/** float streams that show each new stream to `note`. */
function measuring(note: (stream: Tensor) => void): StreamArithmetic {
  const shown = (stream: Tensor): Tensor => {
    note(stream);
    return stream;
  };
  return {
    ...floatArithmetic,
    enter: (x) => shown(floatArithmetic.enter(x)),
    add: (...given) => {
      const sum = floatArithmetic.add(...given);
      note(sum.stream);
      return sum;
    },
    combine: (...given) => shown(floatArithmetic.combine(...given)),
    scale: (...given) => shown(floatArithmetic.scale(...given)),
  };
}

/** The most bits after the point with which HEADROOM · largest still fits into `magnitudeBits` bits. */
export function fractionBitsFor(largest: number, magnitudeBits: number): number {
  const most = Math.min(30, magnitudeBits);
  if (!Number.isFinite(largest)) {
    throw new ValueError("calibrate", `the streams reach ${largest}`, "look at the model's inputs and initial weights");
  }
  if (largest === 0) return most;
  return Math.max(0, Math.min(most, Math.floor(magnitudeBits - Math.log2(HEADROOM * largest))));
}
