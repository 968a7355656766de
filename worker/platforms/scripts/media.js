// Runs in every page before the page's own scripts. Keeps a list of the page's live peer connections, so that it can be asked
// how much arrived and how loud it was. It hides nothing and changes nothing else: the page gets the connections that it makes.
// Only `hush` turns off the tracks that a page sends, where the page's own switch leaves a device on. The top frame also keeps
// the connections of frames of the same origin, so they are not lost with their frame.
// Media that a page decodes itself, without WebRTC, has no level here.
(() => {
  const REFRESH_MS = 500; // reading statistics costs the page time
  const PATIENCE_MS = 2000; // a connection of a frame that is gone may never answer
  const STALE_MS = 5000; // an older level does not count
  if (globalThis.poolmgrMedia || !globalThis.RTCPeerConnection) return;

  // The browser's own functions: a page may replace them.
  const { RTCPeerConnection, Promise, performance, setTimeout } = globalThis;
  const { getReceivers, getSenders, getStats } = RTCPeerConnection.prototype;
  const { getSynchronizationSources } = globalThis.RTCRtpReceiver.prototype;

  let live = []; // { connection, tracks: what each track had received, by id }
  const sum = { audio_packets: 0, media_packets: 0, audio_energy: 0, audio_s: 0 };
  let tellsLevel = false;
  let refreshing = false;
  let refreshedAt = -Infinity;
  let answeredAt = -Infinity;

  function watch(connection, configuration) {
    live.push({ connection, tracks: new Map() });
    globalThis.poolmgrTracks?.watch(connection, configuration); // worker/capture/tracks.js
  }

  let hushed = false;
  const turnOff = (track) => track && (track.enabled = false);
  const mute = ({ connection }) => getSenders.call(connection).forEach(({ track }) => turnOff(track));

  // From now on the page sends no media, whatever its switches show.
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
      keeper()(connection, args[0]);
      return connection;
    },
  });
  RTCPeerConnection.prototype.constructor = Watched;
  for (const name of ["RTCPeerConnection", "webkitRTCPeerConnection"]) {
    if (globalThis[name] === RTCPeerConnection) globalThis[name] = Watched;
  }

  // How loud a track was when it last arrived, from 0 to 1, as its sender says (RFC 6464).
  function levelOf(connection, trackId) {
    try {
      const receiver = getReceivers.call(connection).find(({ track }) => track.id === trackId);
      const sources = receiver ? getSynchronizationSources.call(receiver) : [];
      return Math.max(0, ...sources.map(({ audioLevel = 0 }) => audioLevel));
    } catch {
      return 0;
    }
  }

  // Adds what a track received since the last call; returns how long it played.
  function take(tracks, id, kind, packets, energy, seconds, level = () => 0) {
    let before = tracks.get(id);
    if (!before || packets < before.packets || seconds < before.seconds) before = { packets: 0, energy: 0, seconds: 0 };
    tracks.set(id, { packets, energy, seconds });
    sum.media_packets += packets - before.packets;
    if (kind !== "audio") return 0;
    sum.audio_packets += packets - before.packets;
    const played = seconds - before.seconds;
    // A page that plays a track by Web Audio alone mutes its element, and the browser counts no energy of it.
    const isMuted = energy === before.energy && packets > before.packets;
    sum.audio_energy += isMuted ? level() ** 2 * played : energy - before.energy;
    return played;
  }

  // A connection without tracks has data channels, which may carry media.
  const carriesMedia = (connection) => getReceivers.call(connection).length > 0;

  function takeAll({ connection, tracks }, reports) {
    let played = 0;
    for (const { type, id, kind, trackIdentifier, ...report } of reports) {
      if (type === "inbound-rtp") {
        const { packetsReceived = 0, totalAudioEnergy = 0, totalSamplesDuration = 0 } = report;
        tellsLevel ||= kind === "audio" && report.totalAudioEnergy !== undefined;
        const level = () => levelOf(connection, trackIdentifier);
        const seconds = take(tracks, id, kind, packetsReceived, totalAudioEnergy, totalSamplesDuration, level);
        played = Math.max(played, seconds);
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
    ]).catch(() => []); // the connection was closed meanwhile

  async function refresh() {
    refreshing = true;
    const asked = live;
    const answers = await Promise.all(asked.map(statistics));
    // Tracks that play at once: their energies add up, and their time is that of the longest.
    sum.audio_s += Math.max(0, ...asked.map((entry, place) => takeAll(entry, answers[place])));
    live = live.filter(({ connection }) => connection.connectionState !== "closed");
    answeredAt = performance.now();
    refreshing = false;
  }

  // The best state of all connections. One with data channels only counts when it is connected: without it, pages use a
  // socket.
  function state() {
    const counted = live.filter(({ connection }) => connection.connectionState === "connected" || carriesMedia(connection));
    const states = counted.map(({ connection }) => connection.connectionState);
    if (states.includes("connected")) return "connected";
    if (states.includes("connecting") || states.includes("disconnected")) return "connecting";
    return states.includes("failed") ? "failed" : "";
  }

  // What this page received until the last refresh. Never waits.
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
