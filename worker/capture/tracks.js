// Runs in every page before the page's own scripts, if capture.tracks is on. Has a Worker (packets.js) take a copy of each
// packet of each sound track that the page receives, before it is decoded. The page gets every packet, and finds the functions
// that it calls as they were. Nothing is kept until `start`.
//
// The Worker's script has an address of the page's own origin, which the agent answers: most pages' policies allow no other.
// A receiver is only touched once the Worker runs: without it, the receiver's packets would be lost to the page.
(() => {
  const ADDRESS = "/poolmgr-packets.js";
  const MOST_TRACKS = 64;
  const { RTCPeerConnection, RTCRtpScriptTransform, Worker, trustedTypes } = globalThis;
  if (globalThis.poolmgrTracks || globalThis.top !== globalThis || !/^https?:$/.test(location.protocol)) return;
  if (!RTCPeerConnection || !RTCRtpScriptTransform) return;

  const { getReceivers, addEventListener } = RTCPeerConnection.prototype;
  const watched = new WeakSet(); // connections
  const seen = new WeakSet(); // receivers
  let taken = []; // { receiver, transform }, of tracks that are not over
  let next = 0; // the number of the next track
  const left = { early: 0, own: 0, many: 0 }; // receivers that were not taken, by why
  const answers = new Map();
  let asked = 0;
  let worker = null;
  let isReady = false;
  let refused = "";

  function address() {
    try {
      return trustedTypes.createPolicy("poolmgr", { createScriptURL: (given) => given }).createScriptURL(ADDRESS);
    } catch {
      return ADDRESS; // a page without Trusted Types takes it, another one refuses it
    }
  }

  try {
    worker = new Worker(address(), { name: "poolmgr" });
    worker.onerror = (event) => {
      event.preventDefault();
      if (!isReady) refused = "the page's policy, or its server, does not let the Worker's script load";
    };
    worker.onmessage = ({ data }) => {
      if (data.ready) isReady = true;
      answers.get(data.id)?.(data.said);
      answers.delete(data.id);
    };
  } catch (error) {
    refused = `the page's policy allows no Worker: ${String(error.message).slice(0, 120)}`;
  }

  function take(receiver) {
    if (receiver.track.kind !== "audio" || seen.has(receiver)) return;
    seen.add(receiver);
    taken = taken.filter(({ receiver: { track } }) => track.readyState === "live");
    if (receiver.transform) left.own += 1;
    else if (!isReady) left.early += 1;
    else if (taken.length >= MOST_TRACKS) left.many += 1;
    else {
      const transform = new RTCRtpScriptTransform(worker, { track: next++, id: receiver.track.id });
      receiver.transform = transform;
      taken.push({ receiver, transform });
    }
  }

  const takeAll = (connection) => getReceivers.call(connection).forEach(take);

  // A receiver that got its transform later than in the turn in which it was made gives it no packet.
  for (const name of ["addTransceiver", "addTrack"]) {
    RTCPeerConnection.prototype[name] = new Proxy(RTCPeerConnection.prototype[name], {
      apply(target, connection, given) {
        const made = Reflect.apply(target, connection, given);
        if (watched.has(connection)) attempt(() => takeAll(connection));
        return made;
      },
    });
  }

  function attempt(work) {
    try {
      work();
    } catch (error) {
      refused ||= String(error.message).slice(0, 160); // the page goes on
    }
  }

  function watch(connection, configuration) {
    attempt(() => {
      if (configuration?.encodedInsertableStreams) {
        left.own += 1;
        return;
      }
      watched.add(connection);
      addEventListener.call(connection, "track", ({ receiver }) => attempt(() => take(receiver)));
    });
  }

  // Why not all tracks are taken; empty: all are.
  function why() {
    const replaced = taken.filter(({ receiver, transform }) => receiver.transform !== transform).length;
    if (refused) return refused;
    if (!isReady) return "the Worker's script has not loaded yet";
    if (left.own + replaced) return "the page transforms packets itself";
    if (left.early) return "tracks began before the Worker's script had loaded";
    return left.many ? `there are more than ${MOST_TRACKS} tracks` : "";
  }

  function ask(what) {
    if (!isReady) return null;
    const id = (asked += 1);
    answers.delete(id - 10); // one that a Worker which hangs never gave
    worker.postMessage({ ...what, id });
    return new Promise((resolve) => answers.set(id, resolve));
  }

  // Each returns { why, part, chunks, waiting }; part is null while nothing is kept.
  const call = (what) => async (given = {}) => {
    const { part = null, chunks = [], waiting = 0, others = [] } = (await ask({ ...given, what })) ?? {};
    return { part, chunks, waiting, why: why() || (others.length ? `some packets are ${others.join(", ")}` : "") };
  };

  const poolmgrTracks = Object.freeze({ watch, start: call("start"), pull: call("pull"), stop: call("stop") });
  Object.defineProperty(globalThis, "poolmgrTracks", { value: poolmgrTracks });
})();
