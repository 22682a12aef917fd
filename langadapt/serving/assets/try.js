"use strict";

const at = (id) => document.getElementById(id);
const make = (tag, text, attributes = {}) => {
  const made = Object.assign(document.createElement(tag), attributes);
  if (text !== undefined) made.textContent = text;
  return made;
};
let key = "";
let passages = [];

function say(text) { at("status").textContent = text; }

async function ask(path, body) {
  const headers = { "content-type": "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  const options = body ? { method: "POST", headers, body: JSON.stringify(body) } : { headers };
  const response = await fetch(path, options);
  const told = await response.json();
  if (response.status === 401) at("key-form").hidden = false;
  if (!response.ok) throw new Error(told.error.message);
  return told;
}

async function busy(form, work) {
  const button = form.querySelector("button");
  button.disabled = true;
  say("Working …");
  try { await work(); say(""); } catch (error) { say(error.message); }
  button.disabled = false;
}

async function loadModels() {
  const models = (await ask("v1/models")).data.filter((one) => one.kind !== "scorer");
  const base = models[0];
  at("facts").textContent = `${base.id}: ${base.dimensions} dimensions, texts of up to ${base.max_tokens} tokens`;
  at("models").replaceChildren(...models.map((one, i) => {
    const label = make("label");
    const box = make("input", undefined, { type: "checkbox", name: "model", value: one.id, checked: i < 3 });
    const kind = { base: "the base", router: "each text by the adapter it is most like", adapter: "adapter" }[one.kind];
    label.append(box, ` ${one.id} (${kind})`);
    return label;
  }));
}

const chosen = () => [...document.querySelectorAll("input[name=model]:checked")].map((box) => box.value);

// Blue for what is alike; for differences blue for more, orange for less.  The ink is chosen so that it can be read on it.
function colour(value, low, high, signed) {
  const share = signed ? Math.min(1, Math.abs(value) / Math.max(high, 1e-9)) : Math.min(1, Math.max(0, (value - low) / Math.max(high - low, 1e-9)));
  const hue = signed && value < 0 ? 30 : 212;
  return { background: `hsl(${hue} 70% ${97 - 62 * share}%)`, ink: share > 0.5 ? "#ffffff" : "#101418" };
}

function heatMap(title, note, sentences, cells, signed) {
  const off = cells.flatMap((row, i) => row.filter((_, j) => i !== j));
  const low = Math.min(...off), high = signed ? Math.max(...off.map(Math.abs)) : Math.max(...off);
  const part = make("div");
  part.append(make("h3", title), make("p", note, { className: "note" }));
  const table = make("table"), head = make("tr"), body = make("tbody");
  head.append(make("td"), ...sentences.map((_, j) => make("th", j + 1, { scope: "col" })));
  sentences.forEach((sentence, i) => {
    const row = make("tr");
    row.append(make("th", `${i + 1}  ${sentence}`, { scope: "row", dir: "auto", title: sentence }));
    cells[i].forEach((value, j) => {
      const cell = make("td", (signed && value > 0 ? "+" : "") + value.toFixed(2));
      if (i !== j) {
        const { background, ink } = colour(value, low, high, signed);
        cell.style.background = background;
        cell.style.color = ink;
      }
      row.append(cell);
    });
    body.append(row);
  });
  const top = make("thead");
  top.append(head);
  table.append(make("caption", undefined), top, body);
  table.caption.textContent = title;
  table.caption.style.display = "none";
  table.setAttribute("aria-label", title);
  const scroll = make("div", undefined, { className: "scroll", tabIndex: 0 });
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", title);
  scroll.append(table);
  part.append(scroll);
  return part;
}

at("compare").addEventListener("submit", (event) => {
  event.preventDefault();
  busy(event.target, async () => {
    const sentences = at("sentences").value.split("\n").map((line) => line.trim()).filter(Boolean).slice(0, 20);
    if (sentences.length < 2) throw new Error("Write at least two sentences, one a line.");
    const models = chosen();
    if (!models.length) throw new Error("Choose a model.");
    const told = await Promise.all(models.map((model) => ask("similarity", { texts: sentences, model })));
    const maps = told.map((one, i) => heatMap(`Similarities by ${models[i]}`, "Cosines; the darker, the more alike.", sentences, one.similarities, false));
    const first = told[0].similarities;
    told.slice(1).forEach((one, k) => {
      const change = one.similarities.map((row, i) => row.map((value, j) => value - first[i][j]));
      const note = `Blue: ${models[k + 1]} sees them closer than ${models[0]} does. Orange: further apart.`;
      maps.push(heatMap(`What ${models[k + 1]} changes`, note, sentences, change, true));
    });
    at("maps").replaceChildren(...maps);
  });
});

async function read(file) {
  if (!file) return;
  const text = await file.slice(0, 4000000).text();
  passages = text.split(/\r?\n/).map((line) => line.trim()).filter(Boolean).slice(0, 2000);
  say(passages.length ? `${passages.length.toLocaleString("en")} passages of ${file.name}` : `${file.name} holds no text.`);
}

at("file").addEventListener("change", (event) => read(event.target.files[0]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  at("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    at("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") read(event.dataTransfer.files[0]);
  });
}

async function nearest(model, query) {
  const cosines = [];
  for (let start = 0; start < passages.length; start += 256) {
    const told = await ask("similarity", { texts: [query], others: passages.slice(start, start + 256), model });
    cosines.push(...told.similarities[0]);
    say(`${model}: ${cosines.length.toLocaleString("en")} of ${passages.length.toLocaleString("en")} passages …`);
  }
  return cosines.map((value, i) => [value, passages[i]]).sort((a, b) => b[0] - a[0]).slice(0, 10);
}

at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  busy(event.target, async () => {
    if (!passages.length) throw new Error("Choose a file first.");
    const models = chosen();
    if (!models.length) throw new Error("Choose a model.");
    const columns = make("div", undefined, { className: "columns" });
    for (const model of models) {
      const column = make("div"), list = make("ol");
      for (const [value, text] of await nearest(model, at("query").value)) {
        const item = make("li", undefined, { dir: "auto" });
        item.append(make("span", value.toFixed(3), { className: "score" }), ` ${text.slice(0, 300)}`);
        list.append(item);
      }
      column.append(make("h3", `Nearest by ${model}`), list);
      columns.append(column);
    }
    at("found").replaceChildren(columns);
  });
});

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = at("key").value.trim();
  busy(event.target, async () => { await loadModels(); at("key-form").hidden = true; });
});

loadModels().catch((error) => say(error.message));
