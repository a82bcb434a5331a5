import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { onTestFinished } from "vitest";
import { stringify } from "yaml";
import { run } from "../src/run/index.ts";

/** What a command wrote, and how it ended. */
export interface Ending {
  readonly status: number;
  readonly out: string;
  readonly error: string;
}

/** Sections of a configuration, as a YAML file holds them. */
type Sections = Readonly<Record<string, Readonly<Record<string, unknown>>>>;

/** Some text, about 3 kB. */
export const text: string = Array.from({ length: 80 }, (_, i) => `${i}: the whale that swam ${i * i} miles. `).join("");

/** A model of two layers that takes a few milliseconds a step. */
const small: Sections = {
  model: { numLayers: 2, dModel: 8, numHeads: 2, maxSeqLen: 16 },
  train: {
    steps: 6,
    batchSize: 2,
    sequenceLength: 8,
    evalEvery: 3,
    evalBatches: 2,
    checkpointEvery: 3,
    sampleEvery: 0,
    sampleLength: 4,
    logEvery: 2,
  },
  schedule: { warmupSteps: 2 },
};

/** A folder of one test, with a text and a configuration in it, and the command line run there. */
export class Bench {
  readonly folder: string;
  private constructor(folder: string) {
    this.folder = folder;
  }

  /** @param changes over a small run's configuration, section by section. */
  static async open(changes: Sections = {}): Promise<Bench> {
    const bench = new Bench(await mkdtemp(join(tmpdir(), "revnet-cli-")));
    onTestFinished(() => rm(bench.folder, { recursive: true }));
    await writeFile(bench.path("text.txt"), text);
    const base: Sections = { ...small, data: { source: bench.path("text.txt") }, output: { dir: bench.path("run") } };
    const names = [...new Set([...Object.keys(base), ...Object.keys(changes)])];
    const sections = names.map((name) => [name, { ...base[name], ...changes[name] }]);
    await bench.write("config.yaml", stringify(Object.fromEntries(sections)));
    return bench;
  }

  path(...names: readonly string[]): string {
    return join(this.folder, ...names);
  }

  async write(name: string, contents: string | Uint8Array): Promise<string> {
    await writeFile(this.path(name), contents);
    return this.path(name);
  }

  /** Names and contents of every file, folders included in the names. */
  async files(): Promise<Record<string, string>> {
    const entries = await readdir(this.folder, { recursive: true, withFileTypes: true });
    const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
    const read = files.sort().map(async (path) => {
      const name = path.slice(this.folder.length + 1).replaceAll("\\", "/");
      return [name, (await readFile(path)).toString("base64")];
    });
    return Object.fromEntries(await Promise.all(read));
  }

  /** Runs a command line. `@name` in it is the path of that name in the folder; the folder is called <folder> in what it writes. */
  async run(line: string, { isTTY = false } = {}): Promise<Ending> {
    const out = collector(isTTY);
    const error = collector(isTTY);
    const words = line.split(" ").map((word) => word.replace(/(^|=)@/, `$1${this.folder}/`));
    const status = await run(words, { out: out.stream, error: error.stream });
    const tidy = (written: string): string =>
      written.replaceAll(this.folder, "<folder>").replaceAll(process.cwd(), "<here>");
    return { status, out: tidy(out.written()), error: tidy(error.written()) };
  }

  /** What somebody sees whose command line is refused: the error, and the status. It must have printed no results. */
  async refusal(line: string): Promise<string> {
    const { status, out, error } = await this.run(line);
    if (out !== "") throw new Error(`results were printed: ${out}`);
    return `${error}status ${status}`;
  }
}

/** @param isTTY whether it says it is a terminal. */
function collector(isTTY: boolean): { readonly stream: Writable; readonly written: () => string } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(Buffer.from(chunk));
      done();
    },
  });
  return { stream: Object.assign(stream, { isTTY }), written: () => Buffer.concat(chunks).toString() };
}
