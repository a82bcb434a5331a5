/**
 * The first key that occurs twice in one object of a JSON text, or undefined. `JSON.parse` keeps the last of them and
 * tells nobody. The text must be valid JSON.
 */
export function findDuplicateKey(json: string): string | undefined {
  // One entry an open bracket: the keys so far of an object, undefined for an array.
  const open: (Set<string> | undefined)[] = [];
  // The last string, a key if a colon comes next.
  let text = "";
  for (let i = 0; i < json.length; i++) {
    const character = json[i];
    if (character === '"') {
      const start = i;
      for (i++; json[i] !== '"'; i++) if (json[i] === "\\") i++;
      text = json.slice(start, i + 1);
    } else if (character === ":") {
      const key: string = JSON.parse(text);
      const keys = open.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    } else if (character === "{") open.push(new Set());
    else if (character === "[") open.push(undefined);
    else if (character === "}" || character === "]") open.pop();
  }
  return undefined;
}
