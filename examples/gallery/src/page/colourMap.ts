/** Dark blue, blue, teal, sand, cream: lightness rises all the way, so it reads in grey and for colour-blind readers. */
const stops = [
  [13, 20, 38],
  [28, 62, 128],
  [38, 128, 148],
  [224, 170, 96],
  [255, 244, 214],
] as const;

/** The colour of a value in [0, 1]. */
export function colourMap(value: number): [red: number, green: number, blue: number] {
  const at = Math.min(Math.max(value, 0), 1) * (stops.length - 1);
  const i = Math.min(Math.floor(at), stops.length - 2);
  const mix = (c: 0 | 1 | 2): number => stops[i]![c] + (at - i) * (stops[i + 1]![c] - stops[i]![c]);
  return [mix(0), mix(1), mix(2)];
}
