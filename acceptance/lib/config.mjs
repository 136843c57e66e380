// Settings of a test -> the server's configuration file. The only place that knows configuration keys.

const KEYS = {
  pingIntervalMs: ["engineio", "ping_interval_ms"],
  pingTimeoutMs: ["engineio", "ping_timeout_ms"],
  upgradeTimeoutMs: ["engineio", "upgrade_timeout_ms"],
  maxPayloadBytes: ["engineio", "payload_bytes_max"],
  eio3: ["engineio", "eio3"],
  cookie: ["engineio", "cookie"],
  connectTimeoutMs: ["socketio", "connect_timeout_ms"],
  csrWindowMs: ["socketio", "recovery_window_ms"],
  corsOrigins: ["cors", "origins"],
  corsCredentials: ["cors", "credentials"],
  shards: ["server", "shards"],
  drainMs: ["server", "drain_ms"],
  tlsCert: ["tls", "cert"],
  tlsKey: ["tls", "key"],
  roomsPerSessionMax: ["limits", "channels_per_session_max"],
  namespacesPerConnectionMax: ["limits", "namespaces_per_connection_max"],
  outboxMessagesMax: ["limits", "outbox_messages_max"],
  writeBufferBytesMax: ["limits", "write_buffer_bytes_max"],
  handshakeTimeoutMs: ["limits", "handshake_timeout_ms"],
  restKey: ["private", "key"],
};

/** @returns {string} TOML */
export function toToml(settings) {
  const { tls, ...flat } = settings;
  if (tls) Object.assign(flat, { tlsCert: tls.cert, tlsKey: tls.key });
  const tables = new Map();
  for (const [name, value] of Object.entries(flat)) {
    const place = KEYS[name];
    if (!place) throw new Error(`no configuration key for the setting ${name}`);
    const [table, key] = place;
    if (!tables.has(table)) tables.set(table, []);
    // JSON strings, numbers, booleans and lists of them are TOML as well.
    tables.get(table).push(`${key} = ${JSON.stringify(value)}`);
  }
  return [...tables].map(([table, lines]) => `[${table}]\n${lines.join("\n")}\n`).join("\n");
}
