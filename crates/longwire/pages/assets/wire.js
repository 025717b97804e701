// The wire drawn across a page. It comes in from the left edge, hangs a little, and is plugged into a panel. It is
// whole while the line is open, and each message runs along it once.

const PULSE_MS = 900;
const PULSE_LENGTH = 90;

export class Wire {
  #svg;
  #panel;
  #pulses;
  #still = matchMedia("(prefers-reduced-motion: reduce)");

  /** Draws in `svg`, up to the element `panel`, which share one positioned parent. */
  constructor(svg, panel) {
    this.#svg = svg;
    this.#panel = panel;
    this.#pulses = { in: svg.querySelector("#pulse-in"), out: svg.querySelector("#pulse-out") };
    new ResizeObserver(() => this.#draw()).observe(svg);
    new ResizeObserver(() => this.#draw()).observe(panel);
  }

  /** Shows whether there is a line. */
  connected(isConnected) {
    this.#svg.classList.toggle("connected", isConnected);
  }

  /** Lets a message run along the wire: "out" leaves the panel, "in" arrives. */
  pulse(direction) {
    if (this.#still.matches) return;
    const path = this.#pulses[direction];
    const length = path.getTotalLength();
    const [from, to] = direction === "in" ? [PULSE_LENGTH, -length] : [-length, PULSE_LENGTH];
    path.style.strokeDasharray = `${PULSE_LENGTH} ${length + 2 * PULSE_LENGTH}`;
    path.animate(
      [
        { strokeDashoffset: from, opacity: 1 },
        { strokeDashoffset: to, opacity: 1 },
      ],
      { duration: PULSE_MS, easing: "cubic-bezier(.4, .1, .3, 1)" },
    );
  }

  #draw() {
    const frame = this.#svg.getBoundingClientRect();
    const panel = this.#panel.getBoundingClientRect();
    const beside = panel.left - frame.left > frame.width / 3;
    const end = beside
      ? { x: panel.left - frame.left, y: panel.top - frame.top + panel.height - 36 }
      : { x: panel.left - frame.left + panel.width * 0.8, y: panel.top - frame.top };
    const d = beside ? hanging(end) : dropping(end);
    for (const path of this.#svg.querySelectorAll("path")) path.setAttribute("d", d);
    const plug = this.#svg.querySelector("circle");
    plug.setAttribute("cx", String(end.x));
    plug.setAttribute("cy", String(end.y));
  }
}

// From beyond the left edge of the page to the left side of the panel, with some slack.
function hanging({ x, y }) {
  return `M -8 ${y - 14} C ${x * 0.3} ${y + 46}, ${x * 0.7} ${y + 40}, ${x} ${y}`;
}

// On a narrow page: from the left edge into the top of the panel below.
function dropping({ x, y }) {
  return `M -8 ${y - 48} C ${x * 0.4} ${y - 12}, ${x} ${y - 60}, ${x} ${y}`;
}
