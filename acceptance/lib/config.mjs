// Settings of a test -> the server's configuration file. The only place that knows configuration keys.

const KEYS = {
  authMode: "auth.mode",
  jwtSecret: "auth.jwt.secret",
  jwtAlgorithm: "auth.jwt.algorithm",
  jwtKeyFile: "auth.jwt.key_file",
  jwtUrl: "auth.jwt.jwks_url",
  jwtAudience: "auth.jwt.audience",
  jwtIssuer: "auth.jwt.issuer",
  jwtCookie: "auth.jwt.cookie",
  logFilter: "log.filter",
  shards: "server.shards",
  drainMs: "server.drain_window_ms",
  publicListen: "server.public_listen",
  stateFile: "server.state_file",
  pingIntervalMs: "socketio.ping_interval_ms",
  pingTimeoutMs: "socketio.ping_timeout_ms",
  upgradeTimeoutMs: "socketio.upgrade_timeout_ms",
  connectTimeoutMs: "socketio.connect_timeout_ms",
  maxPayloadBytes: "socketio.max_payload_bytes",
  eio3: "socketio.eio3",
  cookie: "socketio.cookie",
  corsOrigins: "socketio.cors_origins",
  corsCredentials: "socketio.cors_credentials",
  streamsCorsOrigins: "streams.cors_origins",
  streamsRetryMs: "streams.retry_ms",
  csrWindowMs: "recovery.window_ms",
  tlsCert: "tls.certificate",
  tlsKey: "tls.key",
  restKeys: "private.keys",
  storeDir: "store.dir",
  sqsListen: "sqs.listen",
  sqsStrictTiming: "sqs.strict_timing",
  mqttListen: "mqtt.listen",
  mqttTlsListen: "mqtt.tls_listen",
  mqttClientCa: "mqtt.tls_client_ca",
  mqttClientCertificate: "mqtt.tls_client_certificate",
  mqttClientUser: "mqtt.tls_client_user",
  mqttKeepAliveS: "mqtt.server_keep_alive_seconds",
  mqttReceiveMax: "mqtt.receive_maximum",
  mqttV3ReceiveMax: "mqtt.v3_receive_maximum",
  mqttAliasMax: "mqtt.topic_alias_maximum",
  mqttPacketBytesMax: "mqtt.packet_bytes_max",
  mqttSessionExpirySMax: "mqtt.session_expiry_seconds_max",
  mqttAclDefault: "mqtt.acl_default",
  mqttSysIntervalS: "mqtt.sys_interval_seconds",
  handshakeTimeoutMs: "limits.head_timeout_ms",
  messageBytesMax: "limits.message_bytes_max",
  writeBufferBytesMax: "limits.write_buffer_bytes_max",
  outboxMessagesMax: "limits.outbox_messages_max",
  roomsPerSessionMax: "limits.channels_per_session_max",
  namespacesPerConnectionMax: "limits.namespaces_per_connection_max",
};

const LISTEN = { "server.public_listen": "127.0.0.1:0", "server.private_listen": "127.0.0.1:0" };
// What README.md says about namespaces and channels.
const NAMESPACES = [
  { name: "/" },
  { name: "/custom" },
  { name: "/chat" },
  { name: "/no" },
  { name: "/csr", recovery: "always" },
  { name: "/csr-opt", recovery: "opt_in" },
  { pattern: "/dyn-*" },
];
const CHANNELS = [
  { filter: "log/#", history_messages_max: 100, presence: true },
  { filter: "#", presence: true },
];
const BASE = {
  acceptance: { ...LISTEN, "auth.mode": "back_end", "socketio.paths": ["/socket.io/"] },
  echo: { ...LISTEN, "auth.mode": "anonymous", "socketio.paths": ["/engine.io/"] },
  mqtt: { ...LISTEN, "auth.mode": "anonymous", "socketio.paths": ["/socket.io/"] },
  dev: {},
};

// JSON strings, numbers, booleans and lists of them are TOML as well.
const line = ([key, value]) => `${key} = ${JSON.stringify(value)}\n`;
const bridge = ({ rules, ...keys }) => tables("bridge", [keys]) + tables("bridge.rule", rules);
const tables = (name, entries) => entries.map((e) => `\n[[${name}]]\n${Object.entries(e).map(line).join("")}`).join("");

/** @returns {string} the TOML file for a server of this kind */
export function toToml(kind, { tls, bridges = [], mqttAcl = [], mqttUsers = [], sqsCredentials = [], queues = [], privateKeys = [], ...settings }) {
  const keys = { ...BASE[kind] };
  if (tls) Object.assign(settings, { tlsCert: tls.cert, tlsKey: tls.key });
  for (const [name, value] of Object.entries(settings)) {
    if (!KEYS[name]) throw new Error(`no configuration key for the setting ${name}`);
    keys[KEYS[name]] = value;
  }
  const handlers = kind === "acceptance" || kind === "mqtt";
  const lists = handlers ? tables("socketio.namespace", NAMESPACES) + tables("channel", CHANNELS) : "";
  const more = { "mqtt.acl": mqttAcl, "mqtt.user": mqttUsers, "sqs.credential": sqsCredentials, queue: queues, "private.key": privateKeys };
  return Object.entries(keys).map(line).join("") + lists + Object.entries(more).map((m) => tables(...m)).join("") + bridges.map(bridge).join("");
}
