import { Conv2d, initializers, Module } from "@revnet-zero/nn";
import { ReversibleSequence } from "@revnet-zero/reversible";
import { foldKey, type Key, randomKey, type Tensor, tensor } from "@revnet-zero/tensor";
import type { Session } from "../session.ts";
import type { Demo } from "./index.ts";

export interface PictureSettings {
  /** RGBA of a square picture, side² × 4 bytes; the side is even. */
  readonly pixels: Uint8ClampedArray;
  readonly side: number;
  readonly blocks: number;
  readonly mode: "exact" | "float";
}

export type PictureEvent =
  | {
      readonly kind: "frame";
      readonly direction: "forward" | "back";
      /** Blocks passed since the picture went in: 0 is the picture. */
      readonly block: number;
      readonly pixels: Uint8ClampedArray<ArrayBuffer>;
    }
  | {
      readonly kind: "compared";
      readonly values: number;
      readonly different: number;
      /** In steps of the grid, or in units in the last place of floats. */
      readonly largest: number;
      /** |difference| as brightness, the largest white; black everywhere where there is none. */
      readonly pixels: Uint8ClampedArray<ArrayBuffer>;
    }
  | { readonly kind: "memory"; readonly keptBytes: number; readonly storedBytes: number };

/** Untrained on purpose: being reversible is no matter of learning. */
class Scrambler extends Module {
  readonly spread: Conv2d;
  readonly gather: Conv2d;

  constructor(key: Key) {
    super();
    const init = initializers.normal(0.35);
    this.spread = new Conv2d({ in: 3, out: 12, kernelSize: 5, init, key: foldKey(key, 0) });
    this.gather = new Conv2d({ in: 12, out: 3, kernelSize: 5, init: initializers.normal(0.06), key: foldKey(key, 1) });
  }

  override forward(x: Tensor): Tensor {
    return this.gather.call(this.spread.call(x).tanh());
  }
}

/**
 * A picture is two streams, its even and its odd columns. Block after block scrambles them; then only the last pair of streams
 * is left, and the blocks are run backwards from it.
 */
export function picture(session: Session<PictureEvent>): Demo<PictureSettings> {
  const { engine } = session;
  const key = randomKey(5);

  async function run({ pixels, side, blocks, mode }: PictureSettings): Promise<void> {
    const branches = Array.from({ length: blocks }, (_, i) => ({
      F: new Scrambler(foldKey(key, 2 * i)),
      G: new Scrambler(foldKey(key, 2 * i + 1)),
    }));
    // A sequence a block, so that every picture between can be shown; they hand each other streams, which loses nothing.
    const sequences = branches.map((block) => new ReversibleSequence({ blocks: [block], mode }));
    const first = sequences[0]!;
    const columns = [0, 1].map((parity) => tensor(streamOf(pixels, side, parity), { shape: [1, 3, side, side / 2] }));
    const given = columns.map((x) => (mode === "exact" ? first.enter(x) : x));
    const show = async (direction: "forward" | "back", block: number, streams: readonly Tensor[]): Promise<void> => {
      const scope = engine.openScope("show");
      const values = await Promise.all(streams.map((s) => first.read(s).data()));
      scope.close();
      const frame = pictureOf(values, side, (v) => 127.5 + 127.5 * v);
      session.emit({ kind: "frame", direction, block, pixels: frame }, [frame.buffer]);
      await session.turn();
    };

    let streams: readonly Tensor[] = given;
    const step = (f: () => Tensor[]): void => {
      const next = engine.noGrad(f);
      if (streams !== given) for (const s of streams) s.dispose();
      streams = next;
    };
    await show("forward", 0, streams);
    for (const [i, sequence] of sequences.entries()) {
      step(() => sequence.call(streams[0]!, streams[1]!));
      await show("forward", i + 1, streams);
    }
    for (let i = blocks - 1; i >= 0; i--) {
      step(() => sequences[i]!.inverse(streams[0]!, streams[1]!));
      await show("back", i, streams);
    }
    await compare(given, streams, side);
    const [keptBytes, storedBytes] = [mode, "store" as const].map((how) => stepBytes(branches, columns, how)) as [
      number,
      number,
    ];
    session.emit({ kind: "memory", keptBytes, storedBytes });
  }

  async function compare(given: readonly Tensor[], back: readonly Tensor[], side: number): Promise<void> {
    let [values, different, largest] = [0, 0, 0];
    const distances: Float32Array[] = [];
    for (const [i, stream] of given.entries()) {
      const [before, after] = [await stream.data(), await back[i]!.data()];
      const unit = before instanceof Float32Array ? 2 ** -24 : 1;
      distances.push(Float32Array.from(before, (v, j) => Math.abs(v - after[j]!) / unit));
    }
    for (const part of distances) {
      values += part.length;
      for (const distance of part) {
        if (distance !== 0) different++;
        largest = Math.max(largest, distance);
      }
    }
    const pixels = pictureOf(distances, side, (v) => (largest === 0 ? 0 : (255 * v) / largest));
    session.emit({ kind: "compared", values, different, largest, pixels }, [pixels.buffer]);
  }

  /** The most that a training step of all blocks together holds beside parameters and gradients. */
  function stepBytes(
    blocks: readonly { readonly F: Scrambler; readonly G: Scrambler }[],
    inputs: readonly Tensor[],
    mode: "exact" | "float" | "store",
  ): number {
    const sequence = new ReversibleSequence({ blocks, mode });
    engine.ledger.resetPeak();
    engine.scope(() => {
      const [a, b] = sequence.call(inputs[0]!, inputs[1]!) as [Tensor, Tensor];
      a.add(b).mean().backward();
    });
    sequence.zeroGrad();
    return engine.memory().activationBytes;
  }

  return { run };
}

/** The columns of one parity as values in [-1, 1]: [1, 3, side, side / 2]. */
function streamOf(pixels: Uint8ClampedArray, side: number, parity: number): Float32Array {
  const half = side / 2;
  return Float32Array.from({ length: 3 * side * half }, (_, i) => {
    const [channel, y, x] = [Math.floor(i / (side * half)), Math.floor(i / half) % side, i % half];
    return pixels[4 * (y * side + 2 * x + parity) + channel]! / 127.5 - 1;
  });
}

/** Two streams as one picture again; what leaves [0, 255] is folded back, so that it is seen. */
function pictureOf(
  streams: readonly ArrayLike<number>[],
  side: number,
  brightness: (value: number) => number,
): Uint8ClampedArray<ArrayBuffer> {
  const half = side / 2;
  const pixels = new Uint8ClampedArray(4 * side * side).fill(255);
  for (const [parity, values] of streams.entries()) {
    for (let i = 0; i < values.length; i++) {
      const [channel, y, x] = [Math.floor(i / (side * half)), Math.floor(i / half) % side, i % half];
      const folded = (((brightness(values[i]!) % 510) + 510) % 510) - 255;
      pixels[4 * (y * side + 2 * x + parity) + channel] = 255 - Math.abs(folded);
    }
  }
  return pixels;
}
