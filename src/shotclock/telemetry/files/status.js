// Fetches the page again and replaces what has changed: scroll position, focus and selection stay.
(() => {
  const everyMs = 2000, patienceMs = 10000;
  const pause = document.getElementById("pause"), stale = document.getElementById("stale");
  let paused = false;
  const mark = isStale => {
    stale.hidden = !isStale;
    document.body.classList.toggle("stale", isStale);
  };
  const update = async () => {
    try {
      const reply = await fetch(location.href, {
        headers: {accept: "text/html"}, cache: "no-store", signal: AbortSignal.timeout(patienceMs),
      });
      if (!reply.ok) throw new Error(reply.statusText);
      const text = await reply.text();
      // without the head, whose style has another nonce
      const next = new DOMParser().parseFromString(text.slice(text.indexOf("<body")), "text/html");
      for (const part of next.querySelectorAll("[data-part]")) {
        const present = document.getElementById(part.id);
        if (present.innerHTML === part.innerHTML) continue;
        present.replaceChildren(...[...part.childNodes].map(node => document.adoptNode(node)));
      }
      document.body.className = next.body.className;
      document.title = next.querySelector("h1").textContent;
      document.querySelector("link[rel=icon]").href = next.body.dataset.icon;
      mark(false);
    } catch {
      mark(true);
    }
  };
  const repeat = async () => {
    if (!paused && !document.hidden) await update();
    setTimeout(repeat, everyMs);
  };
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume updates" : "Pause updates";
  });
  setTimeout(repeat, everyMs);
})();
