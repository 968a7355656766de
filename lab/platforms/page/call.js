// The media and the messages of a page, without its looks: one WebSocket to the meeting, as lab/meeting/server.py
// documents it, and one RTCPeerConnection to each participant with whom there is media to exchange.

export class Call {
  #socket = null;
  #peers = new Map(); // participant id -> { connection, last: the negotiation step under way }
  #waiting = []; // messages from before the socket was open
  #own = new MediaStream();
  #isOver = false;
  #meeting = null; // who is in it
  #graph = null;

  // `path`: PLATFORM/CODE. `hear` gets every message of the meeting but signals. `plays`: how what others send is played,
  // by "elements" or by a "graph" of Web Audio; by nothing without.
  constructor(path, hear, { sendsMedia = true, plays = "elements" } = {}) {
    this.hear = hear;
    this.sendsMedia = sendsMedia;
    this.plays = plays;
    this.#socket = new WebSocket(`wss://${location.host}/-/call/${path}`);
    this.#socket.onopen = () => {
      for (const message of this.#waiting) this.#socket.send(message);
      this.#waiting = [];
    };
    this.#socket.onmessage = ({ data }) => this.#take(JSON.parse(data));
    this.#socket.onclose = () => this.#isOver || this.hear({ type: "lost" });
    addEventListener("pagehide", () => this.leave());
  }

  // Joins, or waits in the lobby; the meeting's first message says which. `own`: the MediaStream to send.
  join(name, own = new MediaStream()) {
    this.#own = own;
    const sends = (kind) => own.getTracks().some((track) => track.kind === kind);
    this.#send("join", { name, microphone: sends("audio"), camera: sends("video") });
  }

  say(text) {
    this.#send("say", { text });
  }

  note(what) {
    this.#send("note", { what });
  }

  // Gives up every connection, and makes new ones, as pages do when the network has changed.
  rewire() {
    for (const id of [...this.#peers.keys()]) {
      this.#disconnect(id);
      this.#send("signal", { to: id, data: { anew: true } });
    }
    this.#connectAll(this.#meeting);
  }

  leave() {
    this.#isOver = true;
    this.#hangUp();
    this.#socket.close();
  }

  #send(type, fields) {
    const message = JSON.stringify({ type, ...fields });
    if (this.#socket.readyState === WebSocket.CONNECTING) this.#waiting.push(message);
    else if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(message);
  }

  #take(message) {
    if (message.type === "signal") return this.#follow(message.from, message.data);
    if (message.type === "meeting") this.#connectAll(message);
    if (message.type === "end") this.#hangUp();
    return this.hear(message);
  }

  #hangUp() {
    for (const id of [...this.#peers.keys()]) this.#disconnect(id);
    for (const track of this.#own.getTracks()) track.stop();
  }

  #connectAll(meeting) {
    this.#meeting = meeting;
    const { you, participants } = meeting;
    const others = new Set(participants.map(({ id }) => id));
    for (const id of [...this.#peers.keys()]) if (!others.has(id)) this.#disconnect(id);
    const mine = participants.findIndex(({ id }) => id === you);
    participants.forEach((other, place) => {
      const media = [participants[mine], other].some((one) => one.microphone || one.camera);
      if (other.id !== you && media && !this.#peers.has(other.id)) this.#connect(other, place < mine);
    });
  }

  // Of two participants the one who came later offers, always, so that offers never cross.
  #connect(other, offering) {
    const connection = new RTCPeerConnection();
    const peer = { connection, last: Promise.resolve(), elements: [] };
    this.#peers.set(other.id, peer);
    connection.onicecandidate = ({ candidate }) => candidate && this.#send("signal", { to: other.id, data: { candidate } });
    if (this.plays) connection.ontrack = ({ track }) => {
      const element = document.createElement(track.kind);
      const inGraph = track.kind === "audio" && this.plays === "graph";
      // In a graph nothing is heard of a track that no element plays.
      Object.assign(element, { autoplay: true, playsInline: true, muted: inGraph, srcObject: new MediaStream([track]) });
      document.body.append(element);
      peer.elements.push(element);
      element.play().catch(() => {});
      if (!inGraph) return;
      this.#graph ??= new AudioContext();
      this.#graph.createMediaStreamSource(element.srcObject).connect(this.#graph.destination);
      this.#graph.resume();
    };
    if (!offering) return;
    connection.onnegotiationneeded = () => this.#inTurn(peer, async () => {
      await connection.setLocalDescription();
      this.#send("signal", { to: other.id, data: { description: connection.localDescription } });
    });
    if (!this.sendsMedia) return void connection.createDataChannel("nothing");
    for (const [kind, receives] of [["audio", other.microphone], ["video", other.camera]]) {
      const [track] = this.#own.getTracks().filter((candidate) => candidate.kind === kind);
      if (track) connection.addTransceiver(track, { direction: receives ? "sendrecv" : "sendonly" });
      else if (receives) connection.addTransceiver(kind, { direction: "recvonly" });
    }
  }

  #disconnect(id) {
    const { connection, elements } = this.#peers.get(id);
    for (const element of elements) element.remove();
    connection.close();
    this.#peers.delete(id);
  }

  #follow(from, { description, candidate, anew }) {
    const peer = this.#peers.get(from);
    if (!peer) return;
    if (anew) {
      this.#disconnect(from);
      return void this.#connectAll(this.#meeting);
    }
    const { connection } = peer;
    this.#inTurn(peer, async () => {
      if (candidate) return connection.addIceCandidate(candidate);
      await connection.setRemoteDescription(description);
      if (description.type !== "offer") return;
      const sending = connection.getSenders().map((sender) => sender.track);
      for (const track of this.#own.getTracks()) if (!sending.includes(track)) connection.addTrack(track);
      await connection.setLocalDescription();
      this.#send("signal", { to: from, data: { description: connection.localDescription } });
    });
  }

  // One step after another: a candidate must not overtake the description that it belongs to.
  #inTurn(peer, step) {
    peer.last = peer.last.then(step).catch((error) => {
      if (peer.connection.signalingState !== "closed") console.warn("cannot negotiate:", error);
    });
  }
}
