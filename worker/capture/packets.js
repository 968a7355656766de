// Runs in a Worker of the meeting's page. Passes on every packet of every track that tracks.js gives it, and keeps copies of
// Opus packets in numbered chunks of a second, or as `start` says, until the agent confirms that it has them: for ten minutes, 32 MB at most.
//
// A chunk is a line of JSON: {"at": ms, "tracks": [{"track", "id", "packets": [[ms, RTP time, base64]]}]}.
(() => {
  const MOST_MS = 600_000;
  const MOST_BYTES = 32 * 1024 * 1024;

  let part = null; // null: nothing is kept
  let chunkMs = 1000;
  let cutting = null; // the timer
  let seq = 0;
  let chunks = [];
  let bytes = 0;
  let since = 0; // when the next chunk began
  let missedSince = null; // since when there is no room
  let aheadMs = 0; // how far the recording's clock is ahead of performance.now(), which nobody can set
  const tracks = new Map(); // what came of each track since the last chunk, by its number
  const others = new Set(); // kinds of packets that are not taken

  const now = () => aheadMs + performance.now();

  function toText(data) {
    const view = new Uint8Array(data);
    return view.toBase64 ? view.toBase64() : btoa(String.fromCharCode(...view));
  }

  function note({ track, id }, frame) {
    if (part === null) return;
    const { mimeType = "audio/opus", rtpTimestamp } = frame.getMetadata();
    if (mimeType.toLowerCase() !== "audio/opus") {
      others.add(mimeType);
      return;
    }
    if (!tracks.has(track)) tracks.set(track, { track, id, packets: [] });
    tracks.get(track).packets.push([now(), rtpTimestamp, toText(frame.data)]);
  }

  addEventListener("rtctransform", ({ transformer: { readable, writable, options } }) => {
    const copying = new TransformStream({
      transform(frame, passed) {
        try {
          note(options, frame);
        } finally {
          passed.enqueue(frame);
        }
      },
    });
    readable.pipeThrough(copying).pipeTo(writable).catch(() => {}); // the track is over
  });

  function cut() {
    if (part === null) return;
    const at = now();
    const text = JSON.stringify({ at, tracks: [...tracks.values()] }) + "\n";
    tracks.clear();
    if (chunks.length * chunkMs >= MOST_MS || bytes + text.length > MOST_BYTES) {
      missedSince ??= since;
    } else {
      chunks.push({ seq: seq++, part, since, at, text, missed_since: missedSince });
      bytes += text.length;
      missedSince = null;
    }
    since = at;
  }

  const asked = {
    start(given) {
      [part, seq, chunks, bytes, missedSince] = [given.part, given.seq, [], 0, null];
      tracks.clear();
      aheadMs = Date.now() - performance.now() - (given.wall_ahead_ms ?? 0);
      since = now();
      chunkMs = given.chunk_ms ?? 1000;
      clearInterval(cutting);
      cutting = setInterval(cut, chunkMs);
    },
    pull({ confirmed, wanted }) {
      chunks = chunks.filter((chunk) => chunk.seq >= confirmed);
      bytes = chunks.reduce((sum, { text }) => sum + text.length, 0);
      return { chunks: chunks.slice(0, wanted), waiting: chunks.length };
    },
    stop() {
      cut();
      part = null;
      return { waiting: chunks.length };
    },
  };

  onmessage = ({ data }) => {
    const said = asked[data.what](data);
    postMessage({ id: data.id, said: { part, others: [...others], ...said } });
  };
  postMessage({ ready: true });
})();
