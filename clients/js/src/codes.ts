// Made from crates/longwire-protocol/codes.toml. Do not edit it by hand.

/** Every error that a server can answer. `retry`: whether the same command may work later. */
export const errors = {
  bad_message: { number: 100, name: "bad_message", retry: false, text: "not a message of this protocol" },
  not_connected: { number: 101, name: "not_connected", retry: false, text: "the first command must be connect" },
  already_connected: { number: 102, name: "already_connected", retry: false, text: "connect was sent already" },
  bad_channel: { number: 103, name: "bad_channel", retry: false, text: "a channel's name has 1 to 255 bytes and no control characters" },
  unknown_namespace: { number: 104, name: "unknown_namespace", retry: false, text: "the server has no namespace of that name" },
  permission_denied: { number: 105, name: "permission_denied", retry: false, text: "not allowed" },
  not_subscribed: { number: 106, name: "not_subscribed", retry: false, text: "not subscribed to the channel" },
  already_subscribed: { number: 107, name: "already_subscribed", retry: false, text: "subscribed to the channel already" },
  too_large: { number: 108, name: "too_large", retry: false, text: "more bytes than the channel allows" },
  too_many_subscriptions: { number: 109, name: "too_many_subscriptions", retry: false, text: "this session has as many subscriptions as it may" },
  not_enabled: { number: 110, name: "not_enabled", retry: false, text: "the channel's namespace does not have this" },
  bad_value: { number: 111, name: "bad_value", retry: false, text: "a member has a value that is not allowed" },
  no_such_stream: { number: 112, name: "no_such_stream", retry: false, text: "there is no such stream in the channel's history" },
  stream_ended: { number: 113, name: "stream_ended", retry: false, text: "the stream has ended" },
  not_the_producer: { number: 114, name: "not_the_producer", retry: false, text: "the stream belongs to another session" },
  stream_gap: { number: 115, name: "stream_gap", retry: false, text: "the piece begins behind the stream's end" },
  unauthorized: { number: 120, name: "unauthorized", retry: false, text: "the token is missing or not valid" },
  token_expired: { number: 121, name: "token_expired", retry: true, text: "the token has expired: get another" },
  overloaded: { number: 130, name: "overloaded", retry: true, text: "too much is on its way: try again in a moment" },
  storage_failed: { number: 131, name: "storage_failed", retry: true, text: "the server cannot write to its disk" },
  too_many_channels: { number: 132, name: "too_many_channels", retry: true, text: "the server holds as many channels as it may" },
  state_full: { number: 133, name: "state_full", retry: false, text: "the channel has as many keys as it may" },
  internal: { number: 140, name: "internal", retry: true, text: "a mistake of the server" },
  not_found: { number: 150, name: "not_found", retry: false, text: "there is nothing at this address" },
  method_not_allowed: { number: 151, name: "method_not_allowed", retry: false, text: "this address does not take this method" },
  unsupported_media_type: { number: 152, name: "unsupported_media_type", retry: false, text: "the body's Content-Type is not the one that this address takes" },
  request_timeout: { number: 153, name: "request_timeout", retry: true, text: "the request's body did not come in time" },
  origin_not_allowed: { number: 154, name: "origin_not_allowed", retry: false, text: "pages of this origin may not use the server" },
  api_closed: { number: 155, name: "api_closed", retry: false, text: "the server API has no key, and is closed" },
  no_such_session: { number: 156, name: "no_such_session", retry: false, text: "there is no such session" },
} as const;

/** The close codes beside those of the WebSocket itself: come back after one below 3500, not after one from there on. */
export const closes = {
  ping_timeout: { number: 3000, name: "ping_timeout", text: "no answer to a ping" },
  idle_timeout: { number: 3001, name: "idle_timeout", text: "no message for too long" },
  slow_reader: { number: 3002, name: "slow_reader", text: "reads too slowly: outbox full" },
  write_timeout: { number: 3003, name: "write_timeout", text: "writing timed out" },
  no_connect: { number: 3004, name: "no_connect", text: "no connect command in time" },
  token_expired: { number: 3005, name: "token_expired", text: "the token has expired" },
  server_error: { number: 3006, name: "server_error", text: "a mistake of the server" },
  replaced: { number: 3500, name: "replaced", text: "the session was taken up by another line" },
  disconnected: { number: 3501, name: "disconnected", text: "disconnected by the server's operator" },
  bad_protocol: { number: 3502, name: "bad_protocol", text: "too many messages that are not of this protocol" },
} as const;
