// What every page shares. Each page works without scripts; a page's own script is a file beside this one.
"use strict";

// A part of the page, asked for as forms and links ask for whole ones. Throws what the server says is wrong.
async function part(address, options = {}) {
  const answer = await fetch(address, { ...options, headers: { "x-part": "1", ...options.headers } });
  if (answer.status === 429) {  // the server counts what an address asks for in a minute
    await new Promise((go) => setTimeout(go, 1000 * (answer.headers.get("retry-after") || 5)));
    return part(address, options);
  }
  if (answer.status === 401 || new URL(answer.url).pathname === "/enter") {  // the server was started anew meanwhile
    location.href = "/enter";
    return new Promise(() => {});
  }
  if (!answer.ok) {
    let said = { detail: `${answer.status}` };
    try { said = await answer.json(); } catch { /* no JSON */ }
    throw Object.assign(new Error(said.detail), { kind: said.kind });
  }
  return answer.text();
}

// Put HTML that this server made in the place of an element; gives the new one, if any.
function replaced(element, html) {
  const made = document.createElement("template");
  made.innerHTML = html;
  const first = made.content.firstElementChild;
  element.replaceWith(made.content);
  return first;
}

// <a data-load href="..."> is replaced by what is there, within the element around it; with data-soon, which says that
// the server is still at it, again by itself.
async function load(link) {
  const place = link.parentElement;
  link.setAttribute("aria-busy", "true");
  try {
    place.innerHTML = await part(link.href);
  } catch (error) { location.href = link.href; return; }
  const soon = place.querySelector("a[data-soon]");
  if (soon) setTimeout(() => { if (soon.isConnected) load(soon); }, 2000);
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-load]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  link.parentElement.tabIndex = -1;
  link.parentElement.focus();
  load(link);
});
