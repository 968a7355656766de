// One look at the page: which screen shows, by which rule, and what can be read off it. The first rule that matches
// wins. A rule matches when one of its selectors finds a visible element and, if it names texts, one of them is in it.
// What people write in the chat is no part of any screen: a message that says "you were removed" removes nobody.
// In a meeting it reads who else is there, and what the chat says after the line that is known.
({ rules, known }) => {
  const [MOST_PEOPLE, MOST_LINES] = [500, 100];
  const [ID_CHARS, NAME_CHARS, TEXT_CHARS] = [128, 200, 4096];

  const visible = (element) => element.checkVisibility({ visibilityProperty: true });
  const plain = (text) => text.replaceAll("’", "'");

  const line = rules.readings.chat?.each;

  function says(element, texts) {
    return texts.some((part) => plain(element.innerText).includes(plain(part))) && !(line && element.querySelector(line));
  }

  function shows({ visible: selectors, text }) {
    return selectors.some((selector) =>
      [...document.querySelectorAll(selector)].some(
        (element) => visible(element) && !(line && element.closest(line)) && (!text.length || says(element, text)),
      ),
    );
  }

  // From an element to what stands at "CSS@attribute" in it.
  function reader(where, chars, textOf = (element) => element.textContent) {
    if (!where) return () => "";
    const [, selector, attribute] = /^(.*?)(?:@([\w-]+))?$/s.exec(where);
    return (element) => {
      const found = selector ? element.querySelector(selector) : element;
      const text = found && (attribute ? found.getAttribute(attribute) : textOf(found));
      return (text ?? "").trim().slice(0, chars);
    };
  }

  const isOwn = (element, own) => Boolean(own) && element.matches(own);

  // A few characters that change with the text.
  function digest(text) {
    let hash = 2166136261;
    for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619);
    return `${text.length}-${hash >>> 0}`;
  }

  // null when the page shows nobody, not even the bot, as while it is being redrawn; or when all are known.
  function people({ each, id, name, own }) {
    const [idOf, nameOf] = [reader(id, ID_CHARS), reader(name, NAME_CHARS)];
    const found = [...document.querySelectorAll(each)].slice(0, MOST_PEOPLE + 1);
    if (!found.length) return { people: null, people_key: "" };
    const others = found
      .filter((element) => !isOwn(element, own))
      .slice(0, MOST_PEOPLE)
      .map((element) => ({ id: idOf(element), name: nameOf(element) }))
      .filter((person) => person.id);
    const key = digest(JSON.stringify(others));
    return { people: key === known.people_key ? null : others, people_key: key };
  }

  function chat({ each, id, sender_id, sender_name, text, own }) {
    const idOf = reader(id, ID_CHARS);
    const latest = [...document.querySelectorAll(each)].slice(-MOST_LINES);
    const seen = known.line ? latest.findLastIndex((element) => idOf(element) === known.line) : -1;
    const [senderIdOf, senderNameOf] = [reader(sender_id, ID_CHARS), reader(sender_name, NAME_CHARS)];
    const textOf = reader(text, TEXT_CHARS, (element) => element.innerText);
    return latest
      .slice(seen + 1)
      .map((element) => ({
        id: idOf(element),
        sender_id: senderIdOf(element),
        sender_name: senderNameOf(element),
        text: textOf(element),
        own: isOwn(element, own),
      }))
      .filter((line) => line.id);
  }

  const found = rules.screen.find(shows);
  const loading = document.readyState !== "complete" || location.href === "about:blank";
  const isIn = found?.name === "in_meeting";
  return {
    screen: found ? found.name : loading ? "loading" : "unknown",
    rule: found ? found.rule : "",
    participants: rules.readings.participants ? document.querySelectorAll(rules.readings.participants).length : null,
    audio_packets: globalThis.poolmgrMedia ? globalThis.poolmgrMedia.audioPackets() : 0,
    ...(isIn && rules.readings.people ? people(rules.readings.people) : {}),
    lines: isIn && rules.readings.chat ? chat(rules.readings.chat) : [],
  };
}
