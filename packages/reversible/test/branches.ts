import { Attention, Dropout, initializers, LayerNorm, Linear, MLP, Module, Sequential } from "@revnet-zero/nn";
import { checkpoint, type Engine, grad, type Key, randomNormal, type Shape, type Tensor } from "@revnet-zero/tensor";
import { type Branch, ReversibleSequence } from "../src/index.ts";

/** What a branch is made of: `leaf` makes a parameter that no module knows of. */
export interface Parts {
  readonly engine: Engine;
  readonly shape: Shape;
  readonly dim: number;
  readonly key: Key;
  leaf(shape: Shape): Tensor;
  /** A module outside of the sequence, whose parameters are compared too. */
  own<M extends Module>(module: M): M;
  /** A tensor computed before the sequence, from a leaf, anew in every pass: an encoder's output. */
  memory(): Tensor;
}

/** A user's layer: x · gain + x² / 8. */
export class Gate extends Module {
  readonly gain: Tensor;
  constructor(dim: number, key: Key, engine: Engine) {
    super();
    this.gain = this.parameter(randomNormal([dim], { key, engine }));
  }
  override forward(x: Tensor): Tensor {
    return x.mul(this.gain).add(x.square().mul(0.125));
  }
}

class Tanh extends Module {
  readonly inner: Linear;
  constructor(inner: Linear) {
    super();
    this.inner = inner;
  }
  override forward(x: Tensor): Tensor {
    return this.inner.call(x).tanh();
  }
}

/** A layer between reshapes, as attention over all rows whatever the rank. */
class Rows extends Module {
  readonly inner: Attention;
  constructor(inner: Attention) {
    super();
    this.inner = inner;
  }
  override forward(x: Tensor): Tensor {
    return this.inner.call(x.reshape([1, -1, x.shape.at(-1)!])).reshape(x.shape);
  }
}

export const wide = initializers.normal(0.5);

const linear = ({ dim, key, engine }: Parts): Linear => new Linear({ in: dim, out: dim, key, engine, init: wide });

/** Every sort of branch, by name. */
export const kinds = {
  mlp: ({ dim, key, engine }) => new MLP({ dim, hidden: 2 * dim, key, engine, init: wide }),
  gated: ({ dim, key, engine }) => new MLP({ dim, kind: "swiglu", dropout: 0.2, key, engine, init: wide }),
  tanh: (p) => new Tanh(linear(p)),
  normed: (p) => new Sequential(new LayerNorm(p), linear(p)),
  attention: ({ dim, key, engine }) => new Rows(new Attention({ dim, numHeads: 1, key, engine, init: wide })),
  own: ({ dim, key, engine }) => new Gate(dim, key, engine),
  dropout: (p) => new Sequential(linear(p), new Dropout(0.4)),
  drawing: () => (x) => x.tanh().dropout(0.3, x.engine.nextKey("branch")),
  plain: () => (x) => x.sin().mul(0.7),
  identity: () => (x) => x,
  huge: () => (x) => x.mul(1e8),
  root: () => (x) => x.sqrt(),
  captured: ({ shape, leaf }) => {
    const w = leaf(shape);
    return (x) => x.mul(w).tanh();
  },
  memory: ({ memory }) => {
    return (x) => x.add(memory()).cos().mul(memory());
  },
  constant: ({ shape, dim, leaf }) => {
    const w = leaf([dim]);
    return () => w.expand(shape);
  },
  unmoved: () => (x) => x.zerosLike(),
  detached: ({ dim, leaf }) => {
    const w = leaf([dim]);
    return (x) => x.detach().mul(w);
  },
  autocast: (p) => {
    const layer = p.own(linear(p));
    return (x) => x.engine.autocast("bf16", () => layer.call(x));
  },
  half: ({ dim, leaf }) => {
    const w = leaf([dim]);
    return (x) => x.cast("bf16").mul(w.cast("bf16"));
  },
  checkpointed: ({ dim, leaf }) => {
    const w = leaf([dim]);
    return (x) => checkpoint((y) => y.mul(w).sin(), x);
  },
  energy: ({ dim, leaf }) => {
    const w = leaf([dim]);
    return (x) => grad((y) => y.mul(w).sin().sum(), [x], { createGraph: x.engine.recordsGradients })[0]!;
  },
  nested: ({ dim, key, engine, own }) => {
    const block = { F: new Gate(dim, key, engine), G: new Sequential(new Dropout(0.2)) };
    const inner = own(new ReversibleSequence({ blocks: [block], engine }));
    return (x) => {
      const [a, b] = inner.call(x, x.tanh());
      return a!.add(b!);
    };
  },
} satisfies Record<string, (parts: Parts) => Branch>;

export type Kind = keyof typeof kinds;
export const allKinds: readonly Kind[] = Object.keys(kinds) as Kind[];
