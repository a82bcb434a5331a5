export type { BlockCosts, PolicyCost } from "./planner/problem.ts";
