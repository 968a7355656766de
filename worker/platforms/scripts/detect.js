// One look at the page: which screen shows, by which rule, which popup lies over it, and what can be read. The first rule that
// matches wins; a rule matches when all its conditions hold. What people write in the chat belongs to no screen: a message
// "you were removed" removes nobody.
// In a meeting it reads who else is there, and what the chat says after the last line that was read. If the bot was let in
// (`request.inside`), it also says whether the call is still there behind text about its end.
({ rules: text, request }) => {
  /* finding.js */
  const rules = JSON.parse(text);
  const { readings } = rules;
  const page = survey([...rules.ignore, ...(readings.chat ? [readings.chat.each] : [])]);
  const [MOST_PEOPLE, MOST_LINES] = [500, 100];
  const [ID_CHARS, NAME_CHARS, TEXT_CHARS] = [128, 200, 4096];

  const isSite = /^https?:$/.test(location.protocol);
  const place = `${location.host}${location.pathname}${location.hash.split("?")[0]}`;
  const title = page.fold(document.title);

  function factsOf() {
    try {
      return (/* facts */ () => null)() ?? {};
    } catch {
      return {}; // the page's own data may have any form
    }
  }
  const facts = factsOf();

  const search = (pattern, where, otherwise) => page.attempt(pattern, (source) => new RegExp(source, "i").exec(where), otherwise);

  const matched = new Map();
  function shows(rule) {
    if (!matched.has(rule)) {
      matched.set(rule, false); // so that rules which exclude each other do not recurse
      matched.set(rule, isSo(rule));
    }
    return matched.get(rule);
  }

  function isSo({ within, visible = [], present = [], least = 1, text, text_not: others, says, label, absent, unless, title: titles, ...more }) {
    if (more.fact && !facts[more.fact]) return false;
    if (more.url && !(isSite && search(more.url, place, null))) return false;
    if (more.url_not && !(isSite && search(more.url_not, place, true) === null)) return false;
    if (titles && !titles.some((part) => title.includes(part))) return false;
    if (text && !page.mayHold(text)) return false;
    if (label && !page.mayHold(label)) return false;
    if (says && !page.mayHold(says)) return false;
    if (unless?.some((name) => rules.screen.some((other) => other.rule === name && shows(other)))) return false;
    if (absent?.some((selector) => page.telling(selector).some(page.isShown))) return false;
    const places = within ? rules.places[within] : [];
    const fits = (element) => {
      if (text && !page.holds(element, text)) return false;
      if (others && page.holds(element, others)) return false;
      if (label && !page.isCalled(element, label)) return false;
      if (says && !page.says(element, says)) return false;
      if (more.filled !== undefined && Boolean(element.value) !== more.filled) return false;
      if (!more.size) return true;
      const box = element.getBoundingClientRect();
      return box.width >= more.size[0] && box.height >= more.size[1] && box.right > 0 && box.bottom > 0;
    };
    if (visible.length || present.length || places.length) {
      const seen = (is) => (selector) => page.telling(selector).some((element) => is(element) && fits(element));
      const found = [...visible, ...places].filter(seen(page.isShown)).length;
      return found >= least || found + present.filter(seen(page.isLaidOut)).length >= least;
    }
    if (label && !page.telling(page.CONTROLS).some((element) => page.isShown(element) && page.isCalled(element, label))) {
      return false;
    }
    if (others && document.body && page.holds(document.body, others)) return false;
    return !text || Boolean(document.body) && page.holds(document.body, text);
  }

  // The text or attribute at "CSS@attribute" in an element; of several, the first that exists.
  function reader(where, chars, textOf = (element) => element.textContent) {
    const ways = (typeof where === "string" ? [where] : where ?? []).map((way) => {
      const [, selector, attribute] = /^(.*?)(?:@([\w-]+))?$/s.exec(way);
      return { selector, attribute };
    });
    return (element) => {
      for (const { selector, attribute } of ways) {
        const found = selector ? page.attempt(selector, (css) => (css === ":scope" ? element : element.querySelector(css)), null) : element;
        const text = (found && (attribute ? found.getAttribute(attribute) : textOf(found))) ?? "";
        if (text.trim()) return text.trim().slice(0, chars);
      }
      return "";
    };
  }

  // The pieces of text stay apart: the numbers of two neighbouring buttons are two numbers.
  function apart(element) {
    const pieces = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    const found = [];
    while (pieces.nextNode()) found.push(pieces.currentNode.data);
    return found.join(" ");
  }

  // The visible text or attribute at "CSS@attribute" on the page.
  function read(where, chars, textOf = (element) => element.textContent) {
    const [, selector, attribute] = /^(.*?)(?:@([\w-]+))?$/s.exec(where);
    const element = page.all(selector || "body").find(page.isLaidOut);
    return ((element && (attribute ? element.getAttribute(attribute) : textOf(element))) ?? "").trim().slice(0, chars);
  }

  const isOwn = (element, own) => Boolean(own) && page.attempt(own, (css) => element.matches(css), false);

  // A short hash of a text.
  function digest(text) {
    let hash = 2166136261;
    for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 16777619);
    return `${text.length}-${hash >>> 0}`;
  }

  // null: the page does not say.
  function count({ each, id, number, pattern, text, is, plus = 0 }) {
    if (text) return page.mayHold(text) && page.holds(document.body, text) ? is : null;
    if (number) {
      const digits = search(pattern ?? "(\\d+)", read(number, TEXT_CHARS, apart), null);
      return digits && Number(digits[1]) ? Number(digits[1]) + plus : null;
    }
    const elements = page.all(each);
    const there = id ? new Set(elements.map(reader(id, ID_CHARS)).filter(Boolean)).size : elements.length;
    return there ? there + plus : null;
  }

  function participants() {
    if (Number.isInteger(facts.participants)) return facts.participants;
    if (!readings.participants) return null;
    for (const way of readings.participants) {
      const there = count(way);
      if (there !== null) return there;
    }
    return null;
  }

  // null: the page shows nobody, not even the bot, because it is being redrawn; or nobody came or went since the last look.
  function people(others) {
    if (!others) return { people: null, people_key: "" };
    const key = digest(JSON.stringify(others));
    return { people: key === request.people_key ? null : others, people_key: key };
  }

  function others(ways) {
    const way = [ways].flat().find(({ each }) => page.all(each).length);
    if (!way) return null;
    const [idOf, nameOf] = [reader(way.id, ID_CHARS), reader(way.name, NAME_CHARS)];
    const elements = page.all(way.each).slice(0, MOST_PEOPLE + 1);
    const found = elements.map((element) => ({ id: idOf(element), name: nameOf(element) }));
    const ids = new Set(found.filter((_, place) => isOwn(elements[place], way.own)).map(({ id }) => id));
    if (!ids.size && request.own) {
      const itself = found.find(({ name }) => name === request.own || name.startsWith(`${request.own} (`));
      if (itself) ids.add(itself.id);
    }
    return found
      .filter((person) => person.id && !ids.has(person.id) && ids.add(person.id))
      .slice(0, MOST_PEOPLE);
  }

  const cut = (text, chars) => String(text ?? "").trim().slice(0, chars);

  const isBot = (name) => request.own !== "" && (name === request.own || name.startsWith(`${request.own} (`));

  // Who is marked as speaking, on or in a participant's element; the bot itself does not count.
  function speaker() {
    if (facts.speaker !== undefined) return String(facts.speaker ?? "");
    const ways = [readings.people ?? []].flat().filter(({ speaks }) => speaks);
    const marked = ways.flatMap(({ each, speaks, name, own }) =>
      page.all(each).filter((one) => page.isLaidOut(one) && !isOwn(one, own) && isMarked(one, speaks)).map(reader(name, NAME_CHARS)));
    const read_ = (readings.speaker ?? []).map((where) => read(where, NAME_CHARS));
    return [...read_, ...marked].find((name) => name && !isBot(name)) ?? "";
  }
  const isMarked = (element, mark) => page.attempt(mark, (css) => element.matches(css) || element.querySelector(css) !== null, false);

  function told(people) {
    return people.slice(0, MOST_PEOPLE).map(({ id, name }) => ({ id: cut(id, ID_CHARS), name: cut(name, NAME_CHARS) }));
  }

  function chat({ each, id, sender_id, sender_name, text, own }) {
    const idOf = reader(id, ID_CHARS);
    const latest = page.all(each).slice(-MOST_LINES);
    const seen = request.line ? latest.findLastIndex((element) => idOf(element) === request.line) : -1;
    const [senderIdOf, senderNameOf] = [reader(sender_id, ID_CHARS), reader(sender_name, NAME_CHARS)];
    const textOf = reader(text, TEXT_CHARS, (element) => element.innerText);
    return latest
      .slice(seen + 1)
      .map((element) => ({
        id: idOf(element),
        sender_id: senderIdOf(element),
        ...said(senderNameOf(element), textOf(element), isOwn(element, own)),
      }))
      .filter((line) => line.id);
  }

  // A message without the name and the time above it. Pages call the bot "You".
  function said(sender, text, own) {
    const rest = text.split("\n").map((line) => line.trim()).filter(Boolean);
    const isHead = (line) => line === sender || /^\d{1,2}[:.]\d{2}(\s?[AP]M)?$/i.test(line);
    let name = sender;
    if (!name && rest.length > 1) name = rest.shift();
    let cut = name !== sender;
    while (rest.length > 1 && isHead(rest[0])) {
      rest.shift();
      cut = true;
    }
    const isOwnLine = own || /^(you|me)$/i.test(name) || isBot(name);
    return { sender_name: name, text: cut ? rest.join("\n") : text, own: isOwnLine };
  }

  function heard(lines) {
    const latest = lines.slice(-MOST_LINES);
    return latest.slice(request.line ? latest.findLastIndex((line) => line.id === request.line) + 1 : 0).map((line) => ({
      id: cut(line.id, ID_CHARS),
      sender_id: cut(line.sender_id, ID_CHARS),
      sender_name: cut(line.sender_name, NAME_CHARS),
      text: cut(line.text, TEXT_CHARS),
      own: Boolean(line.own),
    }));
  }

  // A device switch of the bot that is on. Switches in lists and menus belong to others, whom a host may mute.
  const OTHERS = "ul, ol, table, [role=list], [role=listitem], [role=tree], [role=treeitem], [role=row], [role=menu]";
  const isDevice = (element) => page.isLaidOut(element) && !page.isOff(element) && !page.isInside(element, OTHERS);

  const LOBBY = new Set(["waiting_room", "waiting_for_host"]);
  const isChatClosed = () => !page.all(readings.chat.each).some(page.isLaidOut) &&
    !rules.chat.field.flatMap(page.meant).some(page.isLaidOut) && rules.chat.open.flatMap(page.meant).some(page.isLaidOut);

  // ---- whether the call itself is over ----

  const INSIDE = new Set(["in_meeting", "recording_denied"]);
  const TOLD_INSIDE = new Set(["removed", "ended", "left"]);
  const WHOLE = 0.8; // share of the window
  const MODAL = "[role=dialog], [role=alertdialog], dialog[open], [aria-modal=true]";
  // Elements with messages of people, also those that quote a message for a moment.
  const FEEDS = "[aria-live]:not([aria-live=off]), [role=log], [role=feed], [role=status], [role=alert], [class*=notification i], [class*=toast i], [class*=snackbar i], ul, ol, [role=list], [role=tree]";
  const FIELDS = "textarea, [contenteditable=true], [role=textbox], input:not([type=checkbox], [type=radio], [type=button], [type=submit], [type=hidden])";

  const takesAnswers = (element) => [...element.querySelectorAll(FIELDS)].some(page.isShown);

  // Whether the page itself says it, and no participant: in a dialog without a text field, or as its heading.
  function isOfThePage({ within, visible = [], text, says }) {
    const places = within ? rules.places[within] : [];
    const saying = [...visible, ...places].flatMap(page.telling).filter(
      (element) => page.isShown(element) && (!text || page.holds(element, text)) && (!says || page.says(element, says)),
    );
    return saying.some((element) => {
      if (page.isInside(element, FEEDS)) return false;
      const speaker = element.closest(MODAL) ?? element;
      const speaks = speaker.matches(`${MODAL}, h1, h2`) || within === "dialog";
      return speaks && !takesAnswers(speaker);
    });
  }

  // Whether an element lies over all buttons of the call, and says that.
  function isCovered(buttons, { text, says }) {
    let tried = 0;
    for (const button of buttons) {
      const box = button.getBoundingClientRect();
      let over = button.getRootNode().elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
      if (!over) continue; // out of sight
      if (button.contains(over) || over.contains(button)) return false;
      while (over.parentElement && !over.parentElement.contains(button)) over = over.parentElement;
      const { width, height } = over.getBoundingClientRect();
      if (width < innerWidth * WHOLE || height < innerHeight * WHOLE) return false;
      if (over.matches(FEEDS) || over.querySelector(FEEDS) || takesAnswers(over)) return false;
      if ((text && !page.holds(over, text)) || (says && !page.says(over, says))) return false;
      tried += 1;
    }
    return tried > 0;
  }

  // "": no call. "free": the call is there, and the text may be a participant's. "under": the call is there, and the page
  // itself shows the text over it.
  function behind(rule) {
    const calls = rules.screen.filter((other) => INSIDE.has(other.name) && shows(other));
    if (!calls.length) return "";
    const buttons = calls.flatMap(({ visible = [], present = [] }) => [...visible, ...present])
      .flatMap(page.all).filter((element) => element.matches(page.CONTROLS) && page.isLaidOut(element));
    return isOfThePage(rule) || isCovered(buttons, rule) ? "under" : "free";
  }

  const OFFERS = ["rejoin", "rejoinnow", "rejoinmeeting", "rejointhemeeting", "rejoincall", "joinagain", "returntohomescreen",
    "returntohome", "backtohome", "backtohomescreen", "gotohomepage", "returntohomepage", "startanewmeeting", "newmeeting"];
  // Whether a page without a call says that it is in none, or offers to join again.
  const isOver = () => (Boolean(facts.parted) && request.document === performance.timeOrigin) ||
    (page.mayHold(OFFERS) && page.all(page.CONTROLS).some((element) => page.isShown(element) && page.isCalled(element, OFFERS)));

  const ROOMS = ["breakout", "mainsession", "mainroom", "mainmeeting", "movingyou", "beingmoved", "aspanelist", "asapanelist",
    "asanattendee", "joiningtheroom", "joiningroom", "returningtothemeeting"];
  // Whether an unknown page is on the way to another room of the same meeting: it says so, or it is at another address of
  // the platform.
  const isAway = () => request.inside === true && isSite &&
    ((request.place !== "" && request.place !== where) || (page.mayHold(ROOMS) && page.holds(document.body, ROOMS)));

  // The counters of media.js.
  function media() {
    const { poolmgrMedia } = globalThis;
    return poolmgrMedia?.read?.() ?? { audio_packets: poolmgrMedia?.audioPackets?.() ?? 0 };
  }

  const BROKEN = { name: "failed", rule: "browser-error-page" };
  const found = location.protocol === "chrome-error:" ? BROKEN : rules.screen.find(shows);
  const loading = document.readyState !== "complete" || location.href === "about:blank";
  const where = digest(`${location.host}${location.pathname}`);
  const screen = (request.inside && found?.inside) || (found?.name ?? (isAway() ? "breakout" : loading ? "loading" : page.isEmpty() ? "blank" : "unknown"));
  const received = media();
  const mayBeIn = request.inside || TOLD_INSIDE.has(screen) || received.audio_packets > 0;
  const call = found && mayBeIn && !INSIDE.has(screen) ? behind(found) : "";
  const over = rules.popup.find(
    (popup) => (!popup.on || popup.on.includes(screen)) && shows(popup) && popup.click.some((target) => target.press || page.meant(target).some(page.isShown)),
  );
  const isIn = INSIDE.has(screen) || call !== "";
  const there = !isIn ? null : facts.people ? told(facts.people) : readings.people ? others(readings.people) : null;
  const lines = !isIn ? [] : Array.isArray(facts.lines) ? heard(facts.lines) : readings.chat ? chat(readings.chat) : [];
  return {
    screen,
    rule: found?.rule ?? "",
    holds_s: found?.holds_s ?? 0,
    again_s: found?.again_s ?? 0,
    popup: over?.rule ?? "",
    no_exit: LOBBY.has(screen) && !rules.exits.flatMap(page.meant).some(page.isShown),
    chat_closed: screen === "in_meeting" && !Array.isArray(facts.lines) && Boolean(readings.chat) && isChatClosed(),
    sends: screen === "in_meeting" && rules.devices.flatMap(page.meant).some(isDevice),
    document: performance.timeOrigin,
    behind: call,
    asks: request.inside === true && screen === "unknown" && page.all(page.CONTROLS).some(page.isShown),
    place: isSite ? where : "",
    over: request.inside === true && screen === "unknown" && isOver(),
    participants: participants(),
    speaker: isIn ? speaker().slice(0, NAME_CHARS) : "",
    ...received,
    ...(isIn && (facts.people || readings.people) ? people(there) : {}),
    lines,
    bad: [...page.bad],
  };
}
