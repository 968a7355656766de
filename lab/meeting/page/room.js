// The meeting in the browser: shows one section at a time, speaks the protocol that lab/meeting/server.py documents,
// and holds one RTCPeerConnection to each participant with whom there is media to exchange.
// It keeps no truth of its own: every list is drawn from the room's last snapshot. It asks for no device the
// person has not ticked, and reaches no server but the room's (no STUN, no TURN: host candidates only).

const END_SENTENCES = {
  denied: "The host did not let you in",
  removed: "You were removed from the meeting",
  ended: "The host ended the meeting for everyone",
  left: "You left the meeting",
  full: "The meeting is full",
  lost: "Connection lost",
};
// Small enough for a mesh of many browsers on few cores.
const CAMERA = { width: 320, height: 180, frameRate: 15 };

const MOST_LINES = 200; // of the chat
const SPEAKING_LEVEL = 0.01; // of full scale: -40 dBFS
const SPEAKING_MS = 300; // how often it is looked for

const query = new URLSearchParams(location.search);
const isHost = document.body.dataset.role === "host";
const $ = (id) => document.getElementById(id);

let socket = null;
let myId = "";
let own = new MediaStream();
const peers = new Map(); // participant id -> { connection, last: the negotiation step under way, heardAt }

// ---- screens ----

function show(sectionId) {
  if (!$(sectionId).hidden) return;
  for (const section of document.querySelectorAll("main > section")) section.hidden = section.id !== sectionId;
  $(sectionId).focus(); // the keyboard focus moves here, so that a screen reader reads the new section
}

function end(reason) {
  if (!$("end-screen").hidden) return;
  for (const id of [...peers.keys()]) disconnect(id);
  for (const track of own.getTracks()) track.stop();
  if (socket) {
    socket.onmessage = null; // a snapshot that is still on its way must not show the meeting again
    socket.close();
  }
  $("end-screen").dataset.end = reason;
  $("end-sentence").textContent = END_SENTENCES[reason];
  show("end-screen");
}

// ---- joining ----

async function join() {
  $("join").disabled = true;
  const [name, microphone, camera] = [$("name").value, $("microphone").checked, $("camera").checked];
  if (microphone || camera) own = await openDevices(microphone, camera);

  const address = new URL(`${location.pathname}/ws`, location.href);
  address.protocol = location.protocol.replace("http", "ws");
  if (isHost) address.searchParams.set("host", query.get("host"));
  socket = new WebSocket(address);
  socket.onopen = () => {
    say("join", { name, microphone: sends(own, "audio"), camera: sends(own, "video") });
    if (isHost && query.has("auto-admit")) say("auto_admit", { on: query.get("auto-admit") === "1" });
  };
  socket.onmessage = ({ data }) => hear(JSON.parse(data));
  socket.onclose = () => end("lost");
}

async function openDevices(microphone, camera) {
  // A machine without a camera can still send sound: missing devices are left out, and the page says so.
  const wishes = [{ audio: microphone, video: camera && CAMERA }];
  if (microphone && camera) wishes.push({ audio: true }, { video: CAMERA });
  let trouble = "the browser gives devices only to localhost and https pages";
  for (const wish of navigator.mediaDevices ? wishes : []) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia(wish);
      if (wish !== wishes[0]) tell(`Joined without ${wish.audio ? "camera" : "microphone"}: ${trouble}`);
      return stream;
    } catch (error) {
      trouble = error.message;
    }
  }
  tell(`Joined without microphone and camera: ${trouble}`);
  return new MediaStream();
}

function tell(trouble) {
  $("media-trouble").textContent = trouble;
  $("media-trouble").hidden = false;
}

function sends(stream, kind) {
  return stream.getTracks().some((track) => track.kind === kind);
}

// ---- the room ----

function say(type, fields = {}) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ type, ...fields }));
}

function hear(message) {
  if (message.type === "waiting") show("waiting-room");
  else if (message.type === "meeting") meet(message);
  else if (message.type === "signal") follow(message.from, message.data);
  else if (message.type === "said") read(message);
  else if (message.type === "end") end(message.reason);
  else if (message.type === "error") console.warn(message.message);
}

function meet({ you, participants, lobby, auto_admit: autoAdmit }) {
  myId = you;
  const others = participants.filter(({ id }) => id !== you);
  const mine = participants.findIndex(({ id }) => id === you);
  draw($("tiles"), participants, newTile);
  draw($("participants"), participants, newParticipant);
  $("participant-count").textContent = participants.length;
  if (lobby) {
    draw($("lobby"), lobby, newGuest);
    $("waiting-count").textContent = lobby.length || "";
    $("auto-admit").checked = autoAdmit;
  }
  show("in-meeting");

  for (const id of [...peers.keys()]) if (!others.some((other) => other.id === id)) disconnect(id);
  participants.forEach((other, place) => {
    const media = participants[mine].microphone || participants[mine].camera || other.microphone || other.camera;
    if (other.id !== you && media && !peers.has(other.id)) connect(other, place < mine);
  });

  function newTile(person) {
    const tile = element("article", { className: "tile" });
    const video = element("video", { autoplay: true, playsInline: true, muted: person.id === you });
    tile.toggleAttribute("data-camera", person.camera);
    video.srcObject = person.id === you ? own : new MediaStream();
    tile.append(element("span", { className: "initials", textContent: initials(person.name) }), video);
    tile.append(element("span", { className: "label", dir: "auto", textContent: person.name }));
    return tile;
  }

  function newParticipant(person) {
    const item = element("li");
    item.dataset.participantId = person.id;
    item.toggleAttribute("data-self", person.id === you);
    const facts = [person.id === you && "you", person.host && "host", !person.microphone && "listening"];
    item.append(who(person.name, facts.filter(Boolean).join(", ")));
    if (isHost && person.id !== you) item.append(action("Remove", "remove", person, "danger"));
    return item;
  }

  function newGuest(person) {
    const item = element("li");
    item.dataset.guestId = person.id;
    item.append(who(person.name), action("Admit", "admit", person, "primary"), action("Deny", "deny", person));
    return item;
  }
}

function read({ id, from, name, text }) {
  const chat = $("chat");
  const line = element("li");
  Object.assign(line.dataset, { chatId: id, senderId: from });
  line.toggleAttribute("data-self", from === myId);
  line.append(element("span", { className: "name", dir: "auto", textContent: name }));
  line.append(element("span", { className: "text", dir: "auto", textContent: text }));
  chat.append(line);
  if (chat.children.length > MOST_LINES) chat.firstElementChild.remove();
  chat.scrollTop = chat.scrollHeight;
}

// ---- drawing ----

function element(tag, properties = {}) {
  return Object.assign(document.createElement(tag), properties);
}

function who(name, facts) {
  const box = element("span", { className: "who" });
  box.append(element("span", { className: "name", dir: "auto", textContent: name }));
  if (facts) box.append(element("small", { textContent: facts }));
  return box;
}

function action(label, request, person, className = "") {
  const button = element("button", { type: "button", textContent: label, className });
  button.setAttribute("aria-label", `${label} ${person.name}`);
  button.onclick = () => say(request, { id: person.id });
  return button;
}

function initials(name) {
  return name.split(" ").slice(0, 2).map((word) => [...word][0]).join("").toUpperCase();
}

// A participant never changes, so a child that stays is left alone: its video plays on, its button keeps the focus.
function draw(list, people, create) {
  const old = new Map([...list.children].map((child) => [child.dataset.key, child]));
  for (const person of people) {
    const child = old.get(person.id) ?? create(person);
    child.dataset.key = person.id;
    if (!old.delete(person.id)) list.append(child);
  }
  for (const child of old.values()) {
    const hadFocus = child.contains(document.activeElement);
    child.remove();
    if (hadFocus) list.focus();
  }
}

function videoOf(id) {
  return $("tiles").querySelector(`[data-key="${CSS.escape(id)}"] video`);
}

// ---- media ----

// Of two participants the one who came later offers, always, so that offers never cross.
function connect(other, offering) {
  const connection = new RTCPeerConnection();
  const peer = { connection, last: Promise.resolve() };
  peers.set(other.id, peer);

  connection.onicecandidate = ({ candidate }) => candidate && signal(other.id, { candidate });
  connection.ontrack = ({ track }) => {
    const video = videoOf(other.id);
    video.srcObject.addTrack(track);
    video.play().catch((error) => {
      if (error.name === "NotAllowedError") $("sound").hidden = false;
    });
  };
  if (!offering) return;

  connection.onnegotiationneeded = () => inTurn(peer, async () => {
    await connection.setLocalDescription(inStereo(await connection.createOffer()));
    signal(other.id, { description: connection.localDescription });
  });
  connection.onconnectionstatechange = () => connection.connectionState === "failed" && connection.restartIce();
  for (const [kind, receives] of [["audio", other.microphone], ["video", other.camera]]) {
    const [track] = own.getTracks().filter((candidate) => candidate.kind === kind);
    if (track) connection.addTransceiver(track, { direction: receives ? "sendrecv" : "sendonly", streams: [own] });
    else if (receives) connection.addTransceiver(kind, { direction: "recvonly" });
  }
}

function disconnect(id) {
  peers.get(id).connection.close();
  peers.delete(id);
}

// Who speaks is marked in the list and on the tile, by the level of the last packet, if it is a new one.
function markWhoSpeaks() {
  for (const [id, peer] of peers) {
    const receivers = peer.connection.getReceivers().filter(({ track }) => track.kind === "audio");
    const [{ audioLevel = 0, timestamp = 0 } = {}] = receivers.flatMap((receiver) => receiver.getSynchronizationSources());
    const speaks = audioLevel >= SPEAKING_LEVEL && timestamp !== peer.heardAt;
    peer.heardAt = timestamp;
    for (const list of ["participants", "tiles"]) {
      $(list).querySelector(`[data-key="${CSS.escape(id)}"]`)?.toggleAttribute("data-speaking", speaks);
    }
  }
}
setInterval(markWhoSpeaks, SPEAKING_MS);

function signal(to, data) {
  say("signal", { to, data });
}

function follow(from, { description, candidate }) {
  const peer = peers.get(from);
  if (!peer) return;
  const { connection } = peer;
  inTurn(peer, async () => {
    if (candidate) return connection.addIceCandidate(candidate);
    await connection.setRemoteDescription(description);
    if (description.type !== "offer") return;
    const sending = connection.getSenders().map((sender) => sender.track);
    for (const track of own.getTracks()) if (!sending.includes(track)) connection.addTrack(track, own);
    await connection.setLocalDescription(inStereo(await connection.createAnswer()));
    signal(from, { description: connection.localDescription });
  });
}

// Sound stays in stereo only where both sides ask for it (RFC 7587, 6.1).
function inStereo({ type, sdp }) {
  return { type, sdp: sdp.replaceAll("useinbandfec=1", "useinbandfec=1;stereo=1") };
}

// One step after another: a candidate must not overtake the description it belongs to.
function inTurn(peer, step) {
  peer.last = peer.last.then(step).catch((error) => {
    if (peer.connection.signalingState !== "closed") console.warn("cannot negotiate:", error);
  });
}

// ---- controls ----

const nameIsEmpty = () => $("name").value.trim() === "";
$("name").oninput = () => { $("join").disabled = nameIsEmpty(); };
$("ask").onsubmit = (event) => {
  event.preventDefault();
  if (!$("join").disabled) join();
};
$("say").onsubmit = (event) => {
  event.preventDefault();
  if ($("chat-text").value.trim()) say("say", { text: $("chat-text").value });
  $("chat-text").value = "";
};
$("chat-text").onkeydown = (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("say").requestSubmit();
};
$("cancel").onclick = () => end("left");
$("leave").onclick = () => end("left");
$("again").onclick = () => location.reload();
$("sound").onclick = () => {
  for (const video of $("tiles").querySelectorAll("video")) video.play();
  $("sound").hidden = true;
};
$("auto-admit").onchange = () => say("auto_admit", { on: $("auto-admit").checked });
$("end-for-all").onclick = () => say("end_for_all");
$("wrong-key").hidden = document.body.dataset.role !== "refused";
$("lobby-panel").hidden = $("end-for-all").hidden = !isHost;
addEventListener("pagehide", () => end("left"));

if (query.has("name")) $("name").value = [...query.get("name")].slice(0, $("name").maxLength).join("");
$("join").disabled = nameIsEmpty();
if (query.get("join") === "1" && !nameIsEmpty()) join();
