/** Whether the example is to be short, and to fail where what it claims does not hold: what continuous integration asks for. */
export const isAssert: boolean = process.argv.includes("--assert");

/** What an example has shown, in words, each with whether it is so. With `--assert` the process fails where one is not. */
export function claim(claims: Readonly<Record<string, boolean>>): void {
  console.log();
  for (const [what, holds] of Object.entries(claims)) console.log(`${holds ? "✓" : "✗ NOT SO:"} ${what}`);
  if (isAssert && Object.values(claims).includes(false)) process.exitCode = 1;
}
