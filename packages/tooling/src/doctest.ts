import { parseSync } from "vite";

// Documentation examples are tests: a ```ts block with `// =>` runs as a module, and what stands after the arrow must be what
// the statement before it gives.
//
//   a.add(1); // => Tensor [2, 3]          the value, as String() or util.inspect() writes it; `...` stands for anything
//   const b = a.sum(); // => 6             the value of b
//   console.log(a.shape); // => [ 3 ]      what it prints
//   a.matmul(b); // => throws ShapeError: matmul: ...
//
// An expectation may go on, or start, on the next lines as long as those are comments; an inner line starts with `//`.

/** One fenced block: where its first line stands, and its text. */
export interface Example {
  readonly file: string;
  readonly line: number;
  readonly code: string;
}

/** The examples of a Markdown file, or of the docstrings of a TypeScript file, that promise something. */
export function collectExamples(file: string, text: string): Example[] {
  const isSource = file.endsWith(".ts");
  const examples: Example[] = [];
  let open: { line: number; code: string[] } | undefined;
  let inDocstring = false;
  text.split(/\r?\n/).forEach((raw, index) => {
    let line = raw;
    if (isSource) {
      if (raw.trimStart().startsWith("/**")) inDocstring = true;
      if (!inDocstring) return;
      // A docstring line without its ` * `, indentation of the code kept.
      line = raw.replace(/^\s*\/?\*+ ?/, "").replace(/\s*\*\/\s*$/, "");
    }
    if (open !== undefined && /^\s*```\s*$/.test(line)) {
      const code = open.code.join("\n");
      if (code.includes("// =>")) examples.push({ file, line: open.line, code });
      open = undefined;
    } else if (open !== undefined) open.code.push(line);
    else if (/^\s*```ts\b/.test(line)) open = { line: index + 2, code: [] };
    if (isSource && raw.includes("*/")) {
      inDocstring = false;
      open = undefined;
    }
  });
  return examples;
}

/** The same module with each promise turned into a call of the `check` that the module named `checker` exports. */
export function compileExample(code: string, checker: string): string {
  const { program, comments, errors } = parseSync("example.ts", code);
  if (errors[0] !== undefined) throw new SyntaxError(errors[0].message);
  let output = "";
  let done = 0;
  let arrows = 0;
  program.body.forEach((statement, index) => {
    const next = program.body[index + 1]?.start ?? code.length;
    const promise = promiseBetween(code, comments, statement.end, next);
    if (promise === undefined) return;
    arrows++;
    const expected = JSON.stringify(promise);
    output += code.slice(done, statement.start);
    const source = code.slice(statement.start, statement.end);
    if (statement.type === "ExpressionStatement") {
      const { expression } = statement;
      const argument = printedArgument(code, expression);
      const value = argument ?? code.slice(expression.start, expression.end);
      const isPrinted = argument !== undefined;
      output += `await __check(async () => ${isPrinted ? `[${value}]` : `(${value})`}, ${expected}, ${isPrinted});`;
    } else if (statement.type === "VariableDeclaration" && statement.declarations[0]?.id.type === "Identifier") {
      output += `${source} await __check(async () => ${statement.declarations[0].id.name}, ${expected}, false);`;
    } else throw new SyntaxError(`// => ${promise}\n  hint: put it after an expression or a declaration of one name`);
    done = statement.end;
  });
  // A promise inside a function body or before the first statement would be silently skipped.
  const written = comments.filter((comment) => /^\s*=>/.test(comment.value)).length;
  if (arrows !== written) throw new SyntaxError("`// =>` belongs after a statement at the top level of the block");
  return `import { check as __check } from ${JSON.stringify(checker)};\n${output}${code.slice(done)}\n`;
}

type Parsed = ReturnType<typeof parseSync>;

/** What the comments between two statements promise, or undefined. */
function promiseBetween(code: string, comments: Parsed["comments"], from: number, to: number): string | undefined {
  const lines: string[] = [];
  for (const comment of comments) {
    if (comment.start < from || comment.end > to) continue;
    const isFirst = lines.length === 0;
    if (isFirst && !/^\s*=>/.test(comment.value)) continue;
    // Only the lines right below go on with it; a blank line ends it.
    if (!isFirst && /\n\s*\n/.test(code.slice(from, comment.start))) break;
    lines.push(comment.value.replace(/^\s*=>/, "").trim());
    from = comment.end;
  }
  return lines.length === 0 ? undefined : lines.join("\n");
}

/** The arguments of a `console.log(...)`, as written. */
function printedArgument(code: string, expression: { type: string; start: number; end: number }): string | undefined {
  const text = code.slice(expression.start, expression.end);
  return expression.type === "CallExpression" ? /^console\.log\(([\s\S]*)\)$/.exec(text)?.[1] : undefined;
}
