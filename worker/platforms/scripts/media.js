// Runs in every page before the page's own scripts. Keeps a list of the page's live peer connections, so that it can
// be asked how much arrived, and how loud. It disguises nothing and alters nothing else: a page gets the connections it
// makes. Only of one whose own switch leaves a device on (`hush`) every track that it would send is turned off. Those of frames of the same origin are kept by the topmost one: a frame that goes takes nothing along.
// What a page decodes by itself, without WebRTC, has no level here.
(() => {
  const REFRESH_MS = 500; // statistics cost the page time, and looking at it has to stay cheap
  const PATIENCE_MS = 2000; // a connection of a frame that is gone may never answer
  const STALE_MS = 5000; // a level that old tells nothing
  if (globalThis.poolmgrMedia || !globalThis.RTCPeerConnection) return;

  // As the browser made them: a page that wraps its own is not to find us among its callers, nor we its wrapping.
  const { RTCPeerConnection, Promise, performance, setTimeout } = globalThis;
  const { getReceivers, getSenders, getStats } = RTCPeerConnection.prototype;

  let live = []; // { connection, tracks: by id, what they had received }
  const sum = { audio_packets: 0, media_packets: 0, audio_energy: 0, audio_s: 0 };
  let tellsLevel = false;
  let refreshing = false;
  let refreshedAt = -Infinity;
  let answeredAt = -Infinity;

  function watch(connection) {
    live.push({ connection, tracks: new Map() });
  }

  let hushed = false;
  const turnOff = (track) => track && (track.enabled = false);
  const mute = ({ connection }) => getSenders.call(connection).forEach(({ track }) => turnOff(track));

  // From now on the page sends neither sound nor picture, whatever it switches.
  function hush() {
    const { mediaDevices } = globalThis.navigator;
    if (!hushed && mediaDevices) {
      const { getUserMedia } = mediaDevices;
      mediaDevices.getUserMedia = async (...wanted) => {
        const stream = await getUserMedia.apply(mediaDevices, wanted);
        stream.getTracks().forEach(turnOff);
        return stream;
      };
    }
    hushed = true;
    live.forEach(mute);
  }

  function keeper() {
    try {
      return globalThis.top.poolmgrMedia?.watch ?? watch;
    } catch {
      return watch; // of another origin
    }
  }

  const Watched = new Proxy(RTCPeerConnection, {
    construct(target, args, newTarget) {
      const connection = Reflect.construct(target, args, newTarget);
      keeper()(connection);
      return connection;
    },
  });
  RTCPeerConnection.prototype.constructor = Watched;
  for (const name of ["RTCPeerConnection", "webkitRTCPeerConnection"]) {
    if (globalThis[name] === RTCPeerConnection) globalThis[name] = Watched;
  }

  // Adds what a track received since it was last asked; returns for how long it played.
  function take(tracks, id, kind, packets, energy, seconds) {
    let before = tracks.get(id);
    if (!before || packets < before.packets || seconds < before.seconds) before = { packets: 0, energy: 0, seconds: 0 };
    tracks.set(id, { packets, energy, seconds });
    sum.media_packets += packets - before.packets;
    if (kind !== "audio") return 0;
    sum.audio_packets += packets - before.packets;
    sum.audio_energy += energy - before.energy;
    return seconds - before.seconds;
  }

  // One that carries none has channels only, and what comes over those may be media.
  const carriesMedia = (connection) => getReceivers.call(connection).length > 0;

  function takeAll({ connection, tracks }, reports) {
    let played = 0;
    for (const { type, id, kind, ...report } of reports) {
      if (type === "inbound-rtp") {
        const { packetsReceived = 0, totalAudioEnergy = 0, totalSamplesDuration = 0 } = report;
        tellsLevel ||= kind === "audio" && report.totalAudioEnergy !== undefined;
        played = Math.max(played, take(tracks, id, kind, packetsReceived, totalAudioEnergy, totalSamplesDuration));
      } else if (type === "data-channel" && !carriesMedia(connection)) {
        take(tracks, id, "data", report.messagesReceived ?? 0, 0, 0);
      }
    }
    return played;
  }

  const statistics = ({ connection }) =>
    Promise.race([
      getStats.call(connection).then((reports) => [...reports.values()]),
      new Promise((resolve) => setTimeout(resolve, PATIENCE_MS, [])),
    ]).catch(() => []); // closed while it was being asked

  async function refresh() {
    refreshing = true;
    const asked = live;
    const answers = await Promise.all(asked.map(statistics));
    // What is heard at once is as loud as all of it together, and lasts as long as the longest.
    sum.audio_s += Math.max(0, ...asked.map((entry, place) => takeAll(entry, answers[place])));
    live = live.filter(({ connection }) => connection.connectionState !== "closed");
    answeredAt = performance.now();
    refreshing = false;
  }

  // The best of all connections that were begun. One of channels only counts when it is there: where it does not come
  // about, pages get by without, by a socket.
  function state() {
    const counted = live.filter(({ connection }) => connection.connectionState === "connected" || carriesMedia(connection));
    const states = counted.map(({ connection }) => connection.connectionState);
    if (states.includes("connected")) return "connected";
    if (states.includes("connecting") || states.includes("disconnected")) return "connecting";
    return states.includes("failed") ? "failed" : "";
  }

  // What was received in this page so far, as of the last refresh; never waits.
  function read() {
    const now = performance.now();
    if (now - refreshedAt >= REFRESH_MS && !refreshing) {
      refreshedAt = now;
      if (hushed) live.forEach(mute);
      refresh().catch(() => (refreshing = false));
    }
    const tells = tellsLevel && now - answeredAt < STALE_MS;
    return { ...sum, audio_energy: tells ? sum.audio_energy : null, media: state() };
  }

  Object.defineProperty(globalThis, "poolmgrMedia", { value: Object.freeze({ hush, read, watch }) });
})();
