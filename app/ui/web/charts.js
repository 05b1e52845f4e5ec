// Charts as inline SVG, drawn to the width that there is, so that their text is as large as any other on the page.
// Their classes begin with chart-: the styles of all tabs that were opened are there at once.
// Each is one image with a title and a description for those who do not see it; beside it stands a table.

const SVG = "http://www.w3.org/2000/svg";
const WIDE = 600;  // from here on a row's name stands beside its bar, not above it
const [FROM, TO] = [0.3, 0.84];  // where the bars of a wide chart lie
const LETTER = 7.4;  // about the width of one, at 14 pixels
const GAP = 2;

/**
 * Rows with a bar each, on one scale. A row: { name, said, parts: [{ value, kind }] }; `said` stands at its end.
 */
export function bars(rows, { title, width }) {
  const most = Math.max(1, ...rows.map((row) => row.parts.reduce((sum, { value }) => sum + value, 0)));
  return chart(rows, { title, width }, (row, { left, right, top }) => {
    const scale = (right - left) / most;
    let from = left;
    return row.parts.filter(({ value }) => value > 0).map(({ value, kind }) => {
      const bar = s("rect", { x: from, y: top, height: 14, width: Math.max(2, value * scale - GAP), rx: 3, class: `chart-part ${kind}` });
      from += value * scale;
      return bar;
    });
  });
}

/** Rows with a share and its interval on a scale from 0 to 1. A row: { name, said, value, from, to }. */
export function intervals(rows, { title, width, ends }) {
  return chart(rows, { title, width, foot: 22 }, (row, { left, right, top }) => {
    const at = (share) => left + share * (right - left);
    return [
      s("rect", { x: left, y: top + 5, width: right - left, height: 4, rx: 2, class: "chart-rail" }),
      s("rect", { x: at(row.from), y: top + 3, width: Math.max(2, at(row.to) - at(row.from)), height: 8, rx: 4, class: "chart-reach" }),
      s("circle", { cx: at(row.value), cy: top + 7, r: 6, class: "chart-point" }),
    ];
  }, ({ left, right, bottom }) => ends.map((text, place) => {
    const share = place / (ends.length - 1);
    const anchor = ["start", ...ends.slice(2).map(() => "middle"), "end"][place];
    return s("text", { x: left + share * (right - left), y: bottom + 16, "text-anchor": anchor, class: "chart-scale" }, text);
  }));
}

let drawn = 0;

function chart(rows, { title, width, foot = 0 }, marks, scale = () => []) {
  const isWide = width >= WIDE;
  const step = isWide ? 32 : 48;
  const [left, right] = isWide ? [width * FROM, width * TO] : [1, width - 1];
  const bottom = rows.length * step;
  const [titleId, descId] = [`chart-${++drawn}`, `chart-${drawn}-told`];
  const parts = rows.flatMap((row, place) => {
    const top = place * step + (isWide ? 9 : 26);
    const words = isWide ? top + 12 : top - 8;
    const room = (isWide ? left - 12 : width - 14 - row.said.length * LETTER) / LETTER;
    return [
      s("text", { x: 0, y: words, class: "chart-name" }, cut(row.name, room)),
      s("text", { x: width, y: words, "text-anchor": "end", class: "chart-said" }, row.said),
      ...marks(row, { left, right, top }),
    ];
  });
  const height = bottom + foot;
  return s("svg", { role: "img", "aria-labelledby": `${titleId} ${descId}`, class: "chart", viewBox: `0 0 ${width} ${height}`, width, height },
    s("title", { id: titleId }, title),
    s("desc", { id: descId }, rows.map(({ name, said }) => `${name}: ${said}`).join("; ")),
    ...parts, ...scale({ left, right, bottom }));
}

function cut(text, room) {
  return text.length <= room ? text : `${text.slice(0, Math.max(1, Math.floor(room) - 1)).trimEnd()}…`;
}

function s(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
