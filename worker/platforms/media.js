// Runs in every page before the page's own scripts. Keeps a list of the page's live peer connections, so that it can
// be asked how much audio arrived. It disguises nothing and alters nothing else: a page gets the connections it makes.
(() => {
  const REFRESH_MS = 500; // statistics cost the page time, and looking at it has to stay cheap
  if (globalThis.poolmgrMedia || !globalThis.RTCPeerConnection) return;

  let live = []; // { connection, packets }
  let packetsOfClosed = 0;
  let refreshedAt = -Infinity;

  globalThis.RTCPeerConnection = new Proxy(globalThis.RTCPeerConnection, {
    construct(target, args, newTarget) {
      const connection = Reflect.construct(target, args, newTarget);
      live.push({ connection, packets: 0 });
      return connection;
    },
  });

  async function count(entry) {
    let packets = 0;
    for (const report of (await entry.connection.getStats()).values()) {
      if (report.type === "inbound-rtp" && report.kind === "audio") packets += report.packetsReceived;
    }
    entry.packets = Math.max(entry.packets, packets);
  }

  function refresh() {
    for (const { connection, packets } of live) if (connection.connectionState === "closed") packetsOfClosed += packets;
    live = live.filter(({ connection }) => connection.connectionState !== "closed");
    for (const entry of live) count(entry).catch(() => {}); // closed while it was being asked
  }

  // Audio packets received in this page so far, as of the last refresh; never waits.
  function audioPackets() {
    if (performance.now() - refreshedAt >= REFRESH_MS) {
      refreshedAt = performance.now();
      refresh();
    }
    return live.reduce((sum, { packets }) => sum + packets, packetsOfClosed);
  }

  Object.defineProperty(globalThis, "poolmgrMedia", { value: Object.freeze({ audioPackets }) });
})();
