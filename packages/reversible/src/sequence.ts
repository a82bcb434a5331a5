import { decodingOf, Module } from "@revnet-zero/nn";
import {
  type DType,
  defaultEngine,
  describe,
  type Engine,
  full,
  isFloat,
  ones,
  type Recall,
  ReplayLog,
  ShapeError,
  sameShape,
  Tensor,
  ValueError,
  zeros,
} from "@revnet-zero/tensor";
import { Anchors } from "./anchors.ts";
import type { StreamArithmetic } from "./arithmetic/arithmetic.ts";
import type { BackwardUpdate } from "./backwardUpdate.ts";
import { BinaryPoint, checkFractionBits, isMeasured } from "./binaryPoint.ts";
import { type Program, placeBlocks, type ReversibleBlock } from "./block.ts";
import { BlockChecks, type CheckLevel } from "./blockChecks.ts";
import { readHealth, type StreamHealth } from "./health.ts";
import { HostOffload } from "./hostOffload.ts";
import { lacksValues } from "./lacksValues.ts";
import { type ArithmeticOptions, checkMode, modes, policiesOf, type ReversibleMode } from "./modes.ts";
import type { BlockObserver } from "./observer.ts";
import { type OffloadStore, shapeStore } from "./offload.ts";
import { PassContext } from "./passes/context.ts";
import { ForwardPass } from "./passes/forwardPass.ts";
import { bytesOf, SideInformation } from "./passes/side.ts";
import { ownStream, StreamPass, type StreamPassOptions } from "./passes/streamPass.ts";
import { type BlockPolicy, checkPlan, lossyPolicies, type MemoryPlan, segmentsOf } from "./plan.ts";
import { measureRange } from "./range.ts";
import type { SegmentRun } from "./segments/flow.ts";
import { runSegments } from "./segments/run.ts";
import type { Invertible, ReversibleSequenceOptions, Transformed } from "./sequenceTypes.ts";

/**
 * A stack of reversible blocks as ONE node of the graph: what it keeps for backward is its final set of streams,
 * whatever the depth. A plan may keep more, block by block, to compute less.
 */
export class ReversibleSequence<B extends ReversibleBlock = ReversibleBlock> extends Module {
  readonly blocks: readonly B[];
  /** Largest magnitudes that the streams were measured to have, [] or [channels]; 0 before. */
  readonly range: Tensor;
  /** What int16 streams multiply values by: powers of two, of the range's shape. */
  readonly scales: Tensor;
  readonly #binaryPoint: BinaryPoint;
  #mode: ReversibleMode;
  #plan: MemoryPlan | undefined;
  readonly #program: Program;
  /** Where offloaded streams go from the next forward pass on. */
  offload: OffloadStore;
  #check: CheckLevel | false;
  /** Told where the blocks of recorded passes begin. */
  observer: BlockObserver | undefined;
  /** @internal Set by `updateInBackward`: makes the updates of one pass. */
  backwardUpdate: (() => BackwardUpdate) | undefined;
  /**
   * Bytes that the last recorded forward pass remembered beside the streams: what the steps pushed, and information buffers.
   * They are among the ledger's saved bytes until backward has taken them.
   */
  sideBytes = 0;
  /** Counts of the last forward pass in mode `exact`, a row a step; kept on the device until somebody asks. */
  readonly counts: Tensor;
  /** Relative error of the last reconstruction in mode `float`, where a run of rebuilt blocks begins; NaN elsewhere and before. */
  readonly drifts: Tensor;
  readonly #anchors: Anchors | undefined;
  #policiesOfPass: readonly BlockPolicy[] = [];

  constructor(options: ReversibleSequenceOptions<B>) {
    super();
    const { blocks, mode = "exact", fractionBits, channels, plan } = options;
    this.blocks = blocks;
    this.#mode = checkMode(mode);
    this.#program = placeBlocks(blocks);
    this.#plan = plan && checkPlan(plan, blocks.length);
    this.offload = options.offload ?? new HostOffload();
    this.#check = levelOf(options.check ?? false);
    const engine = options.engine ?? this.#engineOfBranches();
    const temporary = { isPersistent: false };
    const isPersistent = isMeasured(fractionBits, modes[mode]);
    const ofRange = channels === undefined || !isPersistent ? [] : [channels];
    this.range = this.buffer(zeros(ofRange, { engine }), { isPersistent });
    this.scales = this.buffer(ones(ofRange, { engine }), temporary);
    this.#binaryPoint = new BinaryPoint(checkFractionBits(fractionBits), this.range, this.scales);
    this.counts = this.buffer(zeros([this.#program.steps.length, 3], { dtype: "i32", engine }), temporary);
    this.drifts = this.buffer(full([blocks.length], Number.NaN, { engine }), temporary);
    this.#anchors = options.driftTolerance === undefined ? undefined : new Anchors(options.driftTolerance);
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

  /** What a planner may choose from: more than one policy in modes that rebuild activations. */
  get policies(): readonly BlockPolicy[] {
    return policiesOf(this.#mode);
  }
  /** And what besides, if it is asked to. */
  readonly lossyPolicies: readonly BlockPolicy[] = lossyPolicies;

  /** What the next forward pass keeps to check the second run by: false for nothing. */
  get check(): CheckLevel | false {
    return this.#check;
  }
  set check(check: boolean | CheckLevel) {
    this.#check = levelOf(check);
  }

  /** Bits after the binary point of the streams; an error where they are to be measured and were not yet. */
  get fractionBits(): number {
    return this.#binaryPoint.fractionBits(modes[this.#mode]);
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
    if (arithmetic.remembers || this.#program.steps.some((s) => s.remembers === true)) {
      throw new ValueError(
        "inverse",
        `these blocks on ${arithmetic.name} are undone with what their forward pass remembered, not from outputs alone`,
        "const { streams, inverse } = sequence.invertible(...); inverse()",
      );
    }
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
    this.#prepare([x1, ...rest]);
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
        sideBytes: side.bytes + bytesOf(pass.streams.slice(this.numStreams)),
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

  /**
   * Runs the blocks once, with float streams and unrecorded, on the arguments that a forward pass would get, and takes the
   * binary point from how large the streams become. Deterministic. Where the backend can be read at once, the first
   * forward pass does it by itself.
   */
  async calibrate(x1: Tensor, ...rest: unknown[]): Promise<void> {
    if (x1.engine.backend.assumptions !== undefined) return this.#prepare([x1, ...rest]);
    const scope = x1.engine.openScope("calibrate");
    try {
      this.#binaryPoint.take(await this.#measure([x1, ...rest]).data());
    } finally {
      scope.close();
    }
  }

  /** Calibrates, if the mode's binary point is to be measured and was not. */
  async prepare(x1: Tensor, ...rest: unknown[]): Promise<void> {
    if (this.#lacksRange) await this.calibrate(x1, ...rest);
  }

  get #lacksRange(): boolean {
    return this.#binaryPoint.isMeasured(modes[this.#mode]) && !this.#binaryPoint.isKnown;
  }

  /** The largest magnitudes that the streams have on their way. */
  #measure(inputs: readonly unknown[]): Tensor {
    const { streams, context } = this.#inputs("calibrate", inputs);
    const { engine } = streams[0]!;
    // The keys that the pass to come will draw, and draws all the same.
    const runner = engine.withAmbient(engine.ambient.fork(), () => this.#passContext(engine));
    // What a branch would have remembered for its second run is of no use to the pass to come.
    return engine.withRecall(undefined, () =>
      measureRange({ engine, runner, context, streams, blocks: this.#program.blocks, like: this.range }),
    );
  }

  #prepare(inputs: readonly unknown[]): void {
    const { engine } = this.range;
    const isShapeOnly = engine.backend.assumptions !== undefined;
    if (!this.#lacksRange || !(isShapeOnly || engine.backend.isSynchronous)) return;
    engine.scope(() => {
      const measured = this.#measure(inputs);
      // Where there are no values any will do: bytes do not depend on the binary point.
      this.#binaryPoint.take(isShapeOnly ? new Float32Array(measured.size).fill(1) : measured.dataSync());
    });
  }

  /** What the last forward pass in mode `exact` counted, but of those that decode: saturated and NaN increments, wrapped sums. */
  health(): Promise<StreamHealth> {
    return readHealth(this.counts);
  }

  /**
   * Relative error of the last reconstruction in mode `float`, over a sample of the streams where it ends: where the sequence
   * begins and at every anchor. The largest of them; NaN before the first. With a tolerance it also puts the anchors for
   * the next pass, which happens by itself where the backend can be read at once.
   */
  async drift(): Promise<number> {
    return this.#takeDrifts(await this.drifts.data());
  }

  #takeDrifts(drifts: ArrayLike<number>): number {
    this.#anchors?.insert(drifts, this.#policiesOfPass);
    const measured = Array.from(drifts).filter((d) => !Number.isNaN(d));
    return measured.length === 0 ? Number.NaN : Math.max(...measured);
  }

  /** The blocks whose input streams mode `float` keeps because streams drifted further than the tolerance. */
  get anchors(): readonly number[] {
    return [...(this.#anchors?.inserted.keys() ?? [])].sort((a, b) => a - b);
  }

  #run(inputs: readonly unknown[], wantsLogDeterminant: boolean) {
    const { streams, context } = this.#inputs("ReversibleSequence", inputs);
    const { engine, shape } = streams[0]!;
    const { order, blocks } = this.#program;
    this.#prepare(inputs);
    const stored = modes[this.#mode].stored(this.#options());
    const arithmetic = this.#arithmetic();
    const policies = this.#policies();
    const isShapeOnly = engine.backend.assumptions !== undefined;
    if (engine.recordsGradients) this.#startRecord(policies);
    // Nobody looks at them between tokens, and a token waits for every launch.
    const counts = decodingOf(engine) === undefined ? this.counts : undefined;
    if (counts !== undefined)
      engine.noGrad(() => engine.scope(() => void counts.assign(counts.fullOf(counts.shape, 0))));
    const run: SegmentRun = {
      engine,
      arithmetic,
      stored,
      runner: this.#passContext(engine),
      context,
      counts,
      drifts: this.drifts,
      noteSide: (bytes) => {
        this.sideBytes += bytes;
      },
      offload: isShapeOnly ? (this.offload.forShapes ?? shapeStore) : this.offload,
      checks:
        this.check !== false && engine.recordsGradients && !lacksValues(engine)
          ? new BlockChecks(this.check, this.numStreams, arithmetic)
          : undefined,
      update: engine.recordsGradients ? this.backwardUpdate?.() : undefined,
      observer: engine.recordsGradients && !engine.isReplay ? this.observer : undefined,
    };
    const logDeterminant = wantsLogDeterminant ? zeros(shape.slice(0, 1), { engine }) : undefined;
    const given = { streams, logDeterminant, isEntered: false };
    const flow = runSegments(segmentsOf(blocks, policies), given, run);
    const isFloatIn = isFloat(streams[0]!.dtype);
    const outputs = order.map((slot) => flow.streams[slot]!);
    return {
      streams: isFloatIn ? outputs.map((s) => stored.read(s)) : outputs,
      logDeterminant: flow.logDeterminant,
    };
  }

  #policies(): BlockPolicy[] {
    const { isSynchronous, assumptions } = this.range.engine.backend;
    if (this.#anchors !== undefined && lacksValues(this.range.engine))
      assumptions!.add("no drift exceeds its tolerance");
    if (this.#anchors !== undefined && isSynchronous) this.#takeDrifts(this.drifts.dataSync());
    const { policy } = modes[this.#mode];
    const plan = policy === "reconstruct" ? this.#plan : undefined;
    const named = this.blocks.map((_, i) => plan?.blocks[i] ?? policy);
    return this.#anchors !== undefined && this.#drifts ? this.#anchors.among(named) : named;
  }

  /** Whether what is rebuilt is not what was there. */
  get #drifts(): boolean {
    return modes[this.#mode].policy === "reconstruct" && !this.#arithmetic().isExact;
  }

  /** What is noted of a recorded pass begins anew; anchors are put where the one before drifted too far. */
  #startRecord(policies: readonly BlockPolicy[]): void {
    this.sideBytes = 0;
    if (!this.#drifts) return;
    this.#policiesOfPass = policies;
    const { engine } = this.drifts;
    engine.scope(() => {
      this.drifts.assign(full([this.blocks.length], Number.NaN, { engine }));
    });
  }

  #arithmetic(): StreamArithmetic {
    return modes[this.#mode].arithmetic(this.#options());
  }

  #options(): ArithmeticOptions {
    const format = modes[this.#mode];
    return {
      fractionBits: format.magnitudeBits === undefined ? 0 : this.#binaryPoint.fractionBits(format),
      scales: this.scales,
      hasScales: this.#program.steps.some((s) => s.scales === true),
    };
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
    sameShape(x.shape, first.shape) && (isFloat(x.dtype) ? isFloat(first.dtype) : x.dtype === first.dtype);
  if (streams.every(fits)) return;
  throw new ShapeError(
    op,
    `the ${numbers[streams.length] ?? streams.length} streams differ: ${streams.map(describe).join(" and ")}`,
    `${streams.length === 2 ? "both" : "all"} must have one shape, and be floats or fixed-point streams alike`,
  );
}
