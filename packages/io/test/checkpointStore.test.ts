import { chmod, cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { CheckpointError } from "../src/checkpointError.ts";
import { type CheckpointContents, CheckpointStore } from "../src/checkpointStore.ts";

let dir: string;
beforeEach(async () => {
  dir = join(await mkdtemp(join(tmpdir(), "revnet-store-")), "checkpoints");
});
afterEach(() => rm(join(dir, ".."), { recursive: true }));

function contents(value: number, metric?: number): CheckpointContents {
  const tensors = (fill: number) =>
    new Map([
      ["w", { dtype: "F32", shape: [3], data: new Uint8Array(new Float32Array(3).fill(fill).buffer) } as const],
    ]);
  const trainer = { key: [value, 7], smoothed: 0.1 + value };
  return {
    model: tensors(value),
    optimizer: tensors(-value),
    trainer,
    config: { train: { steps: 9 } },
    ...(metric === undefined ? {} : { metric }),
  };
}

const steps = async (store: CheckpointStore) => (await store.list()).map(({ step }) => step);

const refusal = async (work: Promise<unknown>): Promise<CheckpointError> => {
  const error = await work.then(
    () => expect.unreachable("it was loaded"),
    (thrown) => thrown,
  );
  expect(error).toBeInstanceOf(CheckpointError);
  return error;
};

describe("save and load", () => {
  test("give back everything that was saved", async () => {
    const store = await CheckpointStore.open(dir);
    const saved = await store.save(123, contents(1, 0.5));
    expect(saved.path).toBe(join(dir, "step-000123"));
    expect((await readdir(saved.path)).sort()).toEqual([
      "config.json",
      "manifest.json",
      "model.safetensors",
      "optimizer.safetensors",
      "trainer.json",
    ]);
    for (const which of [123, "latest", "best"] as const) {
      expect(await store.load(which)).toEqual({ step: 123, path: saved.path, ...contents(1, 0.5) });
    }
    await store.save(124, contents(2));
    expect(await store.load()).toEqual({ step: 124, path: join(dir, "step-000124"), ...contents(2) });
  });

  test("a step saved again replaces the first", async () => {
    const store = await CheckpointStore.open(dir);
    await store.save(1, contents(1));
    await store.save(1, contents(2));
    expect((await store.load(1)).trainer).toEqual(contents(2).trainer);
  });

  test("keep the last k and the best, whatever the metrics", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.option(fc.integer({ min: 0, max: 5 })), { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 1, max: 3 }),
        async (metrics, keepLast) => {
          await rm(dir, { recursive: true, force: true });
          const store = await CheckpointStore.open(dir, { keepLast });
          for (const [step, metric] of metrics.entries()) await store.save(step, contents(step, metric ?? undefined));
          const measured = metrics.filter((metric) => metric !== null);
          const best = measured.length === 0 ? -1 : metrics.lastIndexOf(Math.min(...measured));
          const expected = metrics.flatMap((_, step) =>
            step >= metrics.length - keepLast || step === best ? [step] : [],
          );
          expect(await steps(store)).toEqual(expected);
          expect((await store.latest())?.step).toBe(metrics.length - 1);
          expect((await store.best())?.step).toBe(best === -1 ? undefined : best);
        },
      ),
      { numRuns: 15 },
    );
  });

  test("keep the one just saved, also beside later steps of an earlier run", async () => {
    const order = fc.uniqueArray(fc.integer({ min: 0, max: 20 }), { minLength: 1, maxLength: 8 });
    await fc.assert(
      fc.asyncProperty(order, fc.integer({ min: 1, max: 3 }), async (saved, keepLast) => {
        await rm(dir, { recursive: true, force: true });
        const store = await CheckpointStore.open(dir, { keepLast });
        for (const step of saved) {
          const { path } = await store.save(step, contents(step));
          expect(await steps(store)).toContain(step);
          expect(await readdir(path)).toContain("manifest.json");
        }
      }),
      { numRuns: 15 },
    );
  });

  test("steps of more than six digits sort as numbers", async () => {
    const store = await CheckpointStore.open(dir);
    await store.save(1_000_000, contents(2));
    await store.save(999_999, contents(1));
    expect(await steps(store)).toEqual([999_999, 1_000_000]);
  });

  test("folders that are no complete checkpoint are not looked at", async () => {
    const store = await CheckpointStore.open(dir);
    await store.save(5, contents(5));
    await mkdir(join(dir, "step-000009"));
    await mkdir(join(dir, ".step-000010.tmp-1"));
    await writeFile(join(dir, "step-000011"), "a file");
    await cp(join(dir, "step-000005"), join(dir, "backup"), { recursive: true });
    expect(await steps(store)).toEqual([5]);
  });

  test("a reader creates nothing", async () => {
    const store = CheckpointStore.reader(dir);
    expect([await store.list(), await store.latest(), await store.best()]).toEqual([[], undefined, undefined]);
    await expect(readdir(dir)).rejects.toThrow("ENOENT");
  });
});

describe("a damaged checkpoint", () => {
  const names = ["config.json", "model.safetensors", "optimizer.safetensors", "trainer.json"] as const;

  test("is never loaded: any changed byte of any file is found, and the older intact checkpoint named", async () => {
    const store = await CheckpointStore.open(dir);
    await store.save(1, contents(1));
    await store.save(2, contents(2));
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...names),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        async (name, place, flip) => {
          const path = join(dir, "step-000002", name);
          const intact = await readFile(path);
          const damaged = Uint8Array.from(intact);
          damaged[place % damaged.length]! ^= flip;
          await writeFile(path, damaged);
          const error = await refusal(store.load());
          expect(error.file).toBe(path);
          expect(error.message).toContain(`${path}: its bytes changed since it was saved`);
          expect(error.hint).toContain(`${join(dir, "step-000001")} is intact: load step 1`);
          await writeFile(path, intact);
        },
      ),
      { numRuns: 30 },
    );
    expect((await store.load()).step).toBe(2);
  });

  test("with a file cut off or missing is named, past an older damaged one", async () => {
    const store = await CheckpointStore.open(dir);
    for (const step of [1, 2, 3]) await store.save(step, contents(step));
    await rm(join(dir, "step-000002", "config.json"));
    await truncate(join(dir, "step-000003", "model.safetensors"), 20);
    const error = await refusal(store.load());
    expect(error.message).toMatch(/step-000003.model\.safetensors: has 20 bytes, and was saved with \d+/);
    expect(error.hint).toContain("load step 1");
    expect((await refusal(store.load(2))).message).toMatch(/config\.json: is missing/);
  });

  test("without an older one says so; a broken or newer manifest is named", async () => {
    const store = await CheckpointStore.open(dir);
    await store.save(1, contents(1));
    const manifest = join(dir, "step-000001", "manifest.json");
    for (const text of ["", "{", "null", "[]", '{"format":"revnet-zero checkpoint","version":1,"files":{"a":null}}']) {
      await writeFile(manifest, text);
      const error = await refusal(store.load());
      expect(error.message).toContain(`${manifest}: is not the manifest of a checkpoint`);
      expect(error.hint).toMatch(/no older checkpoint in .* is intact/);
    }
    await writeFile(manifest, '{"format":"revnet-zero checkpoint","version":2}');
    expect((await refusal(store.load())).message).toMatch(/version 2, and this release reads version 1/);
  });

  test("renamed to another step is found", async () => {
    const store = await CheckpointStore.open(dir);
    await store.save(1, contents(1));
    await cp(join(dir, "step-000001"), join(dir, "step-000008"), { recursive: true });
    expect((await refusal(store.load())).message).toMatch(/is not the trainer's state at step 8/);
  });

  test("that is old does not stop saving", async () => {
    const store = await CheckpointStore.open(dir, { keepLast: 1 });
    await store.save(1, contents(1, 0.1));
    await writeFile(join(dir, "step-000001", "trainer.json"), "{}");
    await store.save(2, contents(2, 0.2));
    expect(await steps(store)).toEqual([2]);
  });
});

describe("errors", () => {
  test("nothing there", async () => {
    expect((await refusal(CheckpointStore.reader(dir).load())).message).toMatch(/no checkpoint in this folder.*hint/s);
    const store = await CheckpointStore.open(dir);
    await store.save(4, contents(4));
    expect((await refusal(store.load(5))).message).toMatch(/no checkpoint of step 5\n {2}hint: .* steps 4/);
    expect((await refusal(store.load("best"))).message).toMatch(/no checkpoint has a metric/);
  });

  test("wrong arguments and places", async () => {
    expect((await refusal(CheckpointStore.open(dir, { keepLast: 0 }))).message).toMatch(/keepLast is 0/);
    const store = await CheckpointStore.open(dir);
    expect((await refusal(store.save(-1, contents(1)))).message).toMatch(/step is -1/);
    await writeFile(join(dir, "file"), "");
    expect((await refusal(CheckpointStore.open(join(dir, "file")))).message).toMatch(/cannot be created/);
    expect((await refusal(CheckpointStore.reader(join(dir, "file")).list())).message).toMatch(/cannot be listed/);
    expect((await refusal(CheckpointStore.reader(join(dir, "file")).load())).message).toMatch(/cannot be listed/);
  });

  test("a folder this user may not write to", async ({ skip }) => {
    skip(process.platform === "win32", "Windows has no write permission on folders");
    const store = await CheckpointStore.open(dir);
    await chmod(dir, 0o555);
    await chmod(join(dir, ".."), 0o755);
    const isRoot = process.geteuid?.() === 0;
    if (isRoot) process.seteuid?.(65534);
    try {
      expect((await refusal(store.save(1, contents(1)))).message).toMatch(/this user may not write there/);
      expect((await refusal(CheckpointStore.open(join(dir, "inner")))).message).toMatch(/cannot be created/);
    } finally {
      if (isRoot) process.seteuid?.(0);
    }
  });
});
