// A TCP proxy on loopback that can cut every connection at once, as a lost network does: no Close frame, no goodbye.

import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/** A proxy in front of a `ws://host:port` address. */
export async function startProxy(target) {
  const { hostname, port } = new URL(target);
  const pairs = new Set();

  const listener = createServer((near) => {
    const far = connect({ host: hostname, port: Number(port) });
    const pair = { near, far };
    pairs.add(pair);
    const cut = () => {
      pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      socket.on('error', cut);
      socket.on('close', cut);
    }
    near.pipe(far);
    far.pipe(near);
  });
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');

  /** Resets every connection that is open now; new ones are let through. Returns how many there were. */
  function cutAll() {
    const cut = [...pairs];
    for (const { near, far } of cut) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
    return cut.length;
  }

  async function stop() {
    cutAll();
    listener.close();
    await once(listener, 'close');
  }

  return { url: `ws://127.0.0.1:${listener.address().port}`, cutAll, stop };
}
