// A curve on a canvas: values by epoch, with round numbers beside it.

const MARGIN = { left: 52, right: 12, top: 10, bottom: 24 };
const MOST_TICKS = 5;

/** Draw points [[epoch, value], ...] in a colour, and say the newest in the canvas's label. */
export function curve(canvas, points, colour, name) {
  const ratio = window.devicePixelRatio || 1;
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  const known = points.filter(([, value]) => value !== null);
  canvas.setAttribute("aria-label", known.length ? `${name}: ${short(known.at(-1)[1])}` : name);
  if (known.length === 0) return;
  const [low, high] = padded(known.map(([, value]) => value));
  const last = Math.max(known.at(-1)[0], 2);
  const x = (epoch) => MARGIN.left + ((epoch - 1) / (last - 1)) * (width - MARGIN.left - MARGIN.right);
  const y = (value) => height - MARGIN.bottom - ((value - low) / (high - low)) * (height - MARGIN.top - MARGIN.bottom);
  const style = getComputedStyle(document.documentElement);
  axes(context, { low, high, last, x, y, width, height }, style);
  context.strokeStyle = context.fillStyle = style.getPropertyValue(colour);
  context.lineWidth = 2;
  context.lineJoin = "round";
  context.beginPath();
  for (const [epoch, value] of known) context.lineTo(x(epoch), y(value));
  context.stroke();
  context.beginPath();
  context.arc(x(known.at(-1)[0]), y(known.at(-1)[1]), 3.5, 0, 2 * Math.PI);
  context.fill();
}

function axes(context, { low, high, last, x, y, width, height }, style) {
  context.font = "12px system-ui, sans-serif";
  context.lineWidth = 1;
  context.textBaseline = "middle";
  context.textAlign = "right";
  for (const value of round(low, high)) {
    context.strokeStyle = style.getPropertyValue("--line");
    context.beginPath();
    context.moveTo(MARGIN.left, y(value));
    context.lineTo(width - MARGIN.right, y(value));
    context.stroke();
    context.fillStyle = style.getPropertyValue("--soft");
    context.fillText(short(value), MARGIN.left - 6, y(value));
  }
  context.textBaseline = "top";
  context.textAlign = "center";
  for (const epoch of round(1, last).filter(Number.isInteger)) {
    context.fillText(String(epoch), x(epoch), height - MARGIN.bottom + 7);
  }
}

function padded(values) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const more = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - more, high + more];
}

/** Round numbers between two. */
function round(low, high) {
  const rough = (high - low) / MOST_TICKS;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

function short(value) {
  return String(Number(value.toPrecision(4)));
}
