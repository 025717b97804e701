// The subscribers of the fault test that are JavaScript clients, the same in Node and in a page: they tell what happens to them.

/**
 * Subscribes `clients` clients, each with a line of its own, dealt to the channels as the other subscribers are. `report` gets a line of
 * JSON, as src/ledger.rs reads it, for each thing that one of them gets or is told.
 */
export function subscribe({ Longwire, WebSocket, address, clients, channels }, report) {
  for (let client = 0; client < clients; client += 1) {
    const tell = (type, more) => report(JSON.stringify({ client, type, ...more }));
    // The waits are those of the Rust clients.
    const line = new Longwire(address, { WebSocket, backoff: 50, backoffMax: 1000, timeout: 5000 });
    line.on("state", ({ state, error }) => {
      if (state === "closed") tell("ended", { reason: String(error) });
    });
    line.subscribe(`fault:${client % channels}`, {
      // Nobody publishes anything but numbers: what is none is reported as such, and counted as wrong.
      onPublication: ({ data }) => tell("publication", { number: /^\d+$/.test(data) ? Number(data) : null }),
      onSubscribed: ({ first }) => {
        if (first) tell("subscribed");
      },
      onRecovered: () => tell("recovered"),
      onMissed: ({ reason }) => tell("missed", { reason }),
      onError: (error) => {
        if (!error.retry) tell("ended", { reason: String(error) });
      },
    });
  }
}
