// The part of the page that changes is asked for anew whenever the training has news.
"use strict";
const live = document.getElementById("live"), status = document.getElementById("status");
let busy = false, again = false;
async function renew() {
  if (busy) { again = true; return; }
  busy = true;
  try {
    show(await part(live.dataset.part));
  } catch { /* the server is away: the next event comes when it is back */ }
  busy = false;
  if (again) { again = false; renew(); }
}
function show(html) {
  const open = [...live.querySelectorAll("details[open]")].map((one) => one.id), focused = document.activeElement?.id;
  const log = live.querySelector(".log"), atEnd = !log || log.scrollHeight - log.scrollTop - log.clientHeight < 40, top = log?.scrollTop;
  live.innerHTML = html;
  for (const id of open) document.getElementById(id)?.setAttribute("open", "");
  if (focused) live.querySelector(`#${CSS.escape(focused)}`)?.focus();
  const renewed = live.querySelector(".log");
  if (renewed) renewed.scrollTop = atEnd ? renewed.scrollHeight : top;
  const said = live.querySelector("[data-status]").textContent.replace(/\s+/g, " ").trim();
  if (status.textContent !== said) status.textContent = said;
}
const events = new EventSource(live.dataset.events);
events.addEventListener("training", renew);
events.addEventListener("over", () => events.close());  // the news before it was the last
events.addEventListener("error", () => { if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 10000); });
