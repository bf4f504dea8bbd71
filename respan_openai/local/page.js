// Keeps #live up to date: soon while calls run, ever more rarely while nothing happens, not at all while nobody looks.
(() => {
  "use strict";
  const SOONEST = 1000, LATEST = 15000; // milliseconds
  const note = document.getElementById("note");
  let wait = SOONEST, timer;

  const live = () => document.getElementById("live");
  const state = () => live()?.dataset.live ?? "never";

  function replace(found) {
    const old = live();
    if (!found || found.outerHTML === old.outerHTML) return false;
    const selection = getSelection();
    if (!selection.isCollapsed && old.contains(selection.anchorNode)) return false; // somebody is copying
    const focused = document.activeElement?.id;
    for (const part of old.querySelectorAll("details[id]")) {
      found.querySelector("#" + part.id)?.toggleAttribute("open", part.open);
    }
    old.replaceWith(found);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    return true;
  }

  async function refresh() {
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
      const changed = replace(found);
      wait = changed || state() === "now" ? SOONEST : Math.min(wait * 2, LATEST);
      note.textContent = "";
    } catch {
      wait = Math.min(wait * 2, LATEST);
      note.textContent = "The gateway does not answer; trying again.";
    }
    plan();
  }

  function plan() {
    clearTimeout(timer);
    if (state() !== "never" && !document.hidden) timer = setTimeout(refresh, wait);
  }

  document.addEventListener("visibilitychange", () => { wait = SOONEST; plan(); });
  plan();
})();
