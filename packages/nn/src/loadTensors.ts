import { describe, sameShape, type Tensor, ValueError } from "@revnet-zero/tensor";

/** Overwrites `targets` with the tensors of the same names. Everything is checked before anything is written. */
export function loadTensors(
  owner: string,
  targets: ReadonlyMap<string, Tensor>,
  values: ReadonlyMap<string, Tensor>,
  strict: boolean,
): void {
  const problems: string[] = [];
  for (const [name, target] of targets) {
    const value = values.get(name);
    if (value === undefined) {
      if (strict) problems.push(`missing: ${name} ${describe(target)}`);
    } else if (!sameShape(value.shape, target.shape) || value.dtype !== target.dtype)
      problems.push(`mismatched: ${name} is ${describe(target)} here and ${describe(value)} in the state`);
  }
  if (strict) {
    for (const [name, value] of values) if (!targets.has(name)) problems.push(`unexpected: ${name} ${describe(value)}`);
  }
  if (problems.length > 0) {
    throw new ValueError(
      "loadStateDict",
      `the state does not fit ${owner}:\n    ${problems.join("\n    ")}`,
      strict
        ? "build the model with the configuration it was saved with; { strict: false } skips missing and unexpected names"
        : "shapes and dtypes must match; leave out the names that do not",
    );
  }
  for (const [name, target] of targets) {
    const value = values.get(name);
    if (value === undefined) continue;
    target.engine.scope(() => {
      target.engine.noGrad(() => target.assign(value));
    }, "loadStateDict");
  }
}
