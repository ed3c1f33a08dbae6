// Loads the page again when there is a newer one: a server is not needed, so it looks at a script.

const LIVE_EVERY = 2000; // milliseconds
const liveBar = document.querySelector(".live");

// Called by live/version.js.
function grokjaxVersion(version) {
  const paused = liveBar.querySelector(".pause").checked;
  if (version !== liveBar.dataset.version && !paused && !document.hidden) location.reload();
}

setInterval(() => {
  const script = document.createElement("script");
  script.src = `live/version.js?${Date.now()}`;
  script.onload = script.onerror = () => script.remove();
  document.head.append(script);
}, LIVE_EVERY);
