import { arange, dispatch, foldKey, ops, randomKey, randomWord, type Tensor, tensor } from "@revnet-zero/tensor";

const SAMPLES = 256;

/** A fixed sample of the elements of streams: a constant few hundred bytes, whatever their size. */
export function sampleStreams(streams: readonly Tensor[]): Tensor[] {
  return streams.map(sample);
}

/** ‖after - before‖ / ‖before‖ over two samples: how far a reconstruction is from what went in. A scalar. */
export function relativeDrift(before: readonly Tensor[], after: readonly Tensor[]): Tensor {
  return before[0]!.engine.scope(() => {
    const squares = before.map((b, i) => [after[i]!.sub(b).square().sum(), b.square().sum()] as const);
    const [error, size] = squares.reduce(([e, n], [e2, n2]) => [e.add(e2), n.add(n2)]);
    return error.div(size.maximum(1e-30)).sqrt();
  });
}

/** Writes a drift into the record `[blocks]`, in place. */
export function noteDrift(record: Tensor, block: number, drift: Tensor): void {
  const [same] = dispatch(record.engine, ops.writeSlice, [record, drift.reshape([1])], { starts: [block] }, donating);
  same!.dispose();
}
const donating = { donates: true };

/** The same places for the same size of stream: all elements of a small one, random ones of a large one. */
function sample(stream: Tensor, index: number): Tensor {
  const { engine, size } = stream;
  return engine.scope(() => {
    const places =
      size <= SAMPLES
        ? arange(size, { engine })
        : tensor(
            Int32Array.from({ length: SAMPLES }, (_, i) => randomWord(foldKey(randomKey(size), index), i) % size),
            { engine },
          );
    return stream.flatten().take(places);
  });
}
