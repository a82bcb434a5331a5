import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { root } from "../packages.ts";
import { courseTable } from "./courseTable.ts";
import { envPage } from "./envPage.ts";
import { floatErrorsTable, modesTable } from "./exactnessTables.ts";
import { diskTable, learningTable, regretTable, schedulersTable } from "./memoryTables.ts";
import { opsPage } from "./opsPage.ts";
import { performancePage } from "./performancePage.ts";
import { withRegions } from "./regions.ts";

// Writes the generated pages; with --check, only says whether they are what would be written.
const pages: Readonly<Record<string, () => string>> = {
  "docs/generated/env.md": envPage,
  "docs/generated/ops.md": opsPage,
  "docs/generated/performance.md": performancePage,
  "docs/memory.md": () =>
    withRegions("docs/memory.md", {
      schedulers: schedulersTable,
      learning: learningTable,
      regret: regretTable,
      disk: diskTable,
    }),
  "docs/reversibility.md": () =>
    withRegions("docs/reversibility.md", { modes: modesTable, "float errors": floatErrorsTable }),
  "examples/README.md": () => withRegions("examples/README.md", { course: courseTable }),
};

const isCheck = process.argv.includes("--check");
for (const [page, render] of Object.entries(pages)) {
  const path = join(root, page);
  const text = render();
  if (!isCheck) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    console.log(`wrote ${page}`);
  } else if (read(path) !== text) {
    console.error(`${page} is stale: run npm run docs and commit it`);
    process.exitCode = 1;
  } else {
    console.log(`${page} is fresh`);
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
