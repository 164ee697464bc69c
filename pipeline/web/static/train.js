// The usual values follow the choices that were made.
"use strict";
const form = document.getElementById("training");
async function usual() {
  const asked = new URLSearchParams([...new FormData(form)].filter(([key, value]) => key !== "by" && value));
  const answer = await fetch(`/train/defaults?${asked}`);
  if (!answer.ok) return;
  for (const [key, value] of Object.entries(await answer.json())) {
    const field = document.getElementById(key);
    if (field instanceof HTMLInputElement) field.placeholder = value;
    else if (field?.dataset.choice !== undefined && key !== "model") field.options[0].text = field.options[0].text.replace(/: .*$|$/, `: ${value}`);
  }
}
form?.addEventListener("change", (event) => { if (event.target.dataset.choice !== undefined) usual(); });
