/** The element that a section marks with `data-part`. The page and its script are written together: a missing one is a defect. */
export function part<E extends HTMLElement = HTMLElement>(root: ParentNode, name: string): E {
  const found = root.querySelector<E>(`[data-part="${name}"]`);
  if (found === null) throw new Error(`the page has no part "${name}"`);
  return found;
}

export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** Fills a `<dl>` with terms and what they are. */
export function showFacts(list: HTMLElement, facts: Readonly<Record<string, string>>): void {
  const rows = Object.entries(facts).map(([term, fact]) =>
    element("div", {}, element("dt", { textContent: term }), element("dd", { textContent: fact })),
  );
  list.replaceChildren(...rows);
}

export const prefersLittleMotion = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Does `draw` with the latest value at most once a frame, and not more than so often. */
export function calmly<T>(draw: (value: T) => void, everyMs = 80): (value: T) => void {
  let [pending, last]: [{ value: T } | undefined, number] = [undefined, 0];
  const frame = (now: number): void => {
    if (now - last < everyMs) {
      requestAnimationFrame(frame);
      return;
    }
    last = now;
    const value = pending;
    pending = undefined;
    if (value !== undefined) draw(value.value);
  };
  return (value) => {
    if (pending === undefined) requestAnimationFrame(frame);
    pending = { value };
  };
}
