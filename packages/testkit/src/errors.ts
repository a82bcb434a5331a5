/** What `f` throws, as "Class: message", for an inline snapshot. Fails when it throws nothing. */
export function errorText(f: () => unknown): string {
  try {
    f();
  } catch (error) {
    return textOf(error);
  }
  throw new Error("expected an error, but nothing was thrown");
}

/** The same for a promise. */
export async function rejectionText(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
  } catch (error) {
    return textOf(error);
  }
  throw new Error("expected a rejection, but the promise was fulfilled");
}

const textOf = (error: unknown): string =>
  error instanceof Error ? `${error.name}: ${error.message}` : `not an Error: ${String(error)}`;
