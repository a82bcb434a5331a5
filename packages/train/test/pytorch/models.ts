import { CpuBackend } from "@revnet-zero/backend-cpu";
import { type LanguageModel, ReversibleTransformer, Transformer, type TransformerOptions } from "@revnet-zero/models";
import { Engine, type Key, randomKey } from "@revnet-zero/tensor";

export const engine: Engine = new Engine(new CpuBackend());
export const key: Key = randomKey(3);

/** What the streams of a model are. */
export type Arithmetic = "float" | "grid";

const base: Omit<TransformerOptions, "key"> = {
  vocabSize: 17,
  numLayers: 3,
  dModel: 16,
  numHeads: 4,
  maxSeqLen: 12,
  engine,
};
const defaults = { mlp: "gelu", norm: "layer", positions: "rotary", tieEmbeddings: true } as const;
const modern = { mlp: "swiglu", norm: "rms", positions: "learned", tieEmbeddings: false, numKeyValueHeads: 2 } as const;

export const models: readonly (readonly [string, object, (o: object) => LanguageModel, Arithmetic])[] = [
  ["Transformer", defaults, (o) => new Transformer({ ...base, ...o, key }), "float"],
  ["Transformer", modern, (o) => new Transformer({ ...base, ...o, key }), "float"],
  ...(
    [
      ["store-float", "float"],
      ["float", "float"],
      ["exact", "grid"],
    ] as const
  ).flatMap(([reversibility, kind]) =>
    [
      { ...defaults, streams: "full" },
      { ...modern, streams: "split" },
    ].map(
      (options) =>
        [
          "ReversibleTransformer",
          { ...options, reversibility },
          (o: object) => new ReversibleTransformer({ ...base, ...o, key }),
          kind,
        ] as const,
    ),
  ),
];

export const plainOptions = ({ options }: LanguageModel): object => {
  const { engine: _, key: __, ...rest } = options;
  return rest;
};
