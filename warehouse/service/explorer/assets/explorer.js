// Replaces the page in place: the counts change at once, the address with them, and the focus stays where it was.
// Without this script every link and form works as well.
"use strict";

let latest = 0;

async function swap(address, { push = true } = {}) {
  const mine = ++latest;
  const page = document.getElementById("page");
  page.setAttribute("aria-busy", "true");
  const key = document.activeElement?.dataset?.key;
  let response;
  let text;
  try {
    response = await fetch(address, { headers: { Accept: "text/html" }, credentials: "same-origin" });
    text = await response.text();
  } catch {
    if (mine === latest) {
      warn(page, "The server cannot be reached. Is it still running?");
    }
    return;
  }
  if (mine !== latest) return;
  const found = response.status === 401 ? null : new DOMParser().parseFromString(text, "text/html");
  const fresh = found?.getElementById("page");
  if (!fresh) {
    const unknown = "The server does not know you any more: it was started anew, or your token has expired. Open the address that it prints.";
    warn(page, response.status === 401 ? unknown : `The server cannot show this now (error ${response.status}). Try again.`);
    return;
  }
  const open = [...page.querySelectorAll("section[id]")].filter((each) => each.querySelector("details[open]")).map((each) => each.id);
  page.replaceWith(fresh);
  for (const id of open) fresh.querySelector(`#${id} details`)?.setAttribute("open", "");
  document.title = found.title;
  if (push) history.pushState(null, "", response.url);
  if (key) fresh.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
  watch(fresh);
  say(fresh.querySelector("h1")?.textContent ?? "");
}

function say(words) {
  document.getElementById("status").textContent = words;
}

// What went wrong, above the page that stays as it was.
function warn(page, words) {
  page.removeAttribute("aria-busy");
  page.querySelector(".banner")?.remove();
  const banner = document.createElement("p");
  banner.className = "banner";
  banner.setAttribute("role", "alert");
  banner.textContent = words;
  page.prepend(banner);
}

function toAddress(form) {
  const given = new URLSearchParams();
  for (const [name, value] of new FormData(form)) given.append(name, value);
  return `${form.getAttribute("action")}?${given}`;
}

function watch(page) {
  if (page.dataset.again) {
    // The lake is still being read: ask again, unless somebody has gone to another page meanwhile.
    setTimeout(() => page.isConnected && swap(window.location.href, { push: false }), Number(page.dataset.again));
  }
  for (const picture of page.querySelectorAll("img")) {
    if (picture.complete && picture.naturalWidth) picture.classList.add("loaded");
    picture.addEventListener("load", () => picture.classList.add("loaded"));
    picture.addEventListener("error", () => explain(picture), { once: true });
  }
}

// What the server said instead of a picture, in words.
async function explain(picture) {
  const note = document.createElement("span");
  note.className = "missing";
  note.textContent = "No picture";
  if (picture.hasAttribute("data-picture")) {
    const response = await fetch(picture.src);
    const problem = response.ok ? {} : await response.json().catch(() => ({}));
    note.textContent = problem.detail || "It cannot be drawn.";
  }
  picture.replaceWith(note);
}

document.addEventListener("click", (event) => {
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    copyText(document.getElementById(copy.dataset.copy).textContent, copy);
    return;
  }
  const link = event.target.closest("a[data-swap]");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  link.focus({ preventScroll: true });
  swap(link.getAttribute("href"));
});

async function copyText(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(document.getElementById(button.dataset.copy));
    say("Selected: press Ctrl+C.");
    button.textContent = "Selected: press Ctrl+C";
  }
}

// A list of facets is walked with the arrow keys, and a value chosen with the space bar, as a check box is.
document.addEventListener("keydown", (event) => {
  const value = event.target.closest?.("a.value, a.column");
  if (!value) return;
  if (event.key === " ") {
    event.preventDefault();
    value.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
    return;
  }
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  const all = [...value.closest("section").querySelectorAll("a.value, a.column")].filter((each) => each.getClientRects().length);
  const next = all[all.indexOf(value) + step];
  if (next) {
    event.preventDefault();
    next.focus();
  }
});

// While a year is typed it is one of the first centuries, which is before the least that the field takes.
document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (form && event.target.checkValidity()) swap(toAddress(form));
});

document.addEventListener("submit", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (!form) return;
  event.preventDefault();
  swap(toAddress(form));
});

document.addEventListener("input", (event) => {
  if (!event.target.matches("[data-slider]")) return;
  const day = document.getElementById("days").children[Number(event.target.value)];
  document.getElementById("day-shown").textContent = day.dataset.day;
  event.target.setAttribute("aria-valuetext", day.dataset.day);
  swap(day.dataset.address);
});

window.addEventListener("popstate", () => swap(window.location.href, { push: false }));
watch(document.getElementById("page"));
