import { Dropout, Sequential } from "@revnet-zero/nn";
import { expectNoLeak, type HostData, randomKey, type Tensor } from "@revnet-zero/tensor";
import { errorText, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  AdditiveCoupling,
  AffineCoupling,
  denseConditioner,
  FlowLayer,
  type FlowMode,
  type FlowOutput,
  FlowSequence,
  Householder,
  InvertibleLinear,
  type Retraced,
  realNVP,
} from "../src/index.ts";
import { engine, expectSame, floats } from "./fixtures.ts";
import { build } from "./layers.ts";
import { pass } from "./pass.ts";
import { rebuiltIsClose, rebuiltIsExact } from "./properties.ts";

describe("rebuilt", () => {
  test("gradients are those of ordinary backpropagation, up to rounding", () => {
    fc.assert(rebuiltIsClose(), runs(60));
  });

  test("fixed-point streams: gradients are those of ordinary backpropagation, bit for bit", () => {
    fc.assert(rebuiltIsExact(), runs(60));
  });

  test("a network's dropout is the same in both runs, also where the flags changed in between", () => {
    const network = new Sequential(
      denseConditioner({ in: 2, out: 4, hidden: 8, key: randomKey(1), engine, dtype: "f64" }),
      new Dropout(0.5),
    );
    engine.scope(() => {
      for (const p of network.parameters()) p.detach().assign(p.detach().add(floats(p.shape, 2).mul(0.2)));
    });
    const layers = [0, 1].map(() => new AffineCoupling({ channels: 4, network }));
    const flow = new FlowSequence({ layers });
    const x = floats([16, 4], 3);
    const gradients = (mode: FlowMode, isSwitched: boolean): HostData[] =>
      engine.scope(() => {
        flow.mode = mode;
        flow.train();
        const { value } = engine.withKey(randomKey(4), () => flow.call(x));
        if (isSwitched) flow.eval();
        value.square().sum().backward();
        const found = flow.parameters().map((p) => p.grad!.dataSync());
        flow.zeroGrad();
        return found;
      });
    const stored = gradients("store", false);
    for (const isSwitched of [false, true]) {
      gradients("rebuild", isSwitched).forEach((found, i) => {
        found.forEach((v, k) => {
          expect(Math.abs(v - stored[i]![k]!)).toBeLessThan(1e-9 * Math.max(1, ...stored[i]!.map(Math.abs)));
        });
      });
    }
    flow.dispose();
    x.dispose();
  });

  test("bf16 autocast reaches the networks alone: mixing keeps its bits, streams their dtype", () => {
    engine.scope(() => {
      const options = { channels: 4, key: randomKey(3), engine };
      const mixing = new FlowSequence({ layers: [new InvertibleLinear(options), new Householder(options)] });
      for (const shape of [
        [8, 4],
        [2, 4, 3, 3],
      ]) {
        const x = floats(shape, 1, "f32");
        const y = mixing.call(x);
        const cast = engine.autocast("bf16", () => mixing.call(x));
        expectSame(cast.value, y.value, "mixed");
        expectSame(engine.autocast("bf16", () => mixing.inverse(y.value)).value, mixing.inverse(y.value).value, "back");
      }
      const flow = realNVP({ dim: 4, hidden: 16, couplings: 2, key: randomKey(2), engine });
      const { value, logDeterminant } = engine.autocast("bf16", () => flow.call(floats([8, 4], 1, "f32")));
      expect([value.dtype, logDeterminant.dtype]).toEqual(["f32", "f32"]);
      value.square().sum().add(logDeterminant.sum()).backward();
      for (const module of [mixing, flow]) module.dispose();
    });
  });

  test("drift tells a layer whose inverse is wrong", async () => {
    class Wrong extends FlowLayer {
      readonly inner: FlowLayer;
      constructor(inner: FlowLayer) {
        super();
        this.inner = inner;
      }
      override forward(x: Tensor): FlowOutput {
        return this.inner.forward(x);
      }
      protected override invert(y: Tensor): FlowOutput {
        return this.inner.inverse(y);
      }
      override retrace(y: Tensor): Retraced {
        return this.inner.retrace(y.mul(1.01));
      }
    }
    const drifts: number[] = [];
    for (const isWrong of [false, true]) {
      const { layer } = build("affine coupling", [4], 1);
      const flow = new FlowSequence({ layers: [isWrong ? new Wrong(layer) : layer] });
      expect(await flow.drift()).toBeNaN();
      const x = floats([8, 4], 1);
      pass(flow, "rebuild", x);
      drifts.push(await flow.drift());
      flow.dispose();
      x.dispose();
    }
    expect(drifts[0]).toBeLessThan(1e-14);
    expect(drifts[1]).toBeGreaterThan(1e-3);
  });

  test("memory does not grow with depth; stored, it does", () => {
    /** In the forward pass, and in backward: there the gradients of the parameters hide what forward needs. */
    const activationBytes = (mode: FlowMode, couplings: number): readonly [number, number] => {
      const flow = realNVP({ dim: 8, hidden: 64, couplings, key: randomKey(1), engine, mode });
      const x = floats([256, 8], 1, "f32");
      engine.ledger.resetPeak();
      const found = engine.scope(() => {
        const { value, logDeterminant } = flow.call(x);
        const forward = engine.memory().activationBytes;
        engine.ledger.resetPeak();
        value.square().sum().sub(logDeterminant.sum()).backward();
        return [forward, engine.memory().activationBytes] as const;
      });
      x.dispose();
      flow.dispose();
      return found;
    };
    const few = activationBytes("rebuild", 4);
    expect(activationBytes("rebuild", 16)).toEqual(few);
    expect(activationBytes("rebuild", 32)).toEqual(few);
    const [a, b, c] = [4, 16, 28].map((n) => activationBytes("store", n)[1]);
    expect(b! - a!).toBeGreaterThan(12 * 256 * 64 * 4);
    expect(c! - b!).toBe(b! - a!);
  });
});

describe("a network that throws", () => {
  test.each(["rebuild", "store"] as const)("leaves nothing behind, %s", (mode) => {
    for (let at = 0; at < 6; at++) {
      let calls = 0;
      const network = (b: Tensor): Tensor => {
        if (calls++ === at) throw new Error("a network failed");
        return b.sin();
      };
      const layers = [0, 1, 2].map(() => new AdditiveCoupling({ channels: 4, network }));
      const flow = new FlowSequence({ layers, mode, engine });
      const x = floats([2, 4], 1).requireGrad();
      expectNoLeak(engine, () => {
        const run = (): void => engine.scope(() => flow.call(x).value.sum().backward());
        // Stored, the networks run three times, not six.
        if (mode === "store" && at > 2) run();
        else expect(errorText(run)).toBe("Error: a network failed");
        x.grad?.dispose();
        x.grad = undefined;
      });
      flow.dispose();
      x.dispose();
    }
  });
});

test("dropped without backward, a pass leaves nothing behind", () => {
  for (const mode of ["rebuild", "store"] as const) {
    const flow = realNVP({ dim: 3, hidden: 4, couplings: 2, key: randomKey(1), engine, mode });
    const x = floats([2, 3], 1, "f32");
    expectNoLeak(engine, () => {
      const { value, logDeterminant } = flow.call(x);
      for (const t of [value, logDeterminant]) t.dispose();
    });
    flow.dispose();
    x.dispose();
  }
});
