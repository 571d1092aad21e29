// DOPRI5 with adaptive steps, as `odenet` takes them in double precision: the same attempts and
// evaluations, and but for rounding the same states. tests/replication/test_slider.py compares.

// Stages 2 to 7 (Dormand, Prince 1980). The last row is the solution's own: the state of stage 7
// is the end of the step, and its slope is the first one of the next step.
const NODES = [1 / 5, 3 / 10, 4 / 5, 8 / 9, 1, 1];
const STAGES = [
  [1 / 5],
  [3 / 40, 9 / 40],
  [44 / 45, -56 / 15, 32 / 9],
  [19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729],
  [9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656],
  [35 / 384, 0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84],
];
// The weights of the solution less those of the embedded one (Shampine 1986).
const ERROR = [71 / 86400, 0, -142 / 50085, 71 / 2880, -5751 / 169600, 44 / 1575, -1 / 60];
// Of each slope at a fraction of the step: the factors of the fraction, its square, ... (the same).
const DENSE = [
  [1, -8048581381 / 2820520608, 8663915743 / 2820520608, -12715105075 / 11282082432],
  [0, 0, 0, 0],
  [0, 131558114200 / 32700410799, -68118460800 / 10900136933, 87487479700 / 32700410799],
  [0, -1754552775 / 470086768, 14199869525 / 1410260304, -10690763975 / 1880347072],
  [0, 127303824393 / 49829197408, -318862633887 / 49829197408, 701980252875 / 199316789632],
  [0, -282668133 / 205662961, 2019193451 / 616988883, -1453857185 / 822651844],
  [0, 40617522 / 29380423, -110615467 / 29380423, 69997945 / 29380423],
];
const ORDER = 5;
const MOST = 10000; // attempts

const sum = (values) => values.reduce((total, value) => total + value, 0);
const rms = (x) => Math.sqrt(sum(x.map((v) => v * v)) / x.length);
const clamp = (x, low, high) => Math.max(low, Math.min(x, high));

/** The field of a network: affine layers [weight, bias], with tanh between them. */
function network(layers) {
  const affine = ([weight, bias], x) =>
    bias.map((b, i) => b + sum(weight[i].map((w, j) => w * x[j])));
  return (t, y) =>
    layers.reduce((x, layer, i) => affine(layer, i > 0 ? x.map(Math.tanh) : x), y);
}

/** y + h times the weighted sum of slopes. */
function combine(y, h, weights, slopes) {
  return y.map((start, d) => weights.reduce((v, w, i) => v + slopes[i][d] * (h * w), start));
}

/** The step from (t, y) to time t1, and its error in units of the tolerance. */
function attempt(f, t, y, slope, t1, tolerance) {
  const h = t1 - t;
  const slopes = [slope];
  let y1 = y;
  STAGES.forEach((weights, i) => {
    y1 = combine(y, h, weights, slopes);
    slopes.push(f(NODES[i] === 1 ? t1 : t + NODES[i] * h, y1));
  });
  const estimate = combine(y.map(() => 0), h, ERROR, slopes);
  const size = y.map((v, d) => Math.max(Math.abs(v), Math.abs(y1[d])));
  const error = rms(estimate.map((e, d) => e / (tolerance + tolerance * size[d])));
  /** Dense output: the state at a fraction of the step. */
  const inside = (part) =>
    combine(y, h, DENSE.map((row) => sum(row.map((w, p) => w * part ** (p + 1)))), slopes);
  return { t: t1, y: y1, slope: slopes.at(-1), error, inside };
}

/** The length of the first attempt (Hairer, Norsett, Wanner: Solving ODEs I, II.4). */
function firstLength(f, t, y, slope, end, tolerance) {
  const scaled = (x) => rms(x.map((v, d) => v / (tolerance + tolerance * Math.abs(y[d]))));
  const [d0, d1] = [scaled(y), scaled(slope)];
  const h0 = Math.min(d0 > 1e-5 && d1 > 1e-5 ? (0.01 * d0) / d1 : 1e-6, Math.abs(end - t));
  const h = Math.sign(end - t) * h0;
  const next = f(t + h, combine(y, h, [1], [slope]));
  const most = Math.max(d1, scaled(next.map((v, d) => v - slope[d])) / h0);
  const h1 = most > 1e-15 ? (0.01 / most) ** (1 / ORDER) : Math.max(1e-6, 1e-3 * h0);
  return h1 < Infinity ? Math.min(100 * h0, h1) : h0;
}

/**
 * dy/dt = field(t, y) from y0 at time start to time end, with rtol = atol = tolerance.
 * Returns the accepted steps, each with {t, y} of its end, and the cost.
 */
function solve(field, y0, start, end, tolerance) {
  let nfe = 0;
  const f = (t, y) => (nfe++, field(t, y));
  let at = { t: start, y: y0, slope: f(start, y0) };
  let length = firstLength(f, start, y0, at.slope, end, tolerance);
  const steps = [];
  for (let attempts = 0; at.t !== end; attempts++) {
    // A step of 1 % more is cheaper than a last step of 1 %.
    const lands = 1.01 * length >= Math.abs(end - at.t);
    const t1 = lands ? end : at.t + Math.sign(end - at.t) * length;
    if (t1 === at.t || attempts === MOST) throw new RangeError("too many steps, or too short ones");
    const step = attempt(f, at.t, at.y, at.slope, t1, tolerance);
    // No error is too small to divide by, and one that is not finite says only: shorter.
    const wanted = 0.9 * Math.max(step.error, 1e-10) ** (-1 / ORDER);
    length = Math.abs(t1 - at.t) * (step.error < Infinity ? clamp(wanted, 0.2, 10) : 0.2);
    if (step.error <= 1) steps.push((at = step));
  }
  // Two evaluations choose the first length, and each attempt makes six.
  const rejected = (nfe - 2) / STAGES.length - steps.length;
  return { steps, nfe, accepted: steps.length, rejected };
}
