import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { sweepTemporary, writeDirectoryAtomic } from "./atomicWrite.ts";
import { CheckpointError } from "./checkpointError.ts";
import { buildManifest, manifestName, readVerified, verifyFolder } from "./manifest.ts";
import { decodeSafetensors, type SafetensorsEntry, safetensorsParts } from "./safetensors.ts";

/** All that is needed to go on exactly where training was. */
export interface CheckpointContents {
  readonly model: ReadonlyMap<string, SafetensorsEntry>;
  readonly optimizer: ReadonlyMap<string, SafetensorsEntry>;
  /** The trainer's own state: anything JSON can hold (NaN and infinities it cannot). Whoever loads it checks its form. */
  readonly trainer: unknown;
  /** As `trainer`. */
  readonly config: unknown;
  /** What `best` compares, lower is better: the held-out loss. Left out when it was not measured. */
  readonly metric?: number;
}

export interface Checkpoint extends CheckpointContents {
  readonly step: number;
  readonly path: string;
}

/** One complete folder, not yet verified. */
export interface CheckpointFolder {
  readonly step: number;
  readonly path: string;
}

export interface CheckpointStoreOptions {
  /** Newest checkpoints to keep, at least 1; the best one is kept beside them. Default 3. */
  readonly keepLast?: number;
}

/** The state in trainer.json: the store's own part and the trainer's. */
interface TrainerFile {
  readonly step: number;
  readonly metric: number | null;
  readonly state: unknown;
}

/**
 * Checkpoints of one run: `<dir>/step-000123/` with model.safetensors, optimizer.safetensors, trainer.json, config.json and
 * manifest.json, the sizes and SHA-256 of the others.
 *
 * A folder gets its name only when all of it is on the disk, and the newest is found by looking: no pointer file can be stale.
 * A process killed at any moment leaves the checkpoints it had. One process writes at a time; others may read.
 */
export class CheckpointStore {
  readonly dir: string;
  readonly keepLast: number;

  private constructor(dir: string, keepLast: number) {
    this.dir = dir;
    this.keepLast = keepLast;
  }

  /**
   * For the process that trains: creates the folder if need be and clears what a killed process left half done.
   * @throws CheckpointError if the folder cannot be created or written to, or keepLast is below 1.
   */
  static async open(dir: string, options: CheckpointStoreOptions = {}): Promise<CheckpointStore> {
    const { keepLast = 3 } = options;
    if (!(Number.isInteger(keepLast) && keepLast >= 1)) {
      throw new CheckpointError("CheckpointStore", dir, `keepLast is ${keepLast}`, "keep at least 1 checkpoint");
    }
    try {
      await mkdir(dir, { recursive: true });
    } catch (error) {
      const hint = "choose a folder that this user may create and write to";
      throw new CheckpointError("CheckpointStore", dir, `the folder cannot be created (${reason(error)})`, hint, {
        cause: error,
      });
    }
    await sweepTemporary(dir);
    return new CheckpointStore(dir, keepLast);
  }

  /** For a process that only looks: changes nothing, and the folder need not exist. */
  static reader(dir: string): CheckpointStore {
    return new CheckpointStore(dir, 1);
  }

  /** Writes a checkpoint, in place of one of the same step, then removes those no longer kept. */
  async save(step: number, contents: CheckpointContents): Promise<CheckpointFolder> {
    if (!(Number.isSafeInteger(step) && step >= 0)) {
      throw new CheckpointError("CheckpointStore", this.dir, `step is ${step}`, "give a whole number of at least 0");
    }
    const { model, optimizer, trainer, config, metric } = contents;
    const trainerFile: TrainerFile = { step, metric: metric ?? null, state: trainer ?? null };
    const files = new Map<string, string | readonly Uint8Array[]>([
      ["config.json", toText(config ?? null)],
      ["model.safetensors", safetensorsParts(model)],
      ["optimizer.safetensors", safetensorsParts(optimizer)],
      ["trainer.json", toText(trainerFile)],
    ]);
    files.set(manifestName, toText(buildManifest(files)));
    const path = join(this.dir, folderName(step));
    await writeDirectoryAtomic(path, files);
    await this.prune(step);
    return { step, path };
  }

  /** Every complete checkpoint, oldest first. */
  async list(): Promise<CheckpointFolder[]> {
    let names: string[];
    try {
      names = await readdir(this.dir);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
      throw new CheckpointError("CheckpointStore", this.dir, `cannot be listed (${reason(error)})`, "check the path", {
        cause: error,
      });
    }
    const folders: CheckpointFolder[] = [];
    for (const name of names) {
      const step = /^step-(\d{6,})$/.exec(name)?.[1];
      const path = join(this.dir, name);
      // Without a manifest it is no checkpoint of ours, or a copy someone is still making.
      if (step !== undefined && (await readdir(path).catch((): string[] => [])).includes(manifestName)) {
        folders.push({ step: Number(step), path });
      }
    }
    return folders.sort((a, b) => a.step - b.step);
  }

  async latest(): Promise<CheckpointFolder | undefined> {
    return (await this.list()).at(-1);
  }

  /** The one with the lowest metric, the newest of equals; undefined if none was measured. */
  async best(): Promise<CheckpointFolder | undefined> {
    return lowest(await this.list(), (folder) => this.metricOf(folder));
  }

  /**
   * Reads a checkpoint and verifies every byte of it.
   * @throws CheckpointError if there is none, or one of its files is damaged: names the file and the newest older intact checkpoint.
   */
  async load(which: number | "latest" | "best" = "latest"): Promise<Checkpoint> {
    const folders = await this.list();
    const folder = await this.find(which, folders);
    try {
      return await readCheckpoint(folder);
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      const older = folders.filter(({ step }) => step < folder.step).reverse();
      const intact = await firstIntact(older);
      const hint =
        intact === undefined
          ? `no older checkpoint in ${this.dir} is intact; restore the file from a copy, or train anew`
          : `${intact.path} is intact: load step ${intact.step}, or remove ${folder.path} to make it the latest`;
      throw new CheckpointError("CheckpointStore", error.file, error.problem, hint, { cause: error });
    }
  }

  private async find(
    which: number | "latest" | "best",
    folders: readonly CheckpointFolder[],
  ): Promise<CheckpointFolder> {
    const steps = folders.map(({ step }) => step).join(", ");
    const found =
      which === "latest"
        ? folders.at(-1)
        : which === "best"
          ? await lowest(folders, (folder) => this.metricOf(folder))
          : folders.find(({ step }) => step === which);
    if (found !== undefined) return found;
    const problem =
      folders.length === 0
        ? "there is no checkpoint in this folder"
        : which === "best"
          ? "no checkpoint has a metric"
          : `there is no checkpoint of step ${which}`;
    const hint =
      folders.length === 0
        ? "check the path; a checkpoint is a folder named like step-000100"
        : `there are checkpoints of steps ${steps}`;
    throw new CheckpointError("CheckpointStore", this.dir, problem, hint);
  }

  private async metricOf(folder: CheckpointFolder): Promise<number | undefined> {
    return (await readTrainer(folder)).metric ?? undefined;
  }

  /** The one just saved stays, also beside later steps of an earlier run. */
  private async prune(saved: number): Promise<void> {
    const folders = await this.list();
    const old = folders.slice(0, -this.keepLast);
    if (old.length === 0) return;
    // One whose metric cannot be read is not the best one; training does not stop for an old damaged file.
    const best = await lowest(folders, (folder) => this.metricOf(folder).catch(() => undefined));
    for (const { step, path } of old) {
      if (step !== best?.step && step !== saved) await rm(path, { recursive: true, force: true });
    }
  }
}

const folderName = (step: number): string => `step-${String(step).padStart(6, "0")}`;

const toText = (value: unknown): string => `${JSON.stringify(value, undefined, 2)}\n`;

const reason = (error: unknown): string => (error instanceof Error ? error.message : String(error));

async function lowest(
  folders: readonly CheckpointFolder[],
  metricOf: (folder: CheckpointFolder) => Promise<number | undefined>,
): Promise<CheckpointFolder | undefined> {
  let best: { folder: CheckpointFolder; metric: number } | undefined;
  for (const folder of folders) {
    const metric = await metricOf(folder);
    if (metric !== undefined && !(best !== undefined && metric > best.metric)) best = { folder, metric };
  }
  return best?.folder;
}

async function firstIntact(folders: readonly CheckpointFolder[]): Promise<CheckpointFolder | undefined> {
  for (const folder of folders)
    if (
      await verifyFolder(folder.path).then(
        () => true,
        () => false,
      )
    )
      return folder;
  return undefined;
}

async function readTrainer({ path, step }: CheckpointFolder): Promise<TrainerFile> {
  const file = (await readJson(path, "trainer.json")) as Partial<TrainerFile> | null;
  if (file?.step === step) return { step, metric: file.metric ?? null, state: file.state };
  throw new CheckpointError(
    "CheckpointStore",
    join(path, "trainer.json"),
    `is not the trainer's state at step ${step}`,
    "",
  );
}

async function readJson(path: string, name: string): Promise<unknown> {
  const bytes = await readVerified(path, name);
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (error) {
    throw new CheckpointError("CheckpointStore", join(path, name), `is not JSON (${reason(error)})`, "", {
      cause: error,
    });
  }
}

async function readCheckpoint(folder: CheckpointFolder): Promise<Checkpoint> {
  const { path, step } = folder;
  const tensors = async (name: string) => decodeSafetensors(await readVerified(path, name), join(path, name)).tensors;
  const { metric, state } = await readTrainer(folder);
  const config = await readJson(path, "config.json");
  const model = await tensors("model.safetensors");
  const optimizer = await tensors("optimizer.safetensors");
  return { step, path, model, optimizer, trainer: state, config, ...(metric === null ? {} : { metric }) };
}
