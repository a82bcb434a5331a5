import type { Reporter, SerializedError, TestModule, TestSuite } from "vitest/node";

/**
 * Prints why tests were skipped and, alone on the last line of a run, `N passed, N failed, N skipped`.
 *
 * What breaks outside a test (a file that does not load, a hook, an unhandled rejection) counts as a failure: a closing line
 * with `0 failed` means that everything ran.
 */
export default class ClosingLine implements Reporter {
  private outside = 0;

  onTestSuiteResult(suite: TestSuite): void {
    this.outside += suite.errors().length;
  }

  onTestModuleEnd(module: TestModule): void {
    this.outside += module.errors().length;
  }

  onTestRunEnd(modules: readonly TestModule[], unhandled: readonly SerializedError[]): void {
    const count = { passed: 0, failed: this.outside + unhandled.length, skipped: 0 };
    const reasons: string[] = [];
    for (const module of modules) {
      for (const test of module.children.allTests()) {
        const result = test.result();
        if (result.state === "passed" || result.state === "failed") count[result.state]++;
        else {
          count.skipped++;
          const note = result.state === "skipped" ? result.note : undefined;
          reasons.push(`skipped: ${test.fullName} (${module.relativeModuleId}): ${note ?? "no reason given"}`);
        }
      }
    }
    console.log([...reasons, `${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`].join("\n"));
  }
}
