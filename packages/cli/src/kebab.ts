/** A name as it is typed in a flag: printConfig is --print-config. */
export const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
