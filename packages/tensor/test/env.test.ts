import { readFile } from "node:fs/promises";
import { errorText } from "@revnet-zero/testkit";
import { afterEach, describe, expect, test } from "vitest";
import { type EnvironmentVariable, environment, readEnvironment, tensor, zeros } from "../src/index.ts";
import { newEngine } from "./engine.fixture.ts";

const names = Object.keys(environment) as EnvironmentVariable[];
const before = Object.fromEntries(names.map((n) => [n, process.env[n]]));

function set(name: EnvironmentVariable, value: string | undefined): void {
  if (value === undefined) delete process.env[name];
  else process.env[name] = value;
}

afterEach(() => {
  for (const n of names) set(n, before[n]);
});

describe("readEnvironment", () => {
  test.each(names)("%s has its default where it is unset or empty", (name) => {
    set(name, undefined);
    expect(readEnvironment(name)).toBe(environment[name].default);
    set(name, "");
    expect(readEnvironment(name)).toBe(environment[name].default);
  });

  test.each(names)("%s accepts its own default", (name) => {
    set(name, environment[name].default);
    expect(readEnvironment(name)).toBe(environment[name].default);
  });

  test("gives back what is set", () => {
    const values = { REVNET_DEBUG: "2", REVNET_MEMORY_LIMIT: "2e9", REVNET_SEED: "-17", REVNET_PYTHON: "python3" };
    for (const [name, value] of Object.entries(values) as [EnvironmentVariable, string][]) {
      set(name, value);
      expect(readEnvironment(name)).toBe(value);
    }
  });

  test("refuses values that mean nothing, which would be off or unlimited in silence", () => {
    const wrong: readonly (readonly [EnvironmentVariable, string])[] = [
      ["REVNET_DEBUG", "yes"],
      ["REVNET_CHECK_NAN", "true"],
      ["REVNET_LEAKS", "2"],
      ["REVNET_MEMORY_LIMIT", "2 GB"],
      ["REVNET_MEMORY_LIMIT", "-1"],
      ["REVNET_SEED", "1.5"],
    ];
    const texts = wrong.map(([name, value]) => {
      set(name, value);
      return errorText(() => readEnvironment(name));
    });
    expect(`\n${texts.join("\n")}\n`).toMatchInlineSnapshot(`
      "
      ValueError: environment: REVNET_DEBUG is "yes"
        hint: use 0, 1 or 2
      ValueError: environment: REVNET_CHECK_NAN is "true"
        hint: use 0 or 1
      ValueError: environment: REVNET_LEAKS is "2"
        hint: use 0 or 1
      ValueError: environment: REVNET_MEMORY_LIMIT is "2 GB"
        hint: use a number of bytes such as 2000000000 or 2e9, or leave it empty
      ValueError: environment: REVNET_MEMORY_LIMIT is "-1"
        hint: use a number of bytes such as 2000000000 or 2e9, or leave it empty
      ValueError: environment: REVNET_SEED is "1.5"
        hint: use a whole number, as a failing test prints it, or leave it empty
      "
    `);
  });
});

describe("the variables reach the engine", () => {
  test("REVNET_MEMORY_LIMIT limits the ledger, unless the engine is given a limit of its own", () => {
    set("REVNET_MEMORY_LIMIT", "1e2");
    expect(() => zeros([26], { engine: newEngine() })).toThrow("104 bytes more exceed the limit of 100 bytes");
    expect(zeros([25], { engine: newEngine() }).bytes).toBe(100);
    expect(zeros([26], { engine: newEngine({ memoryLimitBytes: 104 }) }).bytes).toBe(104);
    set("REVNET_MEMORY_LIMIT", "0");
    expect(() => zeros([1], { engine: newEngine() })).toThrow("exceed the limit of 0 bytes");
  });

  test("REVNET_CHECK_NAN makes the first NaN an error", () => {
    set("REVNET_CHECK_NAN", "1");
    expect(() => tensor([-1], { engine: newEngine() }).log()).toThrow("log: output [1] f32 has NaN at element 0");
    set("REVNET_CHECK_NAN", "0");
    expect(tensor([-1], { engine: newEngine() }).log().itemSync()).toBeNaN();
  });

  test("REVNET_LEAKS records the module and the line that made a buffer", () => {
    set("REVNET_LEAKS", "1");
    const engine = newEngine();
    const site = engine.inModule("blocks.0", () => zeros([1], { engine })).storage.site;
    expect(site).toMatch(/^blocks\.0 at /);
    set("REVNET_LEAKS", "0");
    expect(zeros([1], { engine: newEngine() }).storage.site).toBeUndefined();
  });

  test("a value that means nothing stops the engine at its start", () => {
    set("REVNET_MEMORY_LIMIT", "lots");
    expect(() => newEngine()).toThrow('REVNET_MEMORY_LIMIT is "lots"');
  });
});

test("the page of the documentation has a row for every variable, and no other", async () => {
  const page = await readFile(new URL("../../../docs/generated/env.md", import.meta.url), "utf8");
  const rows = page.split("\n").filter((line) => line.startsWith("| `"));
  expect(rows).toEqual(
    names.map((n) => {
      const { default: value, what } = environment[n];
      return `| \`${n}\` | ${value === "" ? "empty" : `\`${value}\``} | ${what} |`;
    }),
  );
});
