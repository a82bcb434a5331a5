import { type BdiaSequence, type ReversibleMode, type ReversibleSequence, runBranch } from "@revnet-zero/reversible";
import { dtypes, type Key, type Tensor, widestFloat } from "@revnet-zero/tensor";

/** Bytes of a stream's element, what is remembered beside the streams, and that in bits an element of one stream and block. */
export function sideOf(sequence: ReversibleSequence, inputs: readonly Tensor[], key: Key) {
  const { engine, size } = inputs[0]!;
  const [first, ...rest] = inputs as [Tensor, ...Tensor[]];
  return engine.scope(() => {
    const pass = engine.withKey(key, () => sequence.invertible(first, ...rest));
    pass.inverse();
    return {
      streamBytes: dtypes[sequence.streamDType].bytes,
      sideBytes: pass.sideBytes,
      sideBits: (8 * pass.sideBytes) / (size * sequence.blocks.length),
    };
  });
}

/** ‖y - y of float streams‖ / ‖y of float streams‖ over all outputs: what the mode's numbers cost. */
export function differenceOfModes(sequence: ReversibleSequence, inputs: readonly Tensor[], key: Key): number {
  const [first, ...rest] = inputs as [Tensor, ...Tensor[]];
  const { engine } = first;
  const own = sequence.mode;
  const run = (mode: ReversibleMode): Tensor => {
    sequence.mode = mode;
    const outputs = engine.noGrad(() => engine.withKey(key, () => sequence.call(first, ...rest)));
    return outputs[0]!.concat(outputs.slice(1), 0);
  };
  const difference = engine.scope(() => relative(run(own), run("float")));
  sequence.mode = own;
  return difference;
}

/** The same of inference with a BDIA network and with the ordinary one of its blocks. */
export function differenceOfInference(network: BdiaSequence, x: Tensor): number {
  const { engine } = x;
  network.eval();
  return engine.scope(() =>
    engine.noGrad(() => {
      const ordinary = network.blocks.reduce<Tensor>((y, h) => y.add(runBranch(h, y)), x);
      return relative(network.call(x), ordinary);
    }),
  );
}

const relative = (found: Tensor, expected: Tensor): number => norm(found.sub(expected)) / norm(expected);
const norm = (x: Tensor): number => Math.sqrt(x.cast(widestFloat(x.engine.backend)).square().sum().itemSync());
