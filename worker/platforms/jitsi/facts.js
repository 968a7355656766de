// What Jitsi's own program knows of the meeting: the `facts` of screens.toml.
() => {
  // While the program starts, these calls throw or return promises: then the answer is undefined.
  const ask = (what) => {
    try {
      const answer = what();
      return typeof answer?.then === "function" ? undefined : answer;
    } catch {
      return undefined;
    }
  };
  const APP = ask(() => globalThis.APP);
  const conference = ask(() => APP.conference);
  const state = ask(() => APP.store.getState()) ?? {};
  const room = ask(() => conference._room);
  const [isIn, isInRoom] = [ask(() => conference.isJoined()), ask(() => room.isJoined())];
  const joined = isIn === true || isInRoom === true;
  const base = state["features/base/conference"] ?? {};
  const lobby = state["features/lobby"] ?? {};
  const parted = !joined && isIn === false;
  const isJitsi = APP ?? globalThis.JitsiMeetJS ?? globalThis.interfaceConfig ?? document.querySelector("#react");
  const elsewhere = !isJitsi && !location.hash.includes("config.") && document.readyState === "complete";
  const facts = { joined, parted, elsewhere, knocking: !joined && Boolean(lobby.knocking), members_only: !joined && Boolean(base.membersOnly) };
  const there = joined && ask(() => room.getParticipants());
  if (!Array.isArray(there)) return facts;
  const others = there.filter((person) => !person.isHidden?.());
  const nameOf = (person) => person.getDisplayName?.() ?? "";
  facts.participants = others.length + 1;
  facts.people = others.map((person) => ({ id: person.getId(), name: nameOf(person) }));
  const speaker = state["features/base/participants"]?.dominantSpeaker;
  facts.speaker = nameOf(others.find((person) => person.getId() === speaker) ?? {});
  const messages = state["features/chat"]?.messages;
  if (messages) {
    const lines = messages
      .filter((line) => line.messageType === "local" || line.messageType === "remote")
      .sort((a, b) => a.timestamp - b.timestamp);
    facts.lines = lines.map((line) => ({
      id: String(line.messageId ?? `${line.participantId ?? line.id}-${line.timestamp}`),
      sender_id: String(line.participantId ?? line.id ?? ""),
      sender_name: line.displayName ?? "",
      text: line.message,
      own: line.messageType === "local",
    }));
  }
  return facts;
}
