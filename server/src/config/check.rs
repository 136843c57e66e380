//! From values to the checked configuration: defaults, numbers taken from the machine, and what keys mean together.
//!
//! Must not know how text is parsed (`raw.rs`). Start at [`load`].

use super::auth::{Jwt, JwtAlgorithm, PrivateKey, Who};
use super::bridge::{self, BridgeEntry, RuleEntry};
use super::limits::Limits;
use super::mqtt::{AclRule, AutoSubscribe, ClientUser, Mqtt, MqttUser, prepared};
use super::names::{NamespaceName, Origins, level_matches};
use super::problem::{Problem, Problems};
use super::raw::Raw;
use super::sections::{
    Auth, AuthMode, ChannelRule, EventRoute, Log, NamespaceEntry, Private, Recovery, RecoveryMode, Server,
    SocketIo, Store, Streams, TlsFiles, Users,
};
use super::sqs::{Binding, DeclaredQueue, Sqs, SqsCredential};
use super::table::Section;
use super::webhook::{self, Webhook, WebhookType};
use super::{Config, Loaded, Machine, NamespaceMatch, NamespaceRule, Sources, Tls, is_loopback};
use std::collections::HashSet;

/// All sections in the order of the reference.
pub(super) const SECTIONS: &[Section] = &[
    Server::SECTION,
    Store::SECTION,
    Log::SECTION,
    TlsFiles::SECTION,
    Auth::SECTION,
    Jwt::SECTION,
    Users::SECTION,
    Private::SECTION,
    PrivateKey::SECTION,
    SocketIo::SECTION,
    NamespaceEntry::SECTION,
    Streams::SECTION,
    Mqtt::SECTION,
    MqttUser::SECTION,
    AutoSubscribe::SECTION,
    AclRule::SECTION,
    BridgeEntry::SECTION,
    RuleEntry::SECTION,
    Webhook::SECTION,
    Sqs::SECTION,
    SqsCredential::SECTION,
    DeclaredQueue::SECTION,
    Binding::SECTION,
    Recovery::SECTION,
    ChannelRule::SECTION,
    Limits::SECTION,
];

/// Bindings; each publish is compared with all of them.
pub(crate) const BINDINGS_MAX: usize = 1000;

/// Files the process needs besides connections: listeners, event loops, logs, storage, webhooks.
const FILES_RESERVED: u64 = 256;

/// Reads, merges and checks.
pub(super) fn load(sources: &Sources, machine: Machine) -> Result<Loaded, Problems> {
    let mut raw = Raw::gather(SECTIONS, sources);
    if raw.is_unreadable {
        return Err(Problems(raw.problems));
    }
    let config = assemble(&mut raw);
    let mut warnings = Vec::new();
    let config = config.map(|mut config| {
        resolve(&mut config, machine);
        contradictions(&mut raw, &config);
        doubts(&raw, &config, machine, &mut warnings);
        config
    });
    match config {
        Some(config) if raw.problems.is_empty() => Ok(Loaded { config, warnings }),
        _ => {
            raw.problems.sort();
            Err(Problems(raw.problems))
        }
    }
}

/// Reads every section before giving up, so that all problems are told at once.
fn assemble(raw: &mut Raw) -> Option<Config> {
    let server = Server::read(&mut raw.table(&Server::SECTION));
    let store = Store::read(&mut raw.table(&Store::SECTION));
    let log = Log::read(&mut raw.table(&Log::SECTION));
    let tls = tls(raw);
    let auth = Auth::read(&mut raw.table(&Auth::SECTION));
    let jwt = Jwt::read(&mut raw.table(&Jwt::SECTION));
    let users = Users::read(&mut raw.table(&Users::SECTION));
    let private = Private::read(&mut raw.table(&Private::SECTION));
    let private_keys = private_keys(raw);
    let socketio = SocketIo::read(&mut raw.table(&SocketIo::SECTION));
    let namespaces = namespaces(raw);
    let streams = Streams::read(&mut raw.table(&Streams::SECTION));
    let mqtt = Mqtt::read(&mut raw.table(&Mqtt::SECTION));
    let mqtt_users = mqtt_users(raw);
    let mqtt_auto_subscribe = auto_subscribe(raw);
    let mqtt_acl = acl(raw);
    let bridges = bridge::read(raw);
    let webhooks = webhook::read(raw);
    let sqs = Sqs::read(&mut raw.table(&Sqs::SECTION));
    let (sqs_credentials, queues) = (credentials(raw), queues(raw));
    let bindings = bindings(raw);
    let recovery = Recovery::read(&mut raw.table(&Recovery::SECTION));
    let channels = channels(raw);
    let limits = Limits::read(&mut raw.table(&Limits::SECTION));
    Some(Config {
        server: server?,
        store: store?,
        log: log?,
        tls,
        auth: auth?,
        jwt: jwt?,
        users: users?,
        private: private?,
        private_keys,
        socketio: socketio?,
        namespaces,
        streams: streams?,
        mqtt: mqtt?,
        mqtt_users,
        mqtt_auto_subscribe,
        mqtt_acl,
        bridges,
        webhooks,
        sqs: sqs?,
        sqs_credentials,
        queues,
        bindings,
        recovery: recovery?,
        channels,
        limits: limits?,
        ask_always: false,
        engine_echo_path: None,
    })
}

fn tls(raw: &mut Raw) -> Option<Tls> {
    let files = TlsFiles::read(&mut raw.table(&TlsFiles::SECTION))?;
    match (files.certificate, files.key) {
        (Some(certificate), Some(key)) => Some(Tls { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            raw.problem(raw.place("tls.certificate"), "tls.key", "must be set when tls.certificate is");
            None
        }
        (None, Some(_)) => {
            raw.problem(raw.place("tls.key"), "tls.certificate", "must be set when tls.key is");
            None
        }
    }
}

fn private_keys(raw: &mut Raw) -> Vec<PrivateKey> {
    let section = &PrivateKey::SECTION;
    let count = raw.element_count(section);
    (0..count).filter_map(|index| PrivateKey::read(&mut raw.element(section, index))).collect()
}

fn mqtt_users(raw: &mut Raw) -> Vec<MqttUser> {
    let count = raw.element_count(&MqttUser::SECTION);
    let (mut users, mut names) = (Vec::with_capacity(count), HashSet::with_capacity(count));
    for index in 0..count {
        let Some(user) = MqttUser::read(&mut raw.element(&MqttUser::SECTION, index)) else { continue };
        if !names.insert(prepared(user.name.as_str()).into_owned()) {
            let path = format!("mqtt.user[{index}].name");
            let place = raw.place(&path);
            raw.problem(place, &path, "is the name of another user too (names are compared after SASLprep)");
        }
        users.push(user);
    }
    users
}

fn auto_subscribe(raw: &mut Raw) -> Vec<AutoSubscribe> {
    let section = &AutoSubscribe::SECTION;
    let count = raw.element_count(section);
    (0..count).filter_map(|index| AutoSubscribe::read(&mut raw.element(section, index))).collect()
}

fn acl(raw: &mut Raw) -> Vec<AclRule> {
    let count = raw.element_count(&AclRule::SECTION);
    (0..count).filter_map(|index| AclRule::read(&mut raw.element(&AclRule::SECTION, index))).collect()
}

fn credentials(raw: &mut Raw) -> Vec<SqsCredential> {
    let section = &SqsCredential::SECTION;
    let count = raw.element_count(section);
    (0..count).filter_map(|index| SqsCredential::read(&mut raw.element(section, index))).collect()
}

fn queues(raw: &mut Raw) -> Vec<DeclaredQueue> {
    let section = &DeclaredQueue::SECTION;
    let count = raw.element_count(section);
    (0..count).filter_map(|index| DeclaredQueue::read(&mut raw.element(section, index))).collect()
}

fn bindings(raw: &mut Raw) -> Vec<Binding> {
    let count = raw.element_count(&Binding::SECTION);
    if count > BINDINGS_MAX {
        let place = raw.element_place(&Binding::SECTION, BINDINGS_MAX);
        raw.problem(place, "binding", format!("must be at most {BINDINGS_MAX}, got {count}"));
    }
    (0..count).filter_map(|index| Binding::read(&mut raw.element(&Binding::SECTION, index))).collect()
}

fn channels(raw: &mut Raw) -> Vec<ChannelRule> {
    let count = raw.element_count(&ChannelRule::SECTION);
    (0..count).filter_map(|index| ChannelRule::read(&mut raw.element(&ChannelRule::SECTION, index))).collect()
}

/// The rules of namespaces; without any, `/` alone.
fn namespaces(raw: &mut Raw) -> Vec<NamespaceRule> {
    let count = raw.element_count(&NamespaceEntry::SECTION);
    let mut rules: Vec<NamespaceRule> = Vec::with_capacity(count.max(1));
    for index in 0..count {
        let Some(entry) = NamespaceEntry::read(&mut raw.element(&NamespaceEntry::SECTION, index)) else {
            continue;
        };
        let path = format!("socketio.namespace[{index}]");
        let names = match (entry.name, entry.pattern) {
            (Some(name), None) => NamespaceMatch::Exact(name),
            (None, Some(pattern)) => NamespaceMatch::Pattern(pattern),
            (Some(_), Some(_)) => {
                let place = raw.place(&format!("{path}.pattern"));
                raw.problem(place, &path, "must have either `name` or `pattern`, not both");
                continue;
            }
            (None, None) => {
                let place = raw.element_place(&NamespaceEntry::SECTION, index);
                raw.problem(place, &path, "must have a `name` or a `pattern`");
                continue;
            }
        };
        if rules.iter().any(|rule| rule.names == names) {
            let place = raw.element_place(&NamespaceEntry::SECTION, index);
            raw.problem(place, &path, format!("names {names} a second time"));
            continue;
        }
        let NamespaceEntry { events, queue, recovery, .. } = entry;
        rules.push(NamespaceRule { names, events, queue, recovery });
    }
    if count == 0 {
        let root = NamespaceName::parse("/").expect("the root is a valid name");
        let (events, recovery) = (EventRoute::BackEnd, RecoveryMode::Off);
        rules.push(NamespaceRule { names: NamespaceMatch::Exact(root), events, queue: None, recovery });
    }
    rules
}

/// Puts numbers in the place of "as the machine allows".
fn resolve(config: &mut Config, machine: Machine) {
    config.ask_always = !config.webhooks.is_empty();
    if config.server.shards == 0 {
        config.server.shards = u16::try_from(machine.cores.clamp(1, 64)).expect("clamped");
    }
    if config.limits.connections_max == 0 {
        config.limits.connections_max = connections_possible(machine);
    }
}

/// Connections for which there are files; never 0, so that a tiny machine still starts and warns.
fn connections_possible(machine: Machine) -> usize {
    let files = machine.open_files_max.saturating_sub(FILES_RESERVED).clamp(16, 100_000_000);
    usize::try_from(files).expect("at most 100,000,000")
}

/// What cannot be meant.
fn contradictions(raw: &mut Raw, config: &Config) {
    let server = &config.server;
    if !is_loopback(server.private_listen) && !config.has_private_keys() {
        let text =
            format!("must hold a key, since server.private_listen {} is not loopback", server.private_listen);
        raw.problem(raw.place("server.private_listen"), "private.keys", text);
    }
    tokens_contradict(raw, config);
    private_keys_contradict(raw, config);
    addresses(raw, config);
    queues_contradict(raw, config);
    copies_contradict(raw, config);
    bridges_contradict(raw, config);
    webhooks_contradict(raw, config);
    let (socketio, streams) = (&config.socketio, &config.streams);
    for (key, credentials, origins) in [
        ("socketio.cors_credentials", socketio.cors_credentials, &socketio.cors_origins),
        ("streams.cors_credentials", streams.cors_credentials, &streams.cors_origins),
    ] {
        if credentials && *origins == Origins::Any {
            let text = "must be false when cors_origins is [\"*\"]: list the origins instead";
            raw.problem(raw.place(key), key, text);
        }
    }
    if config.socketio.paths.is_empty() {
        raw.problem(raw.place("socketio.paths"), "socketio.paths", "must name at least one path");
    }
    message_sizes(raw, config);
    root_channel(raw, config);
}

/// Tokens can be verified, and their rules can hold.
fn tokens_contradict(raw: &mut Raw, config: &Config) {
    let jwt = &config.jwt;
    let is_keyless = jwt.secret.is_none() && jwt.key_file.is_none() && jwt.jwks_url.is_none();
    if config.auth.mode == AuthMode::Jwt && is_keyless {
        let text = "must have `secret`, `key_file` or `jwks_url`, since auth.mode is \"jwt\"";
        raw.problem(raw.place("auth.mode"), "auth.jwt", text);
    }
    if jwt.jwks_url.is_some() && jwt.audience.is_empty() {
        let text =
            "must be set when jwks_url is: the provider's tokens for other services are not for this one";
        raw.problem(raw.place("auth.jwt.jwks_url"), "auth.jwt.audience", text);
    }
    let wanted = match (&jwt.secret, jwt.algorithm) {
        (Some(_), None) | (None, _) => 0,
        (Some(_), Some(algorithm)) => match algorithm {
            JwtAlgorithm::Hs256 => 32,
            JwtAlgorithm::Hs384 => 48,
            JwtAlgorithm::Hs512 => 64,
            _ if jwt.key_file.is_some() => 0,
            other => {
                let text = format!("must be HS256, HS384 or HS512 for a secret, got {}", other.as_str());
                raw.problem(raw.place("auth.jwt.algorithm"), "auth.jwt.algorithm", text);
                0
            }
        },
    };
    let len = jwt.secret.as_ref().map_or(0, |secret| secret.expose().len());
    if len < wanted {
        let text = format!("must be at least {wanted} bytes long for its algorithm, got {len}");
        raw.problem(raw.place("auth.jwt.secret"), "auth.jwt.secret", text);
    }
    if jwt.sign_tokens && jwt.secret.is_none() {
        let text = "must be set when sign_tokens is";
        raw.problem(raw.place("auth.jwt.sign_tokens"), "auth.jwt.secret", text);
    }
    for (index, rule) in config.channels.iter().enumerate() {
        if rule.presence_events && !rule.presence {
            let path = format!("channel[{index}].presence_events");
            raw.problem(raw.place(&path), &path, "needs presence");
        }
        let is_own = [rule.subscribe, rule.publish].contains(&Some(Who::Own));
        let has_mark = rule.filter.as_str().split('/').any(|level| matches!(level, "{user}" | "{client}"));
        let path = format!("channel[{index}].filter");
        if is_own && !has_mark {
            let text = "must have a level `{user}` or `{client}`, since `own` says whose it is";
            raw.problem(raw.place(&path), &path, text);
        }
    }
}

/// The keys of the private port have different names and hashes.
fn private_keys_contradict(raw: &mut Raw, config: &Config) {
    let names: Vec<&str> = config.private_keys.iter().map(|key| key.name.as_str()).collect();
    only_once(raw, (&PrivateKey::SECTION, "name"), &names);
    for (index, key) in config.private_keys.iter().enumerate() {
        let path = format!("private.key[{index}].sha256");
        if config.private_keys.iter().take(index).any(|before| before.sha256 == key.sha256) {
            raw.problem(raw.place(&path), &path, "is that of another key, too");
        } else if config.private.keys.iter().any(|plain| key.sha256.is_of(plain.expose())) {
            raw.problem(raw.place(&path), &path, "is that of one of private.keys, which may do everything");
        }
    }
}

/// Each port is its own, and what needs a certificate has one.
fn addresses(raw: &mut Raw, config: &Config) {
    let (server, mqtt) = (&config.server, &config.mqtt);
    let ports = [
        ("server.public_listen", Some(server.public_listen)),
        ("server.private_listen", Some(server.private_listen)),
        ("mqtt.listen", mqtt.listen),
        ("mqtt.tls_listen", mqtt.tls_listen),
        ("sqs.listen", config.sqs.listen),
    ];
    let ports: Vec<_> = ports.iter().filter_map(|(key, port)| port.map(|address| (*key, address))).collect();
    for (at, &(key, address)) in ports.iter().enumerate() {
        let before = ports.iter().take(at).find(|(_, other)| *other == address);
        if let Some((other, _)) = before.filter(|_| address.port() != 0) {
            raw.problem(raw.place(key), key, format!("must differ from {other}, both are {address}"));
        }
    }
    if mqtt.tls_listen.is_some() && config.tls.is_none() {
        let text = "needs a certificate: set tls.certificate and tls.key";
        raw.problem(raw.place("mqtt.tls_listen"), "mqtt.tls_listen", text);
    }
    if mqtt.tls_client_ca.is_some() && mqtt.tls_listen.is_none() {
        let text = "needs mqtt.tls_listen: clients are asked for certificates there alone";
        raw.problem(raw.place("mqtt.tls_client_ca"), "mqtt.tls_client_ca", text);
    }
    if mqtt.tls_client_user != ClientUser::None && mqtt.tls_client_ca.is_none() {
        let text = "needs mqtt.tls_client_ca, by which certificates of clients are verified";
        raw.problem(raw.place("mqtt.tls_client_user"), "mqtt.tls_client_user", text);
    }
    if mqtt.enabled && config.socketio.paths.contains(&mqtt.path) {
        let text = format!("must differ from those of socketio.paths, got \"{}\"", mqtt.path);
        raw.problem(raw.place("mqtt.path"), "mqtt.path", text);
    }
}

/// Who may use queues, and that each is declared once.
fn queues_contradict(raw: &mut Raw, config: &Config) {
    if let Some(listen) = config.sqs.listen.filter(|listen| !is_loopback(*listen))
        && config.sqs_credentials.is_empty()
    {
        let text = format!("must be there, since sqs.listen {listen} is not loopback");
        raw.problem(raw.place("sqs.listen"), "sqs.credential", text);
    }
    let keys: Vec<&str> =
        config.sqs_credentials.iter().map(|credential| credential.key_id.as_str()).collect();
    only_once(raw, (&SqsCredential::SECTION, "key_id"), &keys);
    let names: Vec<&str> = config.queues.iter().map(|queue| queue.name.as_str()).collect();
    only_once(raw, (&DeclaredQueue::SECTION, "name"), &names);
    for (index, queue) in config.queues.iter().enumerate() {
        let is_fifo = |name: &str| name.ends_with(".fifo");
        let path = format!("queue[{index}].dead_letter_queue");
        let Some(target) = &queue.dead_letter_queue else { continue };
        if is_fifo(target.as_str()) != is_fifo(queue.name.as_str()) || target == &queue.name {
            let text = format!("must be another queue of the same kind as \"{}\"", queue.name.as_str());
            raw.problem(raw.place(&path), &path, text);
        }
    }
}

/// What is to go into a queue finds one. Namespaces are numbered as they are read, of which none was left out then.
fn copies_contradict(raw: &mut Raw, config: &Config) {
    let bound = config.bindings.iter().enumerate();
    let bound = bound.map(|(index, binding)| (format!("binding[{index}].queue"), Some(&binding.queue)));
    let routed = config.namespaces.iter().enumerate();
    let routed = routed.filter(|(_, rule)| rule.events == EventRoute::Queue);
    let routed =
        routed.map(|(index, rule)| (format!("socketio.namespace[{index}].queue"), rule.queue.as_ref()));
    for (path, queue) in bound.chain(routed) {
        let Some(queue) = queue else {
            let place = raw.place(&path.replace(".queue", ".events"));
            raw.problem(place, &path, "must be set when `events` is \"queue\"");
            continue;
        };
        if !config.sqs.enabled {
            raw.problem(raw.place(&path), &path, "needs sqs.enabled: without it there are no queues");
        } else if !config.queues.iter().any(|declared| declared.name == *queue) {
            let text = format!("must be declared by a [[queue]], got \"{}\"", queue.as_str());
            raw.problem(raw.place(&path), &path, text);
        }
    }
}

/// Each bridge has a name of its own, and the protocol that it speaks here.
fn bridges_contradict(raw: &mut Raw, config: &Config) {
    let names: Vec<&str> = config.bridges.iter().map(|bridge| bridge.name.as_str()).collect();
    only_once(raw, (&BridgeEntry::SECTION, "name"), &names);
    if !config.mqtt.enabled && !config.bridges.is_empty() {
        let text = "must be true, since there is a [[bridge]]";
        raw.problem(raw.place("mqtt.enabled"), "mqtt.enabled", text);
    }
}

/// Each webhook has a name of its own, and is asked only where somebody is to be.
fn webhooks_contradict(raw: &mut Raw, config: &Config) {
    let names: Vec<&str> = config.webhooks.iter().map(|webhook| webhook.name.as_str()).collect();
    only_once(raw, (&Webhook::SECTION, "name"), &names);
    for (index, webhook) in config.webhooks.iter().enumerate() {
        let path = format!("webhook[{index}].types");
        let mode = config.auth.mode;
        if webhook.types.contains(&WebhookType::SessionConnect) && mode != AuthMode::BackEnd {
            let mode = mode.as_str();
            let text =
                format!("must not hold \"session.connect\" when auth.mode is \"{mode}\": nobody is asked");
            raw.problem(raw.place(&path), &path, text);
        }
    }
}

/// Elements of an array of tables have different names.
fn only_once(raw: &mut Raw, (section, key): (&'static Section, &str), names: &[&str]) {
    for (index, name) in names.iter().enumerate() {
        if names.iter().take(index).any(|before| before == name) {
            let path = format!("{}[{index}].{key}", section.path);
            raw.problem(raw.place(&path), &path, format!("names \"{name}\" a second time"));
        }
    }
}

/// A message that is let in has to fit into the places it passes.
fn message_sizes(raw: &mut Raw, config: &Config) {
    let limits = &config.limits;
    let message = limits.message_bytes_max;
    let encoded = message + message / 3;
    if limits.write_buffer_bytes_max < encoded {
        let text =
            format!("must be at least {encoded}, a third more than limits.message_bytes_max {message}");
        raw.problem(raw.place("limits.write_buffer_bytes_max"), "limits.write_buffer_bytes_max", text);
    }
    let twice = message as u64 * 2;
    if limits.outbox_bytes_max < twice {
        let text = format!(
            "must be at least {twice}, twice limits.message_bytes_max {message}, got {}",
            limits.outbox_bytes_max
        );
        raw.problem(raw.place("limits.outbox_bytes_max"), "limits.outbox_bytes_max", text);
    }
    let body = limits.rest_body_bytes_max;
    if body < message {
        let text = format!("must be at least limits.message_bytes_max {message}, got {body}");
        raw.problem(raw.place("limits.rest_body_bytes_max"), "limits.rest_body_bytes_max", text);
    }
}

/// The broadcast channel of `/` must not be the one of another namespace.
fn root_channel(raw: &mut Raw, config: &Config) {
    let root = config.socketio.root_channel.as_str();
    if let Some(rule) = config.namespace(&format!("/{root}")) {
        let text = format!("must not be \"{root}\": that is the channel of namespace {}", rule.names);
        raw.problem(raw.place("socketio.root_channel"), "socketio.root_channel", text);
    }
}

/// What works but probably not as wanted.
fn doubts(raw: &Raw, config: &Config, machine: Machine, warnings: &mut Vec<Problem>) {
    let mut warn = |key: &str, text: String| {
        warnings.push(Problem { place: raw.place(key), key: key.into(), text });
    };
    for (inner, outer) in shared_channels(&config.namespaces) {
        let text = format!("{inner} lies inside {outer}: rooms of {outer} with its name are refused");
        warn("socketio.namespace", text);
    }
    let possible = connections_possible(machine);
    if config.limits.connections_max > possible {
        let text = format!(
            "is {}, but the process may open only {possible}; raise it with `ulimit -Hn`",
            config.limits.connections_max
        );
        warn("limits.connections_max", text);
    }
    if usize::from(config.server.shards) > machine.cores {
        let text = format!("is {}, more than the {} cores", config.server.shards, machine.cores);
        warn("server.shards", text);
    }
    if let Some(everything) = config.server.proxy_protocol_from.iter().find(|network| network.is_everything())
    {
        let text = format!("lists {everything}: then every client can claim any address");
        warn("server.proxy_protocol_from", text);
    }
    if config.tls.is_none() && !is_loopback(config.server.public_listen) {
        let text = "is not set: clients connect without encryption unless a proxy adds it".into();
        warn("tls.certificate", text);
    }
}

/// Pairs of namespaces in which a room of the second would be a channel of the first: `/chat/vip` inside `/chat`. The
/// root is left out: there it holds for every other namespace, and the reference says so.
fn shared_channels(rules: &[NamespaceRule]) -> Vec<(String, String)> {
    let names: Vec<String> =
        rules.iter().map(|rule| rule.names.to_string()).filter(|name| name != "/").collect();
    let pairs = names.iter().flat_map(|inner| names.iter().map(move |outer| (inner, outer)));
    pairs.filter(|(inner, outer)| lies_inside(inner, outer)).map(|(a, b)| (a.clone(), b.clone())).collect()
}

/// Whether a name, or a form of names, has all levels of another and more.
fn lies_inside(inner: &str, outer: &str) -> bool {
    let mut inner = inner.split('/');
    let all_match = outer.split('/').all(|level| inner.next().is_some_and(|other| levels_meet(other, level)));
    all_match && inner.next().is_some()
}

/// Whether two levels, either of which may be a pattern, have a name in common. Two patterns are compared as text.
fn levels_meet(one: &str, other: &str) -> bool {
    level_matches(one, other) || level_matches(other, one)
}
