// One look at the page: which screen shows, by which rule, and what can be read off it. The first rule that matches
// wins. A rule matches when one of its selectors finds a visible element and, if it names texts, one of them is in it.
(rules) => {
  const visible = (element) => element.checkVisibility({ visibilityProperty: true });
  const plain = (text) => text.replaceAll("’", "'");

  function shows({ visible: selectors, text }) {
    return selectors.some((selector) =>
      [...document.querySelectorAll(selector)].some(
        (element) => visible(element) && (!text.length || text.some((part) => plain(element.innerText).includes(plain(part)))),
      ),
    );
  }

  const found = rules.screen.find(shows);
  const loading = document.readyState !== "complete" || location.href === "about:blank";
  return {
    screen: found ? found.name : loading ? "loading" : "unknown",
    rule: found ? found.rule : "",
    participants: rules.readings.participants ? document.querySelectorAll(rules.readings.participants).length : null,
    audio_packets: globalThis.poolmgrMedia ? globalThis.poolmgrMedia.audioPackets() : 0,
  };
}
