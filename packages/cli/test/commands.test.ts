import { readFile } from "node:fs/promises";
import { checkWellFormed, runs } from "@revnet-zero/testkit";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { commandTable } from "../src/commands.ts";
import { Bench } from "./commandLine.ts";

/** A bench with checkpoints of steps 3 and 6 in run/. */
async function trained(): Promise<Bench> {
  const bench = await Bench.open();
  const { status, error } = await bench.run("train @config.yaml");
  expect(status, error).toBe(0);
  return bench;
}

/** The results of a command line that succeeds without a word on errors. */
async function results(bench: Bench, line: string): Promise<string> {
  const { status, out, error } = await bench.run(line);
  expect([status, error]).toEqual([0, ""]);
  return out;
}

describe("sample", () => {
  test("writes the same text for the same checkpoint, seed and temperature, and touches no file", async () => {
    const bench = await trained();
    const before = await bench.files();
    const options = fc.record({
      seed: fc.nat(),
      temperature: fc.double({ min: 0, max: 3, noNaN: true }),
      topK: fc.integer({ min: 1, max: 300 }),
    });
    await fc.assert(
      fc.asyncProperty(options, async ({ seed, temperature, topK }) => {
        const line = `sample @run --length 12 --seed ${seed} --temperature ${temperature} --top-k ${topK}`;
        expect(await results(bench, line)).toBe(await results(bench, line));
      }),
      runs(5),
    );
    expect(await bench.files()).toEqual(before);
  });

  test("takes the likeliest bytes, whatever the seed, at temperature 0 and among one", async () => {
    const bench = await trained();
    const likeliest = await results(bench, "sample @run --length 8 --temperature 0");
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.constantFrom("--temperature 0", "--top-k 1"), async (seed, how) => {
        expect(await results(bench, `sample @run --length 8 --seed ${seed} ${how}`)).toBe(likeliest);
      }),
      runs(5),
    );
  });

  test("begins with the prompt, and writes other text for another seed or checkpoint", async () => {
    const bench = await trained();
    const line = "sample @run --length 40 --prompt Wäl";
    const first = await results(bench, line);
    expect(first).toMatch(/^Wäl/);
    expect(await results(bench, `${line} --seed 2`)).not.toBe(first);
    expect(await results(bench, line.replace("@run", "@run/step-000003"))).not.toBe(first);
    expect(await results(bench, line.replace("@run", "@run/step-000006"))).toBe(first);
  });

  test("shows on a terminal what would control it, and writes every byte elsewhere", async () => {
    const bench = await trained();
    // Hardly trained, it writes every byte about equally often.
    const line = "sample @run --length 200 --temperature 5";
    const raw = await results(bench, line);
    const { out } = await bench.run(line, { isTTY: true });
    const isControl = (character: string): boolean => /[^\P{Cc}\n\t]/u.test(character);
    expect([...raw].filter(isControl).length).toBeGreaterThan(3);
    expect([...out].filter(isControl)).toEqual([]);
    const shown = [...out];
    expect([...raw].filter((c, i) => !isControl(c) && shown[i] !== c)).toEqual([]);
    expect(shown).toHaveLength([...raw].length);
  });
});

describe("estimate", () => {
  test("tells the bytes of every way to keep activations, and what fits a budget", async () => {
    const bench = await Bench.open({ model: { numLayers: 8 } });
    expect(await results(bench, "estimate @config.yaml --budget 152KiB")).toMatchInlineSnapshot(`
      "9 040 parameters, 8 layers, 2 sequences of 8 bytes (* configured)
      reversibility  parameters  gradients  optimizer  activations     peak
      store            35.5 KiB   35.3 KiB   70.6 KiB      105 KiB  211 KiB
      checkpoint       35.5 KiB   35.3 KiB   70.6 KiB     11.4 KiB  152 KiB
      float            35.5 KiB   35.3 KiB   70.6 KiB     10.9 KiB  151 KiB
      exact *          35.5 KiB   35.3 KiB   70.6 KiB     9.92 KiB  150 KiB
      activations: the peak less parameters, gradients and optimizer state at that instant
      into 152 KiB fit: checkpoint, float, exact
      "
    `);
    expect(await results(bench, "estimate @config.yaml --budget 1kB")).toMatch(/^nothing here fits into 1000 B$/m);
  });
});

describe("estimate --largest", () => {
  test("finds the largest that fits, and shows that the next does not", async () => {
    const bench = await Bench.open();
    for (const [what, key] of [
      ["batch", "train.batchSize"],
      ["sequence", "train.sequenceLength"],
      ["depth", "model.numLayers"],
    ]) {
      const found = await results(bench, `estimate @config.yaml --budget 400KiB --largest ${what}`);
      const [, value, flag] = /^the largest \w+ within 400 KiB is (\d+), .*: --(\S+) \d+$/m.exec(found) ?? [];
      expect(flag).toBe(key);
      const longer = what === "sequence" ? " --model.maxSeqLen 4096" : "";
      const fits = (n: number) => results(bench, `estimate @config.yaml --budget 400KiB --${key} ${n}${longer}`);
      expect(await fits(Number(value))).toMatch(/into 400 KiB fit: .*exact$/m);
      expect(await fits(Number(value) + 1)).not.toMatch(/into 400 KiB fit: .*exact$/m);
    }
    expect(await results(bench, "estimate @config.yaml --budget 1kB --largest batch")).toMatch(
      /^not even a batch of 1 fits/,
    );
    expect((await bench.run("estimate @config.yaml --largest batch")).error).toContain(
      "--largest batch needs a budget",
    );
  });
});

describe("plan", () => {
  test("prints a policy for every layer, peak and time within the budget, and draws the trade-offs", async () => {
    const bench = await Bench.open({ model: { numLayers: 4 } });
    const out = await results(bench, "plan @config.yaml --budget 170KiB --plot @plan.html");
    expect(out).toMatch(/^layer +policy +adds +forward +backward$/m);
    expect(out.match(/^\d +(store|checkpoint|reconstruct) /gm)).toHaveLength(4);
    expect(out).toMatch(/^peak of a step: \d+ KiB of 170 KiB, counted by the ledger$/m);
    expect(out).toMatch(/^ {2}@ chosen: .* at /m);
    const page = await readFile(bench.path("plan.html"), "utf8");
    checkWellFormed(page);
    expect(page).toContain("all rebuilt");
    await results(bench, "plan @config.yaml --plot @plan.svg");
    checkWellFormed(await readFile(bench.path("plan.svg"), "utf8"));
  });

  test("says what it cannot do", async () => {
    const bench = await Bench.open();
    const error = async (line: string) => (await bench.run(line)).error.replace(/\d{5,}/g, "N");
    expect(await error("plan @config.yaml --budget 1kB")).toMatchInlineSnapshot(`
      "OutOfMemoryError: plan: no plan fits into 1000 bytes: the smallest peak that was found is N bytes
        hint: a smaller train.batchSize or train.sequenceLength needs less; \`revnet-zero estimate\` tells how much
      "
    `);
    expect(await error("plan @config.yaml --budget 1G")).toMatchInlineSnapshot(`
      "UsageError: plan: --budget is "1G"
        hint: accepted: a size like 2GB (10^9), 1.5GiB (2^30), 500MB or 4096
      "
    `);
    expect(await error("plan @config.yaml --model.reversibility store")).toMatchInlineSnapshot(`
      "ValueError: plan: model.reversibility is store, which says by itself what is done with every layer
        hint: plan with --model.reversibility exact, which any plan gives the same bits as store
      "
    `);
    expect(await error("plan @config.yaml --plot plan.png")).toMatchInlineSnapshot(`
      "UsageError: plan: --plot is "plan.png"
        hint: name a file that ends in .svg or .html
      "
    `);
    expect(await error("train @config.yaml --offload disk")).toMatchInlineSnapshot(`
      "UsageError: train: --offload is for plans
        hint: add --budget <size>: the plan decides what is offloaded
      "
    `);
  });

  test("is followed by a training run, in the bytes it said, also with a disk to offload to", async () => {
    const bench = await Bench.open({ model: { numLayers: 4 } });
    for (const [i, offload] of ["", " --offload disk", " --offload memory"].entries()) {
      const { out, status } = await bench.run(`train @config.yaml --budget 170KiB${offload} --output.dir @run${i}`);
      expect(status).toBe(0);
      expect(out).toMatch(/^peak of a step: /m);
      expect(out).toMatch(/^peak memory: predicted .* \(equal to the byte\)$/m);
    }
  });
});

describe("train --strategy", () => {
  test("runs passes through a memory scheduler, and ends with the loss of a run without one", async () => {
    const bench = await Bench.open({ model: { numLayers: 4, dropout: 0.1 }, train: { microBatches: 2 } });
    const lossOf = ({ error }: { readonly error: string }) => /^6\/6 .*loss (\S+)/m.exec(error)?.[1];
    const plain = await bench.run("train @config.yaml --output.dir @plain");
    const scheduled = await bench.run("train @config.yaml --output.dir @scheduled --budget 300KiB --strategy adaptive");
    expect(scheduled.status, scheduled.error).toBe(0);
    expect(lossOf(scheduled)).toBe(lossOf(plain));
    expect(scheduled.out).toMatch(/^peak memory: steps .*, passes planned by adaptive within 300 KiB$/m);
    const { error, status } = await bench.run("train @config.yaml --strategy clever");
    expect([status, error.includes("accepted: conservative, balanced, aggressive, adaptive, ml-adaptive")]).toEqual([
      2,
      true,
    ]);
  });
});

describe("check", () => {
  test("finds gradients and reconstruction of exact streams bit-equal, without and with dropout", async () => {
    const bench = await Bench.open();
    expect(await results(bench, "check @config.yaml")).toMatchInlineSnapshot(`
      "exact, 2 layers, dropout 0:
        reconstruction bit-equal: yes
        gradients bit-equal:      yes
        numbers compared:         4 064
      exact, 2 layers, dropout 0.1:
        reconstruction bit-equal: yes
        gradients bit-equal:      yes
        numbers compared:         4 064
      "
    `);
  });

  test("finds them bit-equal for any seed and kind of block", async () => {
    const bench = await Bench.open({ train: { batchSize: 1 } });
    const options = fc.record({
      seed: fc.nat(),
      mlp: fc.constantFrom("gelu", "geglu", "swiglu"),
      norm: fc.constantFrom("layer", "rms"),
      streams: fc.constantFrom("full", "split"),
    });
    await fc.assert(
      fc.asyncProperty(options, async ({ seed, mlp, norm, streams }) => {
        const flags = `--model.mlp ${mlp} --model.norm ${norm} --model.streams ${streams}`;
        const out = await results(bench, `check @config.yaml --seed ${seed} ${flags}`);
        expect(out.match(/bit-equal: +yes/g)).toHaveLength(4);
      }),
      runs(5),
    );
  });

  test("ends with status 1, and the first difference, for streams that are rebuilt up to rounding", async () => {
    const bench = await Bench.open({ model: { dModel: 32, reversibility: "float" } });
    const { status, out } = await bench.run("check @config.yaml");
    expect(status).toBe(1);
    expect(out).toMatch(/^float, 2 layers, dropout 0:\n {2}reconstruction bit-equal: NO$/m);
    expect(out).toMatch(/^ {2}first difference: +stream [01]\[\d+\] is \S+, expected \S+$/m);
  });
});

describe("info", () => {
  test("tells versions, arithmetic and settings of this machine", async () => {
    const bench = await Bench.open();
    const names = (await results(bench, "info")).match(/^\S+/gm);
    expect(names).toEqual(["RevNet-Zero", "Node", "platform", "backend", "kernels", "cuda", "environment"]);
    expect(await results(bench, "info")).toMatch(new RegExp(`^Node +${process.versions.node}$`, "m"));
  });

  test("tells what a checkpoint holds", async () => {
    const bench = await trained();
    const shown = (await results(bench, "info @run")).replace(/\d+\.\d{4} nats/, "# nats");
    expect(shown).toMatchInlineSnapshot(`
      "checkpoint     <folder>/run/step-000006
      step           6
      held-out loss  # nats per byte
      model          3 808 numbers in 27 tensors; numLayers 2, dModel 8, numHeads 2, maxSeqLen 16, mlpRatio 4, mlp gelu, norm layer, positions rotary, dropout 0, reversibility exact, streams full, tieEmbeddings true
      optimizer      54 tensors
      "
    `);
    expect(await results(bench, "info @run/step-000003")).toMatch(/^step +3$/m);
    await bench.run("train @config.yaml --train.evalEvery 0 --output.dir @blind");
    expect(await results(bench, "info @blind")).toMatch(/^held-out loss +not measured$/m);
  });
});

describe("the printed configuration", () => {
  test.for(["train", "estimate", "check"])("of %s, given as a file, is the same configuration", async (command) => {
    const bench = await Bench.open();
    const flags = "--model.numKeyValueHeads 1 --no-model.tieEmbeddings --optimizer.betas 0.8,0.9 --train.steps 7";
    const printed = await results(bench, `${command} @config.yaml --print-config ${flags}`);
    expect(printed).toMatch(/^ {2}steps: 7 /m);
    expect(printed).toMatch(/^ {2}tieEmbeddings: false /m);
    expect(printed).toMatch(/^ {2}numKeyValueHeads: 1 /m);
    expect(printed).toMatch(/^ {2}betas: \[0\.8, 0\.9\] /m);
    await bench.write("printed.yaml", printed.replaceAll("<folder>", bench.folder));
    expect(await results(bench, `${command} @printed.yaml --print-config`)).toBe(printed);
    expect(await results(bench, "estimate @printed.yaml")).toBe(await results(bench, `estimate @config.yaml ${flags}`));
  });

  test("of nothing is the default, and nothing is written or trained", async () => {
    const bench = await Bench.open();
    const before = await bench.files();
    const printed = await results(bench, "train --print-config");
    await bench.write("printed.yaml", printed);
    expect(await results(bench, "train @printed.yaml --print-config")).toBe(printed);
    expect(await bench.files()).toEqual({ ...before, "printed.yaml": Buffer.from(printed).toString("base64") });
  });
});

describe("help", () => {
  test.for(Object.keys(commandTable))("of %s is a result", async (command) => {
    const bench = await Bench.open();
    const shown = await results(bench, `${command} --help`);
    expect(shown).toMatch(new RegExp(`\n\nUsage: revnet-zero ${command} .*\\[flags\\]\n`));
    expect(await results(bench, `help ${command}`)).toBe(shown);
  });

  test("of a command shows its operand and flags", async () => {
    const bench = await Bench.open();
    expect(await results(bench, "sample --help")).toMatchInlineSnapshot(`
      "Write text with a trained model.

      Usage: revnet-zero sample <checkpoint> [flags]

        checkpoint: a run's folder, or one checkpoint of it

      Flags:
        --prompt <text>         what the text begins with
        --length <bytes>        bytes to write; default 300
        --temperature <number>  0 takes the likeliest byte always; default 0.8
        --top-k <count>         choose among so many likeliest bytes; default all
        --seed <number>         decides the choices; default 1
        --device <name>         what computes: cpu, or cuda for an NVIDIA GPU; default REVNET_DEVICE, or cpu
        --help                  this text
      "
    `);
  });

  test("of the program shows the commands", async () => {
    const bench = await Bench.open();
    expect(await results(bench, "--help")).toMatchInlineSnapshot(`
      "RevNet-Zero: train reversible networks in activation memory that does not grow with depth.

      Usage: revnet-zero <command> [flags]

      Commands:
        train     Train a model on a text.
        sample    Write text with a trained model.
        estimate  Tell the memory of a training step without running it.
        plan      Find the fastest way to keep or rebuild each layer's activations within a memory budget.
        check     Prove on this machine that gradients are bit for bit those of stored backpropagation.
        tune      Time the kernels that a training step may use on this GPU, and keep which are the fastest.
        info      Show versions, devices and limits of this machine, or what a checkpoint holds.
        demo      Train, prove and report in a few minutes, with nothing to prepare.

      Flags:
        --help     this text, or after a command its flags
        --version  the version

      New here? Run: revnet-zero demo
      "
    `);
    expect(await results(bench, "--version")).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("demo", () => {
  test("trains, proves and reports, and can be run again in its folder", async () => {
    const bench = await Bench.open();
    const small = "--model.dModel 8 --train.batchSize 1 --train.steps 4 --schedule.warmupSteps 1 --train.evalBatches 1";
    for (const time of ["first", "again"]) {
      const { status, out, error } = await bench.run(`demo --quick --out @demo ${small}`);
      expect(status, `${time}: ${error}`).toBe(0);
      expect(out).toMatch(
        /^Training on Moby-Dick \(1\s216\s578 bytes\): 3\s808 parameters, 2 reversible layers of width 8$/m,
      );
      expect(out).toMatch(
        /^ {2}yardstick: 3\.477 by byte pairs, 4\.469 by single bytes \(counted in the training part, add-one, cross-entropy on the held-out part\)$/m,
      );
      expect(out).toMatch(/^ {2}peak memory: .* \(equal to the byte\)$/m);
      expect(out.match(/reconstruction equal yes, gradients equal yes/g)).toHaveLength(2);
      expect(out).toMatch(/^ {2}16 layers +[\d.]+ \w+ +[\d.]+ \w+ +[\d.]+x less$/m);
      expect(out).toMatch(/checkpoint: <folder>\/demo\/step-000004\nreport: <folder>\/demo\/report\.html\n$/);
    }
    expect(Object.keys(await bench.files())).toContain("demo/report.html");
  });
});
