/**
 * Every error the engine throws on purpose. `op` and `hint` are data, so a command line or a server can format them.
 * The class says who can fix it: the shape's author, the caller, the machine's owner.
 */
export class RevNetError extends Error {
  override name = "RevNetError";
  readonly op: string;
  readonly hint: string | undefined;
  constructor(op: string, problem: string, hint?: string, options?: ErrorOptions) {
    super(`${op}: ${problem}${hint === undefined ? "" : `\n  hint: ${hint}`}`, options);
    this.op = op;
    this.hint = hint;
  }
}

/** Operands whose shapes or axes do not fit together. */
export class ShapeError extends RevNetError {
  override name = "ShapeError";
}

/** An operand of a type the op does not take. */
export class DTypeError extends RevNetError {
  override name = "DTypeError";
}

/** An argument outside its range: an axis, a probability, a size. */
export class ValueError extends RevNetError {
  override name = "ValueError";
}

/** A tensor used after it was disposed, or scopes closed out of order. */
export class LifetimeError extends RevNetError {
  override name = "LifetimeError";
}

/** Differentiation asked for something the recorded graph cannot give. */
export class AutogradError extends RevNetError {
  override name = "AutogradError";
}

/** The backend cannot do this: no kernel, no synchronous read, a missing device. */
export class BackendError extends RevNetError {
  override name = "BackendError";
}

/** A NaN or an infinity where a number was expected. */
export class NonFiniteError extends RevNetError {
  override name = "NonFiniteError";
}

/** Device memory exhausted; the message lists the largest live tensors and what would make the step fit. */
export class OutOfMemoryError extends RevNetError {
  override name = "OutOfMemoryError";
}

/** `[2, 3] f32`: the one way a tensor is named in a message. */
export function describe(t: { readonly shape: readonly number[]; readonly dtype: string }): string {
  return `[${t.shape.join(", ")}] ${t.dtype}`;
}

/** The operands of an op in a message: `[2, 3] f32, [4] f32`. */
export function describeAll(ts: readonly { readonly shape: readonly number[]; readonly dtype: string }[]): string {
  return ts.map(describe).join(", ");
}
