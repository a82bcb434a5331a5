/** The picture to begin with: a whale's tail before a low sun, in few enough colours to stay one at 96 pixels. */
export function drawSeascape(context: CanvasRenderingContext2D, side: number): void {
  context.save();
  context.scale(side / 96, side / 96);
  const sky = context.createLinearGradient(0, 0, 0, 62);
  for (const [at, colour] of [
    [0, "#1b2a5c"],
    [0.55, "#c8566b"],
    [1, "#f7b267"],
  ] as const)
    sky.addColorStop(at, colour);
  context.fillStyle = sky;
  context.fillRect(0, 0, 96, 62);
  context.fillStyle = "#ffe3a3";
  circle(context, 66, 50, 13);
  const sea = context.createLinearGradient(0, 60, 0, 96);
  for (const [at, colour] of [
    [0, "#e08a5b"],
    [0.25, "#5b5f8f"],
    [1, "#101c3d"],
  ] as const)
    sea.addColorStop(at, colour);
  context.fillStyle = sea;
  context.fillRect(0, 60, 96, 36);
  context.fillStyle = "#ffe3a3";
  for (const [y, width] of [
    [64, 20],
    [69, 14],
    [75, 18],
    [82, 8],
    [89, 11],
  ] as const)
    context.fillRect(66 - width / 2, y, width, 1.6);
  context.fillStyle = "#0d1530";
  context.fill(
    new Path2D(
      "M24 70C30 58 32 48 31 39C22 39 12 33 8 24C18 22 29 25 34 33C39 25 50 22 60 24C56 33 46 39 37 39C37 49 40 60 48 70Z",
    ),
  );
  context.strokeStyle = "#f6d8b8";
  context.lineWidth = 1.4;
  context.stroke(new Path2D("M16 71C22 68 28 72 35 70S50 68 57 71"));
  context.restore();
}

function circle(context: CanvasRenderingContext2D, x: number, y: number, radius: number): void {
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.fill();
}
