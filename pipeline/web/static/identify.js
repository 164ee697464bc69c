// Many pictures one after the other, with progress; without this script the form sends them all at once.
"use strict";

const AT_ONCE = 2;  // the server takes visitors in turns: more would only wait there
const form = document.getElementById("ask");
const list = document.getElementById("list");
const results = document.getElementById("results");

let elsewhere = Number(document.getElementById("count").textContent) - list.children.length;  // on other pages

function counted() {
  document.getElementById("count").textContent = elsewhere + list.children.length;
  results.hidden = elsewhere + list.children.length === 0;
  const again = document.getElementById("again");
  if (again) again.hidden = list.children.length === 0;
}

// What is to be said of all answers together, whether the pictures differ from those that the model was checked on.
async function together() {
  try { document.getElementById("together").innerHTML = await part("/identify/together"); } catch { /* next time */ }
}

// A server that is away is waited for, by all that ask it together. Gives whether it is the same again, was started
// anew, when it knows no answer any more, or stays away.
const PATIENCE = 300, EVERY = 1;  // seconds
let coming = null;
function back() {
  async function waiting() {
    for (let waited = 0; waited < PATIENCE && !running.stopped; waited += EVERY) {
      await new Promise((go) => setTimeout(go, 1000 * EVERY));
      try {
        const there = new DOMParser().parseFromString(await part("/"), "text/html");
        if (Number(there.getElementById("count")?.textContent) >= elsewhere + list.children.length) return "same";
        await part("/identify/clear", { method: "POST" });
        list.textContent = "";
        elsewhere = 0;
        return "anew";
      } catch { /* not yet */ }
    }
    return "away";
  }
  return coming ??= waiting().finally(() => { coming = null; });
}

// Do `work` for each of `items`, some at a time, told in the progress box; what fails is named there. Where the server
// has forgotten all answers, it begins anew, if `anew`.
let running = null;
async function each(items, name, work, anew = false) {
  const box = document.getElementById("progress"), bar = box.querySelector("progress");
  const said = document.getElementById("said"), failures = document.getElementById("failures");
  const here = running = { stopped: false };
  const tried = new Set();
  let left = [...items], done = 0, failed = 0;
  const text = (pattern) => pattern.replace("{done}", done - failed * (pattern === said.dataset.ready))
    .replace("{of}", items.length).replace("{failed}", failed);
  failures.textContent = "";
  box.hidden = bar.hidden = false; bar.max = items.length; bar.value = 0;
  said.textContent = text(said.dataset.done);
  const stop = document.getElementById("stop");
  stop.hidden = false;
  async function worker() {
    while (left.length && !here.stopped) {
      const item = left.shift(), round = left;
      try { await work(item); } catch (error) {
        if (error instanceof TypeError && !tried.has(item)) {  // no answer at all
          said.textContent = said.dataset.away;
          const found = await back();
          if (found === "anew" && left === round) {  // the other worker has not begun anew yet
            left = anew ? [...items] : [];
            done = failed = 0;
            failures.textContent = "";
          }
          if (found === "same") { tried.add(item); left.unshift(item); }
          if (found === "away") here.stopped = true;
          else continue;
        }
        failed += 1;
        const line = document.createElement("li");
        const named = `${name(item)}: `, why = error.message.startsWith(named) ? error.message.slice(named.length) : error.message;
        const kind = error.kind && document.documentElement.lang !== "en" ? `${error.kind}: ` : "";
        line.textContent = named + kind + why;
        failures.append(line);
      }
      done += 1; bar.value = done;
      if (done < items.length) said.textContent = text(said.dataset.done);
      counted();
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  together();
  said.textContent = text(said.dataset.ready);
  stop.hidden = bar.hidden = true;
  if (running === here) running = null;
}

function send(files) {
  if (!form || running) return;
  let pictures = [...files].filter((file) => file.type.startsWith("image/") || /\.(jpe?g|jpe|jfif|png|webp|bmp|tiff?|hei[cf])$/i.test(file.name));
  if (!pictures.length) pictures = [...files].slice(0, 5);  // the server says what is wrong with them
  if (!pictures.length) return;
  pictures.sort((one, other) => (one.webkitRelativePath || one.name).localeCompare(other.webkitRelativePath || other.name, undefined, { numeric: true }));
  const together = form.elements.together.checked;
  const groups = together ? [pictures] : pictures.map((file) => [file]);
  const given = new FormData(form);
  given.delete("files");
  each(groups, (group) => group[0].name, async (group) => {
    const data = new FormData();
    for (const [name, value] of given) data.append(name, value);
    for (const file of group) data.append("files", file, file.name);
    const html = await part("/identify", { method: "POST", body: data });
    const made = document.createElement("template");
    made.innerHTML = html;
    list.prepend(made.content);
    results.hidden = false;
  }, true).then(() => {
    form.querySelector("#files").value = "";
    // Somebody who works by keyboard or ear goes on with the answers.
    if (document.activeElement === document.body || document.activeElement.id === "go") document.getElementById("results-title").focus();
  });
}

if (form) {
  document.getElementById("more-ways").hidden = false;
  const files = form.querySelector("#files");
  form.addEventListener("submit", (event) => {
    if (!files.files.length) return;
    event.preventDefault();
    send(files.files);
  });
  for (const button of form.querySelectorAll("[data-opens]")) {
    const input = document.getElementById(button.dataset.opens);
    button.addEventListener("click", () => input.click());
    input.addEventListener("change", () => { send(input.files); input.value = ""; });
  }
  document.getElementById("stop").addEventListener("click", () => { if (running) running.stopped = true; });
  document.addEventListener("paste", (event) => { if (event.clipboardData.files.length) { event.preventDefault(); send(event.clipboardData.files); } });
  const drop = document.getElementById("drop");
  for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => {
    if (event.dataTransfer.types.includes("Files")) { event.preventDefault(); drop.classList.add("over"); }
  });
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) drop.classList.remove("over"); });
  document.addEventListener("drop", async (event) => {
    if (!event.dataTransfer.types.includes("Files")) return;
    event.preventDefault();
    drop.classList.remove("over");
    send(await dropped(event.dataTransfer));
  });
  document.getElementById("again").addEventListener("click", () => {
    const data = new FormData(form);
    each([...list.children], (item) => item.querySelector(".file").textContent, async (item) => {
      const body = new FormData();
      for (const name of ["model", "checkpoint"]) body.append(name, data.get(name));
      replaced(item, await part(`/identify/${item.dataset.token}/again`, { method: "POST", body }));
    });
  });
}

// The files of what was dropped, folders and what is in them too.
async function dropped(data) {
  const entries = [...data.items].map((item) => item.webkitGetAsEntry && item.webkitGetAsEntry()).filter(Boolean);
  if (!entries.length) return [...data.files];
  const found = [];
  async function walk(entry) {
    if (entry.isFile) { found.push(await new Promise((give, fail) => entry.file(give, fail))); return; }
    const reader = entry.createReader();
    for (;;) {  // it gives a hundred at a time
      const some = await new Promise((give, fail) => reader.readEntries(give, fail));
      if (!some.length) break;
      for (const one of some) await walk(one);
    }
  }
  for (const entry of entries) await walk(entry);
  return found;
}

// Putting an answer right, without leaving the place.
document.addEventListener("submit", async (event) => {
  const correction = event.target.closest("form[data-part]");
  if (!correction) return;
  event.preventDefault();
  const item = correction.closest("li"), after = item.nextElementSibling, data = new FormData(correction, event.submitter);
  try {
    const made = replaced(item, await part(correction.action, { method: "POST", body: data }));
    counted();
    const next = (made || after)?.querySelector("h3") || document.getElementById(results.hidden ? "content" : "results-title");
    next.tabIndex = -1;
    next.focus();
  } catch (error) {
    const field = correction.querySelector("input, select, button");
    field.setCustomValidity(error.message);
    correction.reportValidity();
    setTimeout(() => field.setCustomValidity(""), 5000);
  }
});
counted();
