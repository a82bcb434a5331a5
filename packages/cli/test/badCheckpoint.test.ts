import { cp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Bench } from "./commandLine.ts";

/** A bench with checkpoints of steps 3 and 6. */
async function trained(): Promise<Bench> {
  const bench = await Bench.open();
  const { status, error } = await bench.run("train @config.yaml");
  expect(status, error).toBe(0);
  return bench;
}

describe("a checkpoint that cannot be gone on from is refused", () => {
  test("when there is none", async () => {
    const bench = await Bench.open();
    expect(await bench.refusal("train @config.yaml --resume")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run: there is no checkpoint in this folder
        hint: check the path; a checkpoint is a folder named like step-000100
      status 1"
    `);
    expect(await bench.refusal("sample @run")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run: there is no checkpoint in this folder
        hint: check the path; a checkpoint is a folder named like step-000100
      status 1"
    `);
    expect(await bench.refusal("info @run/step-000009")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run: there is no checkpoint in this folder
        hint: check the path; a checkpoint is a folder named like step-000100
      status 1"
    `);
  });

  test("when a file of it is cut short", async () => {
    const bench = await trained();
    const file = bench.path("run", "step-000006", "model.safetensors");
    await truncate(file, (await stat(file)).size - 10);
    expect(await bench.refusal("train @config.yaml --resume")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run/step-000006/model.safetensors: has 17726 bytes, and was saved with 17736
        hint: <folder>/run/step-000003 is intact: load step 3, or remove <folder>/run/step-000006 to make it the latest
      status 1"
    `);
    expect(await bench.refusal("sample @run")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run/step-000006/model.safetensors: has 17726 bytes, and was saved with 17736
        hint: <folder>/run/step-000003 is intact: load step 3, or remove <folder>/run/step-000006 to make it the latest
      status 1"
    `);
  });

  test("when a bit of it changed", async () => {
    const bench = await trained();
    const file = bench.path("run", "step-000006", "optimizer.safetensors");
    const bytes = await readFile(file);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(file, bytes);
    expect(await bench.refusal("train @config.yaml --resume")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run/step-000006/optimizer.safetensors: its bytes changed since it was saved (SHA-256 differs)
        hint: <folder>/run/step-000003 is intact: load step 3, or remove <folder>/run/step-000006 to make it the latest
      status 1"
    `);
    await rm(bench.path("run", "step-000003", "trainer.json"));
    expect(await bench.refusal("train @config.yaml --resume")).toMatchInlineSnapshot(`
      "CheckpointError: CheckpointStore: <folder>/run/step-000006/optimizer.safetensors: its bytes changed since it was saved (SHA-256 differs)
        hint: no older checkpoint in <folder>/run is intact; restore the file from a copy, or train anew
      status 1"
    `);
  });

  test("wherever a bit of it changed, and the intact one before it is named", async () => {
    const bench = await trained();
    const files = ["config.json", "model.safetensors", "optimizer.safetensors", "trainer.json"];
    const broken = bench.path("run", "step-000006");
    await cp(broken, bench.path("intact"), { recursive: true });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...files), fc.nat(), fc.nat(7), async (name, at, bit) => {
        const bytes = await readFile(bench.path("intact", name));
        bytes[at % bytes.length]! ^= 1 << bit;
        await writeFile(`${broken}/${name}`, bytes);
        for (const command of ["train @config.yaml --resume", "sample @run", "info @run/step-000006"]) {
          const shown = await bench.refusal(command);
          expect(shown).toContain(`<folder>/run/step-000006/${name}: its bytes changed since it was saved`);
          expect(shown).toContain(
            "hint: <folder>/run/step-000003 is intact: load step 3, or remove <folder>/run/step-000006",
          );
          expect(shown).toMatch(/status 1$/);
        }
        await cp(bench.path("intact", name), `${broken}/${name}`);
      }),
      runs(20),
    );
    expect(await bench.run("train @config.yaml --resume")).toMatchObject({ status: 0 });
  });

  test("when it is of another seed, text, model or optimizer", async () => {
    const bench = await trained();
    const resume = "train @config.yaml --resume";
    expect(await bench.refusal(`${resume} --train.seed 2`)).toMatchInlineSnapshot(`
      "ValueError: resume: <folder>/run/step-000006 was trained with seed 1, the configuration has 2
        hint: resume with the values of the checkpoint's config.json
      status 1"
    `);
    await bench.write("other.txt", "It was the best of times, it was the worst of times. ".repeat(9));
    expect(await bench.refusal(`${resume} --data.source @other.txt`)).toMatchInlineSnapshot(`
      "ValueError: resume: <folder>/run/step-000006 was trained on another text: of 2824 bytes, hash 4ddac48c; this one has 477 bytes, hash f387aa34
        hint: resume with the text it was trained on as data.source
      status 1"
    `);
    expect(await bench.refusal(`${resume} --model.dModel 16 --model.mlp swiglu`)).toMatchInlineSnapshot(`
      "ValueError: resume: the configuration does not fit <folder>/run/step-000006: model.dModel was 8 and is 16, model.mlp was "gelu" and is "swiglu"
        hint: resume with the values of the checkpoint's config.json
      status 1"
    `);
    expect(await bench.refusal(`${resume} --optimizer.name lion --train.logEvery 3`)).toMatchInlineSnapshot(`
      "ValueError: resume: the configuration does not fit <folder>/run/step-000006: optimizer.name was "adamw" and is "lion"
        hint: resume with the values of the checkpoint's config.json
      status 1"
    `);
  });
});
