import type { Branch } from "@revnet-zero/reversible";
import { type Engine, type Key, numel, randomKey, type Shape, type Tensor, tensor } from "@revnet-zero/tensor";
import { Random } from "@revnet-zero/testkit";
import fc from "fast-check";
import {
  ActNorm,
  AdditiveCoupling,
  AffineCoupling,
  ChannelPermutation,
  ConvConditioner,
  denseConditioner,
  type FlowLayer,
  FlowSequence,
  HaarDownsampling,
  Householder,
  InvertibleLinear,
  Logit,
  MultiScale,
  randomOrder,
  SpaceToDepth,
} from "../src/index.ts";
import { engine } from "./fixtures.ts";

interface Parts {
  readonly key: Key;
  readonly channels: number;
  readonly engine: Engine;
  readonly dtype: "f32" | "f64";
}

/** A network for a coupling of samples of a shape. */
function conditioner({ channels, ...rest }: Parts, shape: Shape, perChannel: number): Branch {
  const moved = Math.floor(channels / 2);
  const sizes = { in: channels - moved, out: perChannel * moved, hidden: 3 };
  if (shape.length === 1) return denseConditioner({ ...rest, ...sizes });
  return new ConvConditioner({ ...rest, ...sizes });
}

type Make = (parts: Parts, shape: Shape) => FlowLayer;
interface Kind {
  readonly make: Make;
  /** Shapes of a sample, of at most 8 elements. */
  readonly shapes: readonly Shape[];
  /** Interval the inputs are drawn from. Default [-2, 2). */
  readonly domain?: readonly [number, number];
}

const any: Shape[] = [[2], [3], [5], [8], [2, 2, 2], [3, 1, 2], [4, 2, 1], [2, 1, 1]];
const images: Shape[] = [
  [1, 2, 2],
  [2, 2, 2],
  [1, 2, 4],
  [1, 4, 2],
];
const affine: Make = (p, shape) => new AffineCoupling({ channels: p.channels, network: conditioner(p, shape, 2) });
const additive: Make = (p, shape) => new AdditiveCoupling({ channels: p.channels, network: conditioner(p, shape, 1) });
const permutation: Make = ({ channels, key }) => new ChannelPermutation({ order: randomOrder(channels, key), engine });

/** Every layer, by name. */
export const kinds = {
  "act norm": { make: (p) => new ActNorm(p), shapes: [[1], ...any] },
  "affine coupling": { make: affine, shapes: any },
  "additive coupling": { make: additive, shapes: any },
  permutation: { make: permutation, shapes: [[1], ...any] },
  householder: { make: (p) => new Householder({ ...p, reflections: 2 }), shapes: [[1], ...any] },
  "invertible linear": { make: (p) => new InvertibleLinear(p), shapes: [[1], ...any] },
  "space to depth": { make: () => new SpaceToDepth(), shapes: images },
  haar: { make: () => new HaarDownsampling(), shapes: images },
  logit: { make: () => new Logit(), shapes: [[1], ...any], domain: [0.01, 0.99] },
  sequence: {
    make: (p, shape) => new FlowSequence({ layers: [new ActNorm(p), permutation(p, shape), affine(p, shape)], engine }),
    shapes: any,
  },
  "stored sequence": {
    make: (p, shape) => new FlowSequence({ layers: [affine(p, shape), new Householder(p)], mode: "store", engine }),
    shapes: any,
  },
  "multi-scale": {
    make: (p, [c, h, w]) => {
      const wide = { ...p, channels: 4 * c! };
      const first = new FlowSequence({ layers: [new SpaceToDepth(), affine(wide, [4 * c!, 1, 1])], engine });
      const second = new ActNorm({ ...p, channels: 2 * c! });
      return new MultiScale([
        { transform: first, shape: [4 * c!, h! / 2, w! / 2] },
        { transform: second, shape: [2 * c!, h! / 2, w! / 2] },
      ]);
    },
    shapes: images,
  },
} satisfies Record<string, Kind>;

export type Name = keyof typeof kinds;
export const names: readonly Name[] = Object.keys(kinds) as Name[];

/** A layer with random parameters, and a batch for it. */
export interface Subject {
  readonly layer: FlowLayer;
  readonly shape: Shape;
  /** `[batch, ...shape]` in the layer's domain. */
  readonly batch: (size: number) => Tensor;
}

export function build(name: Name, shape: Shape, seed: number, dtype: "f32" | "f64" = "f64"): Subject {
  const { make, domain: [low, high] = [-2, 2] } = kinds[name] as Kind;
  const layer = make({ key: randomKey(seed), channels: shape[0]!, engine, dtype }, shape);
  const random = new Random(seed);
  const draw = (of: Shape, from: number, to: number): Tensor =>
    tensor(
      Float64Array.from({ length: numel(of) }, () => random.between(from, to)),
      { shape: of, dtype, engine },
    );
  // Zero where they start, networks would hide mistakes.
  engine.scope(() => {
    for (const p of layer.parameters()) p.detach().assign(p.detach().add(draw(p.shape, -0.4, 0.4)));
  });
  return { layer, shape, batch: (size) => draw([size, ...shape], low, high) };
}

/** A layer's recipe: its shape and the seed of its parameters and inputs. */
export const recipes = (name: Name): fc.Arbitrary<[Shape, number]> =>
  fc.tuple(fc.constantFrom<Shape[]>(...kinds[name].shapes), fc.nat({ max: 1e6 }));
