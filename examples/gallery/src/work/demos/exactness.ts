import { ByteDataset } from "@revnet-zero/data";
import { ReversibleTransformer } from "@revnet-zero/models";
import { BitComparison, type ReversibleMode, storedTwin, takeGradients } from "@revnet-zero/reversible";
import { foldKey, fromWords, randomKey, type Tensor } from "@revnet-zero/tensor";
import { toTensors } from "@revnet-zero/train";
import type { Session } from "../session.ts";
import type { Demo } from "./index.ts";

export interface ExactnessSettings {
  readonly layers: number;
  readonly mode: Extract<ReversibleMode, "exact" | "exact16" | "float">;
  readonly dropout: number;
  readonly precision: "f32" | "bf16";
  /** Changes one stream value by its smallest unit before it is run back: the check must notice. */
  readonly plantsError: boolean;
}

/** One tensor compared with what stored backpropagation has. */
export interface ComparedTensor {
  readonly kind: "compared";
  readonly group: "streams" | "gradients";
  readonly name: string;
  readonly elements: number;
  readonly isEqual: boolean;
  readonly relativeError: number;
  readonly firstDifference: string | undefined;
}

export type ExactnessEvent = { readonly kind: "tensors"; readonly count: number } | ComparedTensor;

const [BATCH, LENGTH, WIDTH] = [4, 64, 64];

/** A live batch through a transformer, forward, back again, and backward twice: activations rebuilt, and stored. */
export function exactness(session: Session<ExactnessEvent>): Demo<ExactnessSettings> {
  const { engine } = session;
  const key = randomKey(3);

  function compare(group: ComparedTensor["group"], name: string, found: Values, expected: Values): void {
    const comparison = new BitComparison();
    comparison.add(name, found, expected);
    const { elements, isEqual, relativeError, firstDifference } = comparison;
    session.emit({ kind: "compared", group, name, elements, isEqual, relativeError, firstDifference });
  }

  async function run({ layers, mode, dropout, precision, plantsError }: ExactnessSettings): Promise<void> {
    const data = new ByteDataset(await session.readText(), { batchSize: BATCH, sequenceLength: LENGTH, seed: 1 });
    const model = new ReversibleTransformer({
      numLayers: layers,
      dModel: WIDTH,
      numHeads: 4,
      maxSeqLen: LENGTH,
      dropout,
      reversibility: mode,
      key: foldKey(key, 0),
      engine,
    });
    session.emit({ kind: "tensors", count: 2 + model.parameters().length });
    const [tokens, targets] = toTensors(data.batchAt(0), engine);
    /** As a training step runs: with its key, and in its precision. */
    const asInTraining = <T>(f: () => T): T =>
      engine.withKey(foldKey(key, 1), () => (precision === "bf16" ? engine.autocast("bf16", f) : f()));

    const { sequence, embedding } = model;
    const x = engine.noGrad(() => embedding.call(tokens));
    await engine.withKey(foldKey(key, 1), () => sequence.prepare(x, x));
    const streams = [sequence.enter(x), sequence.enter(x)] as const;
    await session.turn();
    const pass = asInTraining(() => sequence.invertible(...streams));
    if (plantsError) await nudge(pass.streams[0]!);
    const back = pass.inverse();
    for (const [i, stream] of streams.entries())
      compare("streams", `stream ${i + 1}, rebuilt`, await back[i]!.data(), await stream.data());
    await session.turn();

    const gradients = async (how: ReversibleMode): Promise<Map<string, Values | undefined>> => {
      model.reversibility = how;
      engine.scope(() => asInTraining(() => model.loss(tokens, targets).backward()));
      return takeGradients(model);
    };
    const found = await gradients(mode);
    await session.turn();
    const expected = await gradients(storedTwin(mode));
    for (const [name, values] of expected) {
      await session.turn();
      compare("gradients", name, found.get(name)!, values!);
    }
  }

  /** Adds one unit in the last place to the first value, in place. */
  async function nudge(stream: Tensor): Promise<void> {
    const values = (await stream.data()).slice();
    if (values instanceof Float32Array) new Int32Array(values.buffer)[0]! += 1;
    else values[0]! += 1;
    engine.scope(() => void stream.assign(fromWords(values, stream.shape, stream.dtype, engine)));
  }

  return { run };
}

type Values = Awaited<ReturnType<Tensor["data"]>>;
