import { CpuBackend } from "@revnet-zero/backend-cpu";
import type { GradScalerState } from "@revnet-zero/optim";
import { Engine } from "@revnet-zero/tensor";
import { rejectionText } from "@revnet-zero/testkit";
import { describe, expect, test } from "vitest";
import { buildModel, runKey } from "../src/build.ts";
import type { StepEvent } from "../src/events.ts";
import { computeGradients } from "../src/step.ts";
import { smallConfig, smallTrainer, stateOf, temporaryStore } from "./smallRun.ts";

describe("precision", () => {
  test.for(["bf16", "f16"] as const)(
    "%s is autocast: other losses than float32, near them; the state stays float32",
    async (precision) => {
      const losses: Record<string, number[]> = {};
      for (const one of ["f32", precision] as const) {
        const trainer = smallTrainer({ train: { precision: one } });
        await trainer.run();
        losses[one] = trainer.history.train.map(([, loss]) => loss);
        for (const p of trainer.model.parameters()) expect(p.dtype).toBe("f32");
        trainer.dispose();
      }
      expect(losses[precision]).not.toEqual(losses.f32);
      for (const [i, loss] of losses[precision]!.entries()) expect(Math.abs(loss - losses.f32![i]!)).toBeLessThan(0.02);
    },
  );

  test("gradients of exact streams are those of stored ones in float16, bit for bit", async () => {
    const found = [];
    for (const reversibility of ["exact", "store"] as const) {
      const { model } = smallConfig();
      const trainer = smallTrainer({ model: { ...model, reversibility, dropout: 0.1 }, train: { precision: "f16" } });
      await trainer.run();
      found.push(await stateOf(trainer));
    }
    expect(found[0]).toEqual(found[1]);
  });

  test("a scale changes no bit of float32 gradients, norm and loss", async () => {
    const trainer = smallTrainer();
    const model = buildModel(trainer.config.model, 1, new Engine(new CpuBackend()));
    const at = async (scale: number, clipNorm: number): Promise<unknown> => {
      const options = { key: runKey(1, "steps"), step: 0, clipNorm, scale };
      const { loss, norm, factor } = computeGradients(
        model,
        [trainer.data.batchAt(0), trainer.data.batchAt(1)],
        options,
      );
      const gradient = model.head.norm.weight.grad!.mul((await factor?.item()) ?? 1);
      const found = [await loss.item(), await norm.item(), Array.from(await gradient.data())];
      model.zeroGrad();
      return found;
    };
    for (const clipNorm of [0, 0.1]) expect(await at(2 ** 16, clipNorm)).toEqual(await at(1, clipNorm));
  });
});

describe("a run in float16", () => {
  const inFloat16 = { train: { precision: "f16" as const, steps: 16 } };
  /** A scale so large that the first gradients overflow. */
  const hot: GradScalerState = { scale: 2 ** 28, goodSteps: 0, skippedSteps: 0 };

  async function events(trainer: ReturnType<typeof smallTrainer>): Promise<StepEvent[]> {
    const seen: StepEvent[] = [];
    trainer.on("step", (e) => seen.push(e));
    await trainer.run();
    return seen;
  }

  test("leaves out steps whose gradients overflow, and goes on with half the scale", async () => {
    const trainer = smallTrainer(inFloat16);
    trainer.scaler!.loadStateDict(hot);
    const before = await stateOf(trainer);
    const seen = await events(trainer);
    const skipped = seen.filter((e) => e.isSkipped);
    expect(skipped.length).toBeGreaterThan(3);
    expect(trainer.scaler!.skippedSteps).toBe(skipped.length);
    expect(trainer.optimizer.stepCount).toBe(seen.length - skipped.length);
    seen.forEach((e, i) => {
      expect(e.lossScale).toBe(2 ** (28 - Math.min(i, skipped.length)));
      expect(Number.isFinite(e.gradientNorm)).toBe(!e.isSkipped);
      expect(Number.isFinite(e.loss)).toBe(true);
    });
    expect(await stateOf(trainer)).not.toEqual(before);
  });

  test("that is stopped and resumed is the run that was not, scale included", async () => {
    const whole = smallTrainer(inFloat16);
    whole.scaler!.loadStateDict(hot);
    await whole.run();
    const store = await temporaryStore();
    const part = smallTrainer(inFloat16, { store });
    part.scaler!.loadStateDict(hot);
    const controller = new AbortController();
    part.on("step", ({ step }) => step === 4 && controller.abort());
    await part.run({ signal: controller.signal });
    const rest = smallTrainer(inFloat16, { store, resume: await store.load("latest") });
    expect(rest.scaler!.stateDict()).toEqual(part.scaler!.stateDict());
    await rest.run();
    expect(await stateOf(rest)).toEqual(await stateOf(whole));
    expect(rest.scaler!.stateDict()).toEqual(whole.scaler!.stateDict());
  });

  test("stops where gradients are no numbers at any scale", async () => {
    const trainer = smallTrainer(inFloat16);
    trainer.scaler!.loadStateDict({ scale: 1, goodSteps: 0, skippedSteps: 0 });
    const { weight } = trainer.model.head.norm;
    weight.engine.noGrad(() => trainer.engine.scope(() => weight.assign(weight.mul(1e6))));
    expect(await rejectionText(trainer.run())).toMatch(/^TrainError: /);
  });
});
