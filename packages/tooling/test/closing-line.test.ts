import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

function runFixture(name: string) {
  const vitest = path("../../../node_modules/vitest/vitest.mjs");
  const reporter = path("../src/closing-line.ts");
  const root = path("./fixtures");
  const run = ["run", "--root", root, "--config", path("./fixtures/vitest.config.ts"), "--reporter", reporter, name];
  return spawnSync(process.execPath, [vitest, ...run], { encoding: "utf8" });
}

test("the last line counts, and a skipped test says why", () => {
  const { stdout, status } = runFixture("counts");
  expect(stdout.trimEnd().split("\n").slice(-4)).toEqual([
    "skipped: group > asks for more (counts.fixture.ts): needs a GPU",
    "skipped: silent (counts.fixture.ts): no reason given",
    "skipped: later (counts.fixture.ts): no reason given",
    "2 passed, 1 failed, 3 skipped",
  ]);
  expect(status).toBe(1);
});

test("what breaks outside a test is a failure", () => {
  const { stdout, status } = runFixture("breaks");
  // A hook, an unhandled rejection and a file that does not load.
  expect(stdout.trimEnd().split("\n").at(-1)).toBe("1 passed, 3 failed, 1 skipped");
  expect(status).toBe(1);
});
