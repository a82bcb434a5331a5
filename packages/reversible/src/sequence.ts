import { Module } from "@revnet-zero/nn";
import {
  type DType,
  defaultEngine,
  describe,
  type Engine,
  full,
  isFloat,
  type Recall,
  ReplayLog,
  ShapeError,
  sameShape,
  Tensor,
  ValueError,
  zeros,
} from "@revnet-zero/tensor";
import type { StreamArithmetic } from "./arithmetic/arithmetic.ts";
import type { BackwardUpdate } from "./backwardUpdate.ts";
import { type Program, placeBlocks, type ReversibleBlock } from "./block.ts";
import { BlockChecks, type CheckLevel } from "./blockChecks.ts";
import { readHealth, type StreamHealth } from "./health.ts";
import { checkMode, modes, type ReversibleMode } from "./modes.ts";
import { HostStore, type OffloadStore, offloadTo } from "./offload.ts";
import { PassContext } from "./passes/context.ts";
import { ForwardPass } from "./passes/forwardPass.ts";
import { SideInformation } from "./passes/side.ts";
import { ownStream, StreamPass, type StreamPassOptions } from "./passes/streamPass.ts";
import { type BlockPolicy, checkPlan, type MemoryPlan, segmentsOf } from "./plan.ts";
import type { SegmentRun } from "./segments/flow.ts";
import { runSegments } from "./segments/run.ts";

export interface ReversibleSequenceOptions<B extends ReversibleBlock = ReversibleBlock> {
  /** Pairs of branches `{ F, G }` (additive), or what the couplings' functions make. */
  readonly blocks: readonly B[];
  readonly mode?: ReversibleMode;
  /** Bits after the binary point of the streams. Default 20 (Q12.20): steps of 9.5e-7, range ±2048. */
  readonly fractionBits?: number;
  /** Default: that of the branches' parameters, or the default engine. */
  readonly engine?: Engine;
  /** What is done with each block, in modes that rebuild activations. Default: all are rebuilt. */
  readonly plan?: MemoryPlan | undefined;
  /** Where the plan's offloaded streams go. Default: arrays in JavaScript's own memory. */
  readonly offload?: OffloadStore;
  /**
   * Keep something of every block's input streams and compare it when backward has rebuilt them; a difference is a
   * `ReconstructionError` that names block, stream and element. True is `sums`. Default false. For finding a branch
   * that is not its own twin: each block's streams are read back in both passes.
   */
  readonly check?: boolean | CheckLevel;
}

/** Two residual streams, of one shape. */
export type Streams = readonly [Tensor, Tensor];

/** Outputs of a sequence, and the logarithm of the volume its couplings have changed by. */
export interface Transformed {
  readonly streams: Tensor[];
  /** Σ log |det| for every sample, [batch]: what a density needs (affine couplings; zero for additive ones). */
  readonly logDeterminant: Tensor;
}

/** A forward pass that can be undone once. */
export interface Invertible {
  /** The output streams: fixed-point ones in the fixed-point modes. */
  readonly streams: Tensor[];
  /** The input streams again (floats where floats went in), freeing what was remembered. Call it once. */
  inverse(): Tensor[];
  /** Frees what was remembered, where nobody wants the inverse. */
  dispose(): void;
}

/**
 * A stack of reversible blocks as ONE node of the graph: what it keeps for backward is its final set of streams,
 * whatever the depth. A plan may keep more, block by block, to compute less.
 */
export class ReversibleSequence<B extends ReversibleBlock = ReversibleBlock> extends Module {
  readonly blocks: readonly B[];
  readonly fractionBits: number;
  #mode: ReversibleMode;
  #plan: MemoryPlan | undefined;
  readonly #program: Program;
  readonly offload: OffloadStore;
  #check: CheckLevel | false;
  /** @internal Set by `updateInBackward`: makes the updates of one pass. */
  backwardUpdate: (() => BackwardUpdate) | undefined;
  /** Counts of the last forward pass in mode `exact`, a row a step; kept on the device until somebody asks. */
  readonly counts: Tensor;
  /** Relative error of the last reconstruction in mode `float`; NaN before the first. */
  readonly lastDrift: Tensor;

  constructor(options: ReversibleSequenceOptions<B>) {
    super();
    const { blocks, mode = "exact", fractionBits = 20, plan } = options;
    if (!Number.isInteger(fractionBits) || fractionBits < 0 || fractionBits > 30) {
      throw new ValueError("ReversibleSequence", `fractionBits is ${fractionBits}`, "use an integer from 0 to 30");
    }
    this.blocks = blocks;
    this.fractionBits = fractionBits;
    this.#mode = checkMode(mode);
    this.#program = placeBlocks(blocks);
    this.#plan = plan && checkPlan(plan, blocks.length);
    this.offload = options.offload ?? offloadTo(new HostStore());
    this.#check = levelOf(options.check ?? false);
    const engine = options.engine ?? this.#engineOfBranches();
    const temporary = { isPersistent: false };
    this.counts = this.buffer(zeros([this.#program.steps.length, 3], { dtype: "i32", engine }), temporary);
    this.lastDrift = this.buffer(full([], Number.NaN, { engine }), temporary);
  }

  get mode(): ReversibleMode {
    return this.#mode;
  }
  /** Takes effect at the next forward pass; parameters and function are the same in every mode but the float ones. */
  set mode(mode: ReversibleMode) {
    this.#mode = checkMode(mode);
  }

  get plan(): MemoryPlan | undefined {
    return this.#plan;
  }
  /** Takes effect at the next forward pass. Modes that rebuild activations follow it; the others say all blocks' policy. */
  set plan(plan: MemoryPlan | undefined) {
    this.#plan = plan && checkPlan(plan, this.blocks.length);
  }

  /** What the next forward pass keeps to check the second run by: false for nothing. */
  get check(): CheckLevel | false {
    return this.#check;
  }
  set check(check: boolean | CheckLevel) {
    this.#check = levelOf(check);
  }

  /** How many streams the blocks join. */
  get numStreams(): number {
    return this.#program.numStreams;
  }

  /**
   * The streams, all of one shape, and then what every branch is to be given after its own (masks, an encoder's memory, a
   * condition). Float tensors in, float tensors out; or streams (i32 in the fixed-point modes) in and out, which loses
   * nothing between sequences.
   */
  override forward(x1: Tensor, ...rest: unknown[]): Tensor[] {
    return this.#run([x1, ...rest], false).streams;
  }

  /** The type of this mode's streams. */
  get streamDType(): DType {
    return this.#arithmetic().dtype;
  }

  /** A float tensor as a stream of this mode, unrecorded: on its grid, in its type. A stream is itself. */
  enter(x: Tensor): Tensor {
    return x.engine.noGrad(() => this.#arithmetic().enter(x));
  }
  /** The float value of a stream. */
  read(stream: Tensor): Tensor {
    return stream.engine.noGrad(() => this.#arithmetic().read(stream));
  }

  /** Whether every block says by how much it changes volumes. */
  get hasLogDeterminant(): boolean {
    return this.#program.steps.every((s) => s.logDeterminant !== "unknown");
  }

  /** Like `call`, with the log-determinant. */
  transform(x1: Tensor, ...rest: unknown[]): Transformed {
    if (!this.hasLogDeterminant) {
      const { name } = this.#program.steps.find((s) => s.logDeterminant === "unknown")!;
      throw new ValueError(
        "transform",
        `the log-determinant of the ${name} is not known`,
        "add logDeterminant to the coupling, or use call",
      );
    }
    const { streams, logDeterminant } = this.within(x1.engine, () => this.#run([x1, ...rest], true));
    return { streams, logDeterminant: logDeterminant! };
  }

  /**
   * The input streams of given output streams: bit for bit in exact arithmetic when all are streams. Modes whose inverse
   * needs what their forward pass remembered refuse: use `invertible`.
   */
  inverse(y1: Tensor, ...rest: unknown[]): Tensor[] {
    const { streams: ys, context } = this.#inputs("inverse", [y1, ...rest]);
    const { engine } = y1;
    const arithmetic = this.#arithmetic();
    const { order } = this.#program;
    return engine.noGrad(() =>
      engine.scope(() => {
        const streams: Tensor[] = [];
        for (const [i, y] of ys.entries()) streams[order[i]!] = ownStream(arithmetic.enter(y));
        const side = new SideInformation(engine);
        const runner = this.#passContext(engine);
        return this.#undo({ engine, arithmetic, streams, runner, context, side }, isFloat(y1.dtype));
      }),
    );
  }

  /** Runs the blocks unrecorded, remembering what their exact inverse needs in any mode. */
  invertible(x1: Tensor, ...rest: unknown[]): Invertible {
    const { streams: xs, context } = this.#inputs("invertible", [x1, ...rest]);
    const { engine } = x1;
    const arithmetic = this.#arithmetic();
    const { order, blocks } = this.#program;
    const side = new SideInformation(engine);
    return engine.noGrad(() => {
      const pass = engine.scope(() => {
        const streams = xs.map((x) => ownStream(arithmetic.enter(x)));
        streams.push(...(arithmetic.makeBuffer === undefined ? [] : streams.map(arithmetic.makeBuffer).map(ownStream)));
        const runner = this.#passContext(engine);
        return { engine, arithmetic, streams, runner, context, side };
      });
      const log = new ReplayLog("reversible sequence");
      const forget = (): void => {
        side.dispose();
        log.release();
      };
      try {
        engine.withRecall(log.recorder(engine.ambient.recall), () => new ForwardPass(pass).runBlocks(blocks));
      } catch (error) {
        forget();
        throw error;
      }
      return {
        streams: order.map((slot) => pass.streams[slot]!.detach()),
        inverse: () => {
          try {
            const undo = (): Tensor[] => this.#undo(pass, isFloat(x1.dtype), log.player());
            return pass.runner.again(() => engine.noGrad(() => engine.scope(undo)));
          } finally {
            forget();
          }
        },
        dispose: () => {
          for (const s of pass.streams) s.dispose();
          forget();
        },
      };
    });
  }

  /** Runs all steps back; what the pass owns is given up, what it returns is the caller's scope's. */
  #undo(pass: StreamPassOptions, isFloatOut: boolean, recall?: Recall): Tensor[] {
    const { engine, arithmetic, streams, side } = pass;
    const { steps, numStreams } = this.#program;
    engine.asReplay(() => new StreamPass(pass).undoSteps(steps, 0), recall);
    side.dispose();
    const visible = streams.slice(0, numStreams);
    const result = isFloatOut ? visible.map((s) => arithmetic.read(s)) : visible.map((s) => s.detach());
    for (const s of streams) s.dispose();
    return result;
  }

  /** What the last forward pass in mode `exact` counted: saturated and NaN increments, wrapped sums. */
  health(): Promise<StreamHealth> {
    return readHealth(this.counts);
  }

  /** Relative error of the last reconstruction in mode `float`, over a sample of the input streams. */
  drift(): Promise<number> {
    return this.lastDrift.item();
  }

  #run(inputs: readonly unknown[], wantsLogDeterminant: boolean) {
    const { streams, context } = this.#inputs("ReversibleSequence", inputs);
    const { engine, shape } = streams[0]!;
    const { order, blocks } = this.#program;
    const stored = modes[this.#mode].stored(this);
    const arithmetic = this.#arithmetic();
    const run: SegmentRun = {
      engine,
      arithmetic,
      stored,
      runner: this.#passContext(engine),
      context,
      counts: this.counts,
      drift: this.lastDrift,
      offload: this.offload,
      checks:
        this.check !== false && engine.recordsGradients
          ? new BlockChecks(this.check, this.numStreams, arithmetic)
          : undefined,
      update: engine.recordsGradients ? this.backwardUpdate?.() : undefined,
    };
    const logDeterminant = wantsLogDeterminant ? zeros(shape.slice(0, 1), { engine }) : undefined;
    const given = { streams, logDeterminant, isEntered: false };
    const flow = runSegments(segmentsOf(blocks, this.#policies()), given, run);
    const isFloatIn = isFloat(streams[0]!.dtype);
    const outputs = order.map((slot) => flow.streams[slot]!);
    return {
      streams: isFloatIn ? outputs.map((s) => stored.read(s)) : outputs,
      logDeterminant: flow.logDeterminant,
    };
  }

  #policies(): BlockPolicy[] {
    const { policy } = modes[this.#mode];
    const plan = policy === "reconstruct" ? this.#plan : undefined;
    return this.blocks.map((_, i) => plan?.blocks[i] ?? policy);
  }

  #arithmetic(): StreamArithmetic {
    return modes[this.#mode].arithmetic(this);
  }

  #passContext(engine: Engine): PassContext {
    return new PassContext(
      engine,
      this.#program.steps.flatMap((s) => s.branches),
    );
  }

  #engineOfBranches(): Engine {
    const branches = this.#program.steps.flatMap((s) => s.branches);
    const modules = branches.filter((b) => b instanceof Module);
    return modules.flatMap((m) => m.parameters())[0]?.engine ?? defaultEngine();
  }

  /** The streams among the arguments, checked, and what follows them. */
  #inputs(
    op: string,
    inputs: readonly unknown[],
  ): { readonly streams: Tensor[]; readonly context: readonly unknown[] } {
    const { numStreams } = this;
    const streams = inputs.slice(0, numStreams).filter((x) => x instanceof Tensor);
    if (streams.length < numStreams) {
      throw new ShapeError(
        op,
        `got ${streams.length} streams, the blocks join ${numStreams}`,
        "pass one tensor a stream, then the context where there is one",
      );
    }
    checkStreams(op, streams);
    return { streams, context: inputs.slice(numStreams) };
  }
}

const levelOf = (check: boolean | CheckLevel): CheckLevel | false => (check === true ? "sums" : check);

const numbers = ["no", "one", "two", "three", "four", "five", "six"];

function checkStreams(op: string, streams: readonly Tensor[]): void {
  const [first] = streams as [Tensor];
  const fits = (x: Tensor): boolean =>
    sameShape(x.shape, first.shape) && (x.dtype === "i32") === (first.dtype === "i32");
  if (streams.every(fits)) return;
  throw new ShapeError(
    op,
    `the ${numbers[streams.length] ?? streams.length} streams differ: ${streams.map(describe).join(" and ")}`,
    `${streams.length === 2 ? "both" : "all"} must have one shape, and be floats or fixed-point streams alike`,
  );
}
