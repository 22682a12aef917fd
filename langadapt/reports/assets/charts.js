// Draws every figure of the page from the data in it.  Plot's own text is in the page's colour, so light and dark need nothing more.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const colours = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#8a8f98"];
  const style = { background: "transparent", color: "currentColor", fontSize: "12px" };
  const short = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
  const last = (name) => name.split("/").pop() || name;  // of a folder, its own name
  const colour = (domain) => ({ type: "categorical", domain, range: domain.map((_, i) => colours[i % colours.length]) });

  // Scores in ×100, a facet for each task and metric, a dot with its interval for each encoder.
  function scores({ stage }) {
    const table = data.scores[stage];
    const names = Object.keys(table);
    const rows = names.flatMap((encoder) =>
      table[encoder].filter((s) => s.unit === "×100").map((s) => ({ encoder, test: `${s.task} ${s.metric}`, ...s }))
    );
    if (!rows.length) return null;
    const tests = [...new Set(rows.map((row) => row.test))];
    return Plot.plot({
      width: 760, height: 40 + tests.length * (24 + 18 * names.length), marginLeft: 170, marginRight: 210, style,
      x: { label: "×100", grid: true }, y: { domain: names, label: null, tickFormat: (name) => short(last(name), 24) },
      fy: { domain: tests, label: null, tickFormat: (name) => short(name, 34) }, color: colour(names),
      marks: [
        Plot.ruleY(rows.filter((row) => row.low !== null), { x1: "low", x2: "high", y: "encoder", fy: "test", stroke: "encoder", strokeWidth: 2 }),
        Plot.dot(rows, { x: "value", y: "encoder", fy: "test", fill: "encoder", r: 4, title: (s) => `${s.encoder}: ${s.value.toFixed(1)}` }),
      ],
    });
  }

  function losses() {
    const lines = [], held = [];
    for (const [stage, told] of Object.entries(data.training)) {
      for (const [step, loss] of told.losses ?? []) lines.push({ stage, step, loss });
      for (const [step, name, loss] of told.validations ?? []) if (/loss/.test(name)) held.push({ stage, step, loss });
    }
    if (!lines.length) return null;
    return Plot.plot({
      width: 760, height: 300, marginLeft: 50, style, grid: true,
      x: { label: "step" }, y: { label: "loss", zero: true }, color: { ...colour(Object.keys(data.training)), legend: true },
      marks: [
        Plot.line(lines, { x: "step", y: "loss", stroke: "stage", z: "stage" }),
        Plot.dot(held, { x: "step", y: "loss", fill: "stage", r: 4, title: (row) => `${row.stage}, held out: ${row.loss.toFixed(3)}` }),
      ],
    });
  }

  const drawing = ({ stage, encoder, index }) => data.drawings[stage][encoder][index].drawing;

  function scatter(options) {
    const { x, y, x_label, y_label } = drawing(options).scatter;
    const points = x.map((value, i) => ({ x: value, y: y[i] }));
    return Plot.plot({
      width: 340, height: 300, style, grid: true, x: { label: x_label }, y: { label: y_label },
      marks: [Plot.dot(points, { x: "x", y: "y", r: 2, fill: colours[0], fillOpacity: 0.45 })],
    });
  }

  // Rows are what is right, columns what was said; the shade is the share of its row.
  function confusion(options) {
    const { labels, counts } = drawing(options).confusion;
    const cells = labels.flatMap((right, i) => {
      const all = Math.max(1e-9, counts[i].reduce((sum, count) => sum + count, 0));
      return labels.map((said, j) => ({ right, said, count: counts[i][j], share: counts[i][j] / all }));
    });
    const size = Math.max(220, 34 * labels.length);
    return Plot.plot({
      width: size + 150, height: size + 90, marginLeft: 110, marginBottom: 90, style, padding: 0.05,
      x: { domain: labels, label: "said", tickRotate: -40, tickFormat: (name) => short(name, 14) },
      y: { domain: labels, label: "right", tickFormat: (name) => short(name, 16) },
      color: { type: "linear", domain: [0, 1], range: ["#eef3f8", "#2b5f93"] },
      marks: [
        Plot.cell(cells, { x: "said", y: "right", fill: "share", title: (c) => `${c.right}, said to be ${c.said}: ${c.count}` }),
        labels.length <= 16 ? Plot.text(cells, { x: "said", y: "right", text: (c) => d3.format(".3~s")(c.count), fill: (c) => (c.share > 0.55 ? "#fff" : "#111") }) : null,
      ],
    });
  }

  // Texts of a test in the plane, by what they are; from the eighth class on, forms tell those of one colour apart.
  function classes(options) {
    const { x, y, labels } = drawing(options).classes;
    const points = x.map((value, i) => ({ x: value, y: y[i], label: labels[i] }));
    const names = [...new Set(labels)].sort();
    const forms = ["circle", "triangle", "square", "diamond"];
    return Plot.plot({
      width: 340, height: 320, inset: 8, style, x: { axis: null }, y: { axis: null }, color: colour(names),
      symbol: { domain: names, range: names.map((_, i) => forms[Math.floor(i / colours.length) % forms.length]), legend: names.length <= 16 },
      marks: [Plot.dot(points, { x: "x", y: "y", r: 3, fill: "label", symbol: "label", fillOpacity: 0.75, title: "label" })],
    });
  }

  function map({ stage, encoder }) {
    const { texts, encoders } = data.examples[stage];
    const points = encoders[encoder].map.map(([x, y], i) => ({ x, y, text: texts[i], shown: i < encoders[encoder].cosines.length, number: i + 1 }));
    return Plot.plot({
      width: 340, height: 300, style, x: { axis: null }, y: { axis: null },
      marks: [
        Plot.dot(points, { x: "x", y: "y", r: 3, fill: colours[0], fillOpacity: 0.5, title: (p) => p.text }),
        Plot.text(points.filter((p) => p.shown), { x: "x", y: "y", text: "number", dy: -9, fontWeight: 700 }),
      ],
    });
  }

  function cosines({ stage, encoder }) {
    const { texts, encoders } = data.examples[stage];
    const square = encoders[encoder].cosines;
    const cells = square.flatMap((row, i) => row.map((cosine, j) => ({ i: i + 1, j: j + 1, cosine })));
    const low = d3.min(cells, (c) => c.cosine);
    return Plot.plot({
      width: 340, height: 300, style, padding: 0.05, x: { label: null }, y: { label: null, tickFormat: (i) => String(i) },
      color: { type: "linear", domain: [low, 1], range: ["#eef3f8", "#2b5f93"] },
      marks: [
        Plot.cell(cells, { x: "j", y: "i", fill: "cosine", title: (c) => `${c.cosine.toFixed(2)}\n${texts[c.i - 1]}\n${texts[c.j - 1]}` }),
        Plot.text(cells, { x: "j", y: "i", text: (c) => c.cosine.toFixed(2), fontSize: 9, fill: (c) => (c.cosine - low > 0.55 * (1 - low) ? "#fff" : "#111") }),
      ],
    });
  }

  function funnel() {
    const rows = data.data.flatMap((one) => [
      ...Object.entries(one.dropped).map(([why, count]) => ({ stage: one.stage, what: `dropped: ${why}`, count })),
      { stage: one.stage, what: "kept", count: one.kept },
    ]);
    if (!rows.length) return null;
    const whats = ["kept", ...new Set(rows.map((row) => row.what).filter((what) => what !== "kept"))];
    return Plot.plot({
      width: 760, height: 50 + 32 * data.data.length, marginLeft: 130, style,
      x: { label: "rows", grid: true, tickFormat: "~s" }, y: { label: null }, color: { ...colour(whats), legend: true },
      marks: [Plot.barX(rows, { x: "count", y: "stage", fill: "what", order: whats, title: (row) => `${row.what}: ${row.count}` })],
    });
  }

  const charts = { scores, losses, scatter, confusion, classes, map, cosines, funnel };
  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    const drawn = charts[figure.dataset.chart](JSON.parse(figure.dataset.options));
    if (drawn === null) {
      figure.remove();
      continue;
    }
    const picture = drawn.tagName.toLowerCase() === "svg" ? drawn : [...drawn.querySelectorAll("svg")].pop();
    picture.setAttribute("role", "img");
    picture.setAttribute("aria-label", figure.querySelector("figcaption").textContent);
    for (const part of picture.querySelectorAll("g[aria-label]")) part.removeAttribute("aria-label");  // an image has one name
    figure.append(drawn);
  }
  document.documentElement.dataset.drawn = "true";
})();
