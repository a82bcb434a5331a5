import { withScratch } from "../choice/scratch.ts";
import { timeOnDevice } from "../choice/tune.ts";
import { codeOf } from "./binding.ts";
import type { CudaDevice } from "./device.ts";
import { deviceError } from "./errors.ts";
import { type LibraryState, openLibrary, stateOf } from "./libraries.ts";

/** A matrix as cuBLASLt takes it: column-major with a leading size, or its transpose. */
export interface Matrix {
  readonly address: number;
  readonly isTransposed: boolean;
  readonly leading: number;
  /** Elements from one of a batch to the next. */
  readonly step: number;
}

export interface Product {
  readonly dtype: "f32" | "bf16" | "f16";
  /** Column-major d [m, n] = a [m, k] · b [k, n]. */
  readonly m: number;
  readonly n: number;
  readonly k: number;
  readonly batch: number;
  readonly a: Matrix;
  readonly b: Matrix;
  readonly d: Matrix;
  /** The type of d, where it is not that of a and b. */
  readonly sumType?: "f32";
  /** Whether the product is added to what d holds. */
  readonly isAdded?: boolean;
  /** What becomes of the product before it is stored. Default: nothing. */
  readonly epilogue?: Epilogue;
}

/** Addresses that an epilogue reads or writes: a `vector` of one number a row of d, and a `matrix` that lies like d. */
export interface Epilogue {
  /**
   * `bias`: plus the vector. `gelu`, `geluBias`: GELU (in its tanh form) of the product, and the vector, which is stored in the matrix. `geluBack`: times GELU's derivative
   * at the matrix.
   */
  readonly kind: keyof typeof epilogues;
  readonly vector?: number;
  readonly matrix?: number;
}

/** NVIDIA's numbers for the epilogues and types. */
const epilogues = { none: 1, bias: 4, gelu: 160, geluBias: 164, geluBack: 192 } as const;
const types = { f32: 0, bf16: 14, f16: 2 } as const;
const COMPUTE_F32 = 68;
const WORKSPACE = 64 * 2 ** 20;
const ALIGNMENT = 16;
/** How many of the library's kernels for a product are candidates. */
export const CHOICES = 8;
const NOT_SUPPORTED = "CUBLAS_15";

const alignmentOf = (...addresses: readonly number[]): number => {
  let alignment = ALIGNMENT;
  for (const a of addresses) while (a % alignment !== 0) alignment /= 2;
  return alignment;
};

/** What a plan follows from. */
function numbersOf(product: Product): number[] {
  const { dtype, sumType = dtype, m, n, k, batch, a, b, d, epilogue } = product;
  const alignment = alignmentOf(a.address, b.address, d.address, epilogue?.vector ?? 0, epilogue?.matrix ?? 0);
  return [
    ...[types[dtype], types[sumType], COMPUTE_F32, Number(a.isTransposed), Number(b.isTransposed), m, n, k],
    ...[a.leading, b.leading, d.leading, batch, a.step, b.step, d.step, epilogues[epilogue?.kind ?? "none"]],
    ...[alignment, WORKSPACE],
  ];
}

/** The plan of a problem; below 0 where the library has none. */
interface Chosen {
  readonly problem: string;
  plan: number;
}

/** Matrix products by cuBLASLt, where it is present. Which of its kernels runs follows from the numbers of the product and the tuning table alone. */
export class Products {
  readonly #device: CudaDevice;
  readonly #driverMajor: number;
  readonly #chosen = new Map<string, Chosen>();
  /** By one kernel or another, whatever the tuning table says. */
  readonly #plans = new Map<string, number>();
  #state: LibraryState | undefined;

  constructor(device: CudaDevice, driverMajor: number) {
    this.#device = device;
    this.#driverMajor = driverMajor;
  }

  /** What serves: cuBLASLt's version, or why it does not. */
  get state(): LibraryState {
    const { native } = this.#device;
    this.#state ??= stateOf(() => openLibrary("cublasLt", this.#driverMajor, (file) => native.openProducts(file)));
    return this.#state;
  }

  /** Computes the product; false where cuBLASLt is absent or has no kernel for it. */
  multiply(product: Product): boolean {
    if ("missing" in this.state) return false;
    const numbers = numbersOf(product);
    const key = numbers.join();
    let chosen = this.#chosen.get(key);
    if (chosen === undefined) {
      chosen = this.#choose(product, numbers);
      this.#chosen.set(key, chosen);
    } else this.#device.choices.chosenAgain("matmul", chosen.problem);
    if (chosen.plan < 0) return false;
    if (this.#run(chosen.plan, product)) return true;
    // The library finds a kernel for some shapes that then refuses: the same one for the same numbers, always.
    chosen.plan = -1;
    return false;
  }

  /** The same by one of the library's kernels, whatever the tuning table says: its candidates are those below `CHOICES`. */
  multiplyBy(which: number, product: Product): boolean {
    if ("missing" in this.state) return false;
    const key = `${numbersOf(product).join()} by ${which}`;
    let plan = this.#plans.get(key);
    if (plan === undefined) {
      plan = this.#device.guard(() => this.#device.native.planProduct(...numbersOf(product), which));
      this.#plans.set(key, plan);
    }
    return plan >= 0 && this.#run(plan, product);
  }

  /** Which of the library's kernels serves: its own first choice, or the one that the tuning table names. */
  #choose(product: Product, numbers: readonly number[]): Chosen {
    const { dtype, m, n, k, batch, a, b } = product;
    const version = "missing" in this.state ? 0 : this.state.version;
    const what = `${dtype} ${a.isTransposed ? "t" : "n"}${b.isTransposed ? "t" : "n"} ${m}x${n}x${k} batch ${batch}`;
    const problem = `${what} [${numbers.join(" ")}] cuBLASLt ${version}`;
    const planOf = (which: number): number =>
      this.#device.guard(() => this.#device.native.planProduct(...numbers, which));
    const kernels = Array.from({ length: CHOICES }, (_, which) => `cuBLASLt ${which}`);
    const chosen = this.#device.choices.choose("matmul", problem, kernels, (kernel) =>
      this.#measure(planOf(kernels.indexOf(kernel)), product),
    );
    const plan = planOf(kernels.indexOf(chosen));
    return { problem, plan: plan < 0 && chosen !== kernels[0] ? planOf(0) : plan };
  }

  /** The time of a plan, on numbers of its own; undefined where it does not run. */
  #measure(plan: number, product: Product): number | undefined {
    if (plan < 0) return undefined;
    const { dtype, sumType = dtype, m, n, k, batch, a, b, d, epilogue } = product;
    const size = dtype === "f32" ? 4 : 2;
    const sizeOfSum = sumType === "f32" ? 4 : 2;
    const bytesOf = ({ leading, step, isTransposed }: Matrix, rows: number, columns: number): number =>
      size * ((batch - 1) * Math.abs(step) + leading * (isTransposed ? rows : columns));
    const device = this.#device;
    const sums = (sizeOfSum / size) * bytesOf(d, m, n);
    const beside = epilogue?.matrix === undefined ? 0 : bytesOf(d, m, n);
    const sizes = [bytesOf(a, m, k), bytesOf(b, k, n), sums, beside, 4 * m];
    return withScratch(device, sizes, ([left, right, sum, matrix, vector]) => {
      const one: Product = {
        ...product,
        ...{ a: { ...a, address: left! }, b: { ...b, address: right! }, d: { ...d, address: sum! } },
        ...(epilogue === undefined ? {} : { epilogue: { kind: epilogue.kind, matrix: matrix!, vector: vector! } }),
      };
      return this.#run(plan, one) ? timeOnDevice(device, () => this.#run(plan, one)) : undefined;
    });
  }

  /** False where the library's kernel refuses. */
  #run(plan: number, { a, b, d, isAdded = false, epilogue }: Product): boolean {
    const { native } = this.#device;
    try {
      this.#device.withWorkspace(WORKSPACE, (workspace) =>
        native.multiply(
          ...([plan, a.address, b.address, d.address, epilogue?.vector ?? 0, 1, workspace, WORKSPACE] as const),
          ...([Number(isAdded), epilogue?.matrix ?? 0] as const),
        ),
      );
      return true;
    } catch (error) {
      if (codeOf(error) !== NOT_SUPPORTED) throw deviceError(error);
      return false;
    }
  }
}
