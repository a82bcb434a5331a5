import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { expect, test } from "vitest";
import { allKeys, findField } from "../src/config/fields.ts";
import { Bench, type Ending } from "./commandLine.ts";

/** Fails unless it is a result, or an error that says what to do. */
function checkEnding({ status, out, error }: Ending): void {
  if (status === 0) {
    expect(error).toBe("");
    expect(out).not.toMatch(/NaN|undefined|\[object/);
    return;
  }
  expect([1, 2]).toContain(status);
  expect(error).toMatch(/^[A-Z]\w+Error: .*\n {2}hint: \S.*\n$/s);
  expect(error).not.toMatch(/\n {4}at /);
}

// Numbers that a model of this size can have, and texts of all sorts: what is too large to compute is another test's.
const values = fc.oneof(
  fc.constantFrom(
    "",
    "0",
    "1",
    "2",
    "3",
    "4",
    "7",
    "16",
    "-1",
    "0.5",
    "1e-9",
    "1e300",
    "NaN",
    "Infinity",
    "0x10",
    "true",
  ),
  fc.constantFrom("gelu", "geglu", "rms", "rotary", "learned", "split", "store", "float", "checkpoint", "sgd", "lion"),
  fc.constantFrom("cosine", "0.9,0.95", "[0,0]", "1,2,3", "adafactor", "linear", "no", "null", "~", "@text.txt", "@"),
  fc.string({ unit: "binary", maxLength: 6 }).map((text) => text.replace(/[ @]/g, "_")),
);
// Layers, batches and lengths of 1e300 are legal and take forever.
const flag = fc
  .tuple(fc.constantFrom(...allKeys), values)
  .filter(([key, value]) => !(/num|dModel|Len|Ratio|Size|Batches|Length/.test(key) && Number(value) > 100))
  .map(([key, value]) => (findField(key)!.isSwitch && value === "" ? `--${key}` : `--${key}=${value}`));

test("any configuration on the command line ends in an estimate, or an error that says what to do", async () => {
  const bench = await Bench.open();
  await fc.assert(
    fc.asyncProperty(fc.array(flag, { maxLength: 4 }), async (flags) => {
      checkEnding(await bench.run(["estimate", "@config.yaml", ...flags].join(" ")));
    }),
    runs(60),
  );
});

test("any configuration that can be estimated can be checked, and takes a step", async () => {
  const bench = await Bench.open({ train: { steps: 1, evalEvery: 0 }, schedule: { warmupSteps: 0 } });
  let times = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(flag, { maxLength: 3 }), async (flags) => {
      const line = ["@config.yaml", ...flags, "--train.steps=1", `--output.dir=@run${times++}`].join(" ");
      const estimated = await bench.run(`estimate ${line}`);
      if (estimated.status !== 0) return;
      const trained = await bench.run(`train ${line}`);
      if (trained.status === 0) expect(trained.out).toMatch(/^checkpoint: .*\npeak memory: .*\nreport: .*\n$/);
      else expect(trained.error).toMatch(/Error: .*\n {2}hint: \S.*\n$/s);
      const checked = await bench.run(`check ${line}`);
      if (checked.error !== "") return checkEnding(checked);
      const isFloat = /^float/.test(checked.out);
      if (!isFloat)
        expect(checked.out.match(/bit-equal: +yes/g)).toHaveLength(checked.out.match(/dropout/g)!.length * 2);
      expect(checked.status).toBe(/ NO$/m.test(checked.out) ? 1 : 0);
    }),
    runs(20),
  );
});
