//! What is told for each mistake, word for word.

use super::*;

/// File text and the exact message.
const FILE_ERRORS: &[(&str, &str)] = &[
    // Unknown keys and sections.
    (
        "[socketio]\nping_intervall_ms = 5",
        "trunkline.toml:2:1: socketio.ping_intervall_ms: unknown key; did you mean `socketio.ping_interval_ms`?",
    ),
    (
        "[server]\n  ping_interval_ms = 500",
        "trunkline.toml:2:3: server.ping_interval_ms: unknown key; did you mean `socketio.ping_interval_ms`?",
    ),
    ("[socketoi]\neio3 = true", "trunkline.toml:1:2: socketoi: unknown section; did you mean `socketio`?"),
    ("shards = 4", "trunkline.toml:1:1: shards: unknown section; did you mean `server.shards`?"),
    (
        "[server]\ncolour_of_the_bikeshed = 1",
        "trunkline.toml:2:1: server.colour_of_the_bikeshed: unknown key",
    ),
    (
        "[[socketio.namespace]]\nname = \"/\"\n[[socketio.namespace]]\nnam = \"/a\"\nname = \"/a\"",
        "trunkline.toml:4:1: socketio.namespace[1].nam: unknown key; did you mean `socketio.namespace.name`?",
    ),
    // Wrong types.
    (
        "[socketio]\nping_interval_ms = \"25 s\"",
        "trunkline.toml:2:20: socketio.ping_interval_ms: must be an integer, got a string",
    ),
    ("[socketio]\neio3 = 1", "trunkline.toml:2:8: socketio.eio3: must be true or false, got an integer"),
    (
        "[server]\nshards = 1.5",
        "trunkline.toml:2:10: server.shards: must be an integer, got a number with a point",
    ),
    (
        "[socketio]\ntransports = \"polling\"",
        "trunkline.toml:2:14: socketio.transports: must be a list of strings, got a string",
    ),
    (
        "[private]\nkeys = [\"0123456789abcdef\", 7]",
        "trunkline.toml:2:29: private.keys: must be a list of strings, got an integer",
    ),
    ("server = 1", "trunkline.toml:1:10: server: must be a table `[server]`, got an integer"),
    (
        "[channel]\nfilter = \"a\"",
        "trunkline.toml:1:1: channel: must be a list of tables `[[channel]]`, got a table",
    ),
    (
        "[auth]\nmode = true",
        "trunkline.toml:2:8: auth.mode: must be one of \"anonymous\", \"back_end\", \"jwt\", got true or false",
    ),
    ("[log.filter]", "trunkline.toml:1:1: log.filter: must be a string (log directives), got a table"),
    // Webhooks.
    (
        "[[webhook]]\nname = \"a\"\nurl = \"http://8.8.8.8/?k\"\nsecrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\ntypes = [\"session.event\"]",
        "trunkline.toml:3:7: webhook[0].url: must begin with https://, since that address is neither loopback nor private: \"http://8.8.8.8/\"",
    ),
    (
        "[[webhook]]\nname = \"a\"\nurl = \"https://a/\"\nsecrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\ntypes = [\"session.event\"]\nbearer = \"hush\\n\"",
        "trunkline.toml:1:1: webhook[0].bearer: must be visible ASCII characters, without a line break, since it goes into a header",
    ),
    (
        "[[webhook]]\nname = \"a\"\nurl = \"https://a/\"\nsecrets = [\"hush\"]\ntypes = [\"session.event\"]",
        "trunkline.toml:4:12: webhook[0].secrets: must be `whsec_` and base64 of 24 to 64 bytes",
    ),
    (
        "[[webhook]]\nname = \"a\"\nurl = \"https://a/\"\nsecrets = [\"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"]\ntypes = [\"session.connect\"]",
        "trunkline.toml:5:9: webhook[0].types: must not hold \"session.connect\" when auth.mode is \"anonymous\": nobody is asked",
    ),
    // Ranges and words.
    (
        "# a comment\n\n[socketio]\n\n    ping_interval_ms = 5",
        "trunkline.toml:5:24: socketio.ping_interval_ms: must be between 100 and 3600000, got 5",
    ),
    (
        "[server]\nshards = 99999999999999999999",
        "trunkline.toml:2:10: server.shards: must fit in 64 bits, got 99999999999999999999",
    ),
    (
        "[limits]\nheaders_max = -1",
        "trunkline.toml:2:15: limits.headers_max: must be between 8 and 256, got -1",
    ),
    ("[mqtt]\nmaximum_qos = 3", "trunkline.toml:2:15: mqtt.maximum_qos: must be between 0 and 2, got 3"),
    (
        "[mqtt]\nserver_reference = \"a.example [::1]:0\"",
        "trunkline.toml:2:20: mqtt.server_reference: must be `host[:port]`, separated by spaces, got \"[::1]:0\"",
    ),
    (
        "[[mqtt.auto_subscribe]]\nfilter = \"a/#/b\"",
        "trunkline.toml:2:10: mqtt.auto_subscribe[0].filter: must have `#` only as the last level",
    ),
    (
        "[auth]\nmode = \"none\"",
        "trunkline.toml:2:8: auth.mode: must be one of \"anonymous\", \"back_end\", \"jwt\", got \"none\"",
    ),
    // Tokens.
    (
        "[auth]\nmode = \"jwt\"",
        "trunkline.toml:2:8: auth.jwt: must have `secret`, `key_file` or `jwks_url`, since auth.mode is \"jwt\"",
    ),
    (
        "[auth.jwt]\nsign_tokens = true",
        "trunkline.toml:2:15: auth.jwt.secret: must be set when sign_tokens is",
    ),
    (
        "[[channel]]\nfilter = \"a\"\npresence_events = true",
        "trunkline.toml:3:19: channel[0].presence_events: needs presence",
    ),
    (
        "[auth.jwt]\nsecret = \"sesame\"",
        "trunkline.toml:2:10: auth.jwt.secret: must be at least 32 bytes long, got 6",
    ),
    (
        "[auth.jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"\nalgorithm = \"HS512\"",
        "trunkline.toml:2:10: auth.jwt.secret: must be at least 64 bytes long for its algorithm, got 32",
    ),
    (
        "[auth.jwt]\nsecret = \"0123456789abcdef0123456789abcdef\"\nalgorithm = \"RS256\"",
        "trunkline.toml:3:13: auth.jwt.algorithm: must be HS256, HS384 or HS512 for a secret, got RS256",
    ),
    (
        "[auth.jwt]\nalgorithm = \"none\"",
        "trunkline.toml:2:13: auth.jwt.algorithm: must be one of \"HS256\", \"HS384\", \"HS512\", \"RS256\", \"RS384\", \"RS512\", \"PS256\", \"PS384\", \"PS512\", \"ES256\", \"ES384\", \"ES512\", \"EdDSA\", got \"none\"",
    ),
    (
        "[auth.jwt]\njwks_url = \"https://id.example.com/keys\"",
        "trunkline.toml:2:12: auth.jwt.audience: must be set when jwks_url is: the provider's tokens for other services are not for this one",
    ),
    (
        "[auth.jwt]\naudience = [\"a\"]\njwks_url = \"http://id.example.com/keys\"",
        "trunkline.toml:3:12: auth.jwt.jwks_url: must be https, since id.example.com is not on this machine or a private network",
    ),
    (
        "[auth.jwt]\naudience = [\"a\"]\njwks_url = \"https://me:secret@id.example.com/keys\"",
        "trunkline.toml:3:12: auth.jwt.jwks_url: must be a URL such as \"https://id.example.com/jwks.json\", without a user and `#`",
    ),
    (
        "[[channel]]\nfilter = \"inbox/#\"\nsubscribe = \"own\"",
        "trunkline.toml:2:10: channel[0].filter: must have a level `{user}` or `{client}`, since `own` says whose it is",
    ),
    (
        "[[channel]]\nfilter = \"a\"\npublish = \"everybody\"",
        "trunkline.toml:3:11: channel[0].publish: must be one of \"nobody\", \"token\", \"own\", \"webhook\", \"anyone\", got \"everybody\"",
    ),
    (
        "[[private.key]]\nname = \"a\"\nsha256 = \"the key itself\"\nscopes = [\"read\"]",
        "trunkline.toml:3:10: private.key[0].sha256: must be a SHA-256, 64 hexadecimal digits; the key itself does not belong here",
    ),
    (
        "[[private.key]]\nname = \"a\"\nsha256 = \"f4b1bbac8d2bd69ff2fbe9fe0a1c20d2b5ff1ad8c46f4d0bbf8d1e4b2f0f7d11\"\nscopes = []",
        "trunkline.toml:4:10: private.key[0].scopes: must name at least one scope",
    ),
    (
        "[server]\npublic_listen = \"localhost\"",
        "trunkline.toml:2:17: server.public_listen: must be an IP address and port such as \"127.0.0.1:8000\", got \"localhost\"",
    ),
    (
        "[log]\nfilter = \"loud=maybe\"",
        "trunkline.toml:2:10: log.filter: must be a level or directives such as \"warn,trunkline::front=debug\", got \"loud=maybe\"",
    ),
    // Lists point at the element.
    (
        "[socketio]\ntransports = [\"polling\",\n  \"webtransport\"]",
        "trunkline.toml:3:3: socketio.transports: must be one of \"polling\", \"websocket\", got \"webtransport\"",
    ),
    (
        "[socketio]\ntransports = []",
        "trunkline.toml:2:14: socketio.transports: must name at least one transport",
    ),
    ("[socketio]\npaths = []", "trunkline.toml:2:9: socketio.paths: must name at least one path"),
    ("[socketio]\npaths = [\"io\"]", "trunkline.toml:2:10: socketio.paths: must begin with `/`, got \"io\""),
    (
        "[socketio]\ncors_origins = [\"https://a.example/\"]",
        "trunkline.toml:2:17: socketio.cors_origins: must not have a path, not even a last `/`, got \"https://a.example/\"",
    ),
    (
        "[socketio]\ncors_origins = [\"*\", \"https://a.example\"]",
        "trunkline.toml:2:17: socketio.cors_origins: must be the only one when it is \"*\"",
    ),
    (
        "[socketio]\ncookie = \"a b\"",
        "trunkline.toml:2:10: socketio.cookie: must be a cookie name (letters, digits, `-`, `_`, `.`), got \"a b\"",
    ),
    (
        "[socketio]\nroot_channel = \"a/+\"",
        "trunkline.toml:2:16: socketio.root_channel: must not hold `+`: that is a wildcard of filters",
    ),
    (
        "[[channel]]\nfilter = \"a/#/b\"",
        "trunkline.toml:2:10: channel[0].filter: must have `#` only as the last level",
    ),
    ("[[channel]]\npresence = true", "trunkline.toml:1:1: channel[0].filter: must be set"),
    // Secrets are not repeated.
    (
        "[private]\nkeys = [\"hunter2\"]",
        "trunkline.toml:2:9: private.keys: must be at least 16 bytes long, got 7",
    ),
    // Not TOML.
    ("[server]\nshards = = 4", "trunkline.toml:2:10: not valid TOML: extra `=`, expected nothing"),
    ("[server]\nshards = 1\nshards = 2", "trunkline.toml:3:1: not valid TOML: duplicate key"),
    // What keys mean together.
    (
        "[server]\nprivate_listen = \"0.0.0.0:9000\"",
        "trunkline.toml:2:18: private.keys: must hold a key, since server.private_listen 0.0.0.0:9000 is not loopback",
    ),
    (
        "[server]\npublic_listen = \"127.0.0.1:9000\"",
        "trunkline.toml: server.private_listen: must differ from server.public_listen, both are 127.0.0.1:9000",
    ),
    (
        "[server]\nproxy_protocol_from = [\"10.0.0.0/8\", \"proxy.example\"]",
        "trunkline.toml:2:38: server.proxy_protocol_from: must be an IP address or a block such as \"10.0.0.0/8\", got \"proxy.example\"",
    ),
    (
        "[mqtt]\nlisten = \"0.0.0.0:8000\"",
        "trunkline.toml:2:10: mqtt.listen: must differ from server.public_listen, both are 0.0.0.0:8000",
    ),
    (
        "[mqtt]\ntls_listen = \"0.0.0.0:8883\"",
        "trunkline.toml:2:14: mqtt.tls_listen: needs a certificate: set tls.certificate and tls.key",
    ),
    (
        "[mqtt]\ntls_client_ca = \"/ca.pem\"",
        "trunkline.toml:2:17: mqtt.tls_client_ca: needs mqtt.tls_listen: clients are asked for certificates there alone",
    ),
    (
        "[mqtt]\ntls_client_user = \"common_name\"",
        "trunkline.toml:2:19: mqtt.tls_client_user: needs mqtt.tls_client_ca, by which certificates of clients are verified",
    ),
    (
        "[[mqtt.user]]\nname = \"IX\"\npassword = \"a\"\n[[mqtt.user]]\nname = \"\u{2168}\"\npassword = \"b\"",
        "trunkline.toml:5:8: mqtt.user[1].name: is the name of another user too (names are compared after SASLprep)",
    ),
    (
        "[mqtt]\npath = \"/socket.io\"",
        "trunkline.toml:2:8: mqtt.path: must differ from those of socketio.paths, got \"/socket.io/\"",
    ),
    (
        "[socketio]\ncors_origins = [\"*\"]\ncors_credentials = true",
        "trunkline.toml:3:20: socketio.cors_credentials: must be false when cors_origins is [\"*\"]: list the origins instead",
    ),
    ("[tls]\ncertificate = \"a.pem\"", "trunkline.toml:2:15: tls.key: must be set when tls.certificate is"),
    ("[tls]\nkey = \"a.pem\"", "trunkline.toml:2:7: tls.certificate: must be set when tls.key is"),
    (
        "[[socketio.namespace]]\nname = \"/a\"\npattern = \"/b*\"",
        "trunkline.toml:3:11: socketio.namespace[0]: must have either `name` or `pattern`, not both",
    ),
    (
        "[[socketio.namespace]]\nevents = \"drop\"",
        "trunkline.toml:1:1: socketio.namespace[0]: must have a `name` or a `pattern`",
    ),
    (
        "[[socketio.namespace]]\nname = \"/a\"\n\n[[socketio.namespace]]\nname = \"/a\"",
        "trunkline.toml:4:1: socketio.namespace[1]: names /a a second time",
    ),
    // Bridges and what lies in them.
    (
        "[[bridge]]\nname = \"a b\"\nurl = \"mqtt://a\"\n[[bridge.rule]]\ndirection = \"in\"\nfilter = \"a\"",
        "trunkline.toml:2:8: bridge[0].name: must be 1 to 64 of `A-Za-z0-9_-`, got \"a b\"",
    ),
    (
        "[[bridge]]\nname = \"a\"\nurl = \"ws://a\"\n[[bridge.rule]]\ndirection = \"in\"\nfilter = \"a\"",
        "trunkline.toml:3:7: bridge[0].url: must begin with mqtt:// or mqtts://, got \"ws://a\"",
    ),
    (
        "[[bridge]]\nname = \"a\"\nurl = \"mqtt://a\"",
        "trunkline.toml:1:1: bridge[0]: must have a `[[bridge.rule]]`",
    ),
    (
        "[[bridge]]\nname = \"a\"\nurl = \"mqtt://a\"\n[[bridge.rule]]\ndirection = \"in\"\nfilter = \"a/#\"\n\
         [[bridge.rule]]\ndirection = \"both\"\nfilter = \"+/b\"",
        "trunkline.toml:9:10: bridge[0].rule[1]: must not match topics that rule 1 matches in the same direction",
    ),
    (
        "[[bridge]]\nname = \"a\"\nurl = \"mqtt://a\"\n[[bridge.rule]]\ndirection = \"up\"\nfilter = \"a\"",
        "trunkline.toml:5:13: bridge[0].rule[0].direction: must be one of \"in\", \"out\", \"both\", got \"up\"",
    ),
    (
        "[[bridge]]\nname = \"a\"\nurl = \"mqtt://a\"\n[[bridge.rule]]\ndirection = \"in\"\nfilter = \"$SYS/#\"",
        "trunkline.toml:6:10: bridge[0].rule[0]: must have a local_prefix: nobody publishes to names with `$` here",
    ),
    (
        "[[bridge]]\nname = \"a\"\nurl = \"mqtt://a\"\n[[bridge.rule]]\ndirection = \"out\"\nfilter = \"+\"\n\
         remote_prefix = \"a\"",
        "trunkline.toml:6:10: bridge[0].rule[0]: with its prefix must have `+` alone in a level, got `a+`",
    ),
    (
        "[mqtt]\nenabled = false\n[[bridge]]\nname = \"a\"\nurl = \"mqtt://a\"\n[[bridge.rule]]\n\
         direction = \"out\"\nfilter = \"a\"",
        "trunkline.toml:2:11: mqtt.enabled: must be true, since there is a [[bridge]]",
    ),
    (
        "[socketio]\nroot_channel = \"chat\"\n[[socketio.namespace]]\nname = \"/chat\"",
        "trunkline.toml:2:16: socketio.root_channel: must not be \"chat\": that is the channel of namespace /chat",
    ),
    (
        "[[binding]]\nfilter = \"a/#\"\nqueue = \"q\"",
        "trunkline.toml:3:9: binding[0].queue: must be declared by a [[queue]], got \"q\"",
    ),
    (
        "[sqs]\nenabled = false\n[[queue]]\nname = \"q\"\n[[binding]]\nfilter = \"a\"\nqueue = \"q\"",
        "trunkline.toml:7:9: binding[0].queue: needs sqs.enabled: without it there are no queues",
    ),
    (
        "[[socketio.namespace]]\nname = \"/a\"\nevents = \"queue\"",
        "trunkline.toml:3:10: socketio.namespace[0].queue: must be set when `events` is \"queue\"",
    ),
    (
        "[limits]\noutbox_bytes_max = 6_000_000\nmessage_bytes_max = 3_000_000",
        "trunkline.toml: limits.write_buffer_bytes_max: must be at least 4000000, a third more than limits.message_bytes_max 3000000",
    ),
    (
        "[limits]\noutbox_bytes_max = 2048",
        "trunkline.toml:2:20: limits.outbox_bytes_max: must be at least 2097152, twice limits.message_bytes_max 1048576, got 2048",
    ),
];

#[test]
fn every_mistake_in_a_file_is_told_with_line_column_and_key() {
    for (text, expected) in FILE_ERRORS {
        assert_eq!(problems(&file(text)), *expected, "for the file\n{text}");
    }
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_the_text() {
    let text = "[limits]\nheaders_max = 1\n[socketio]\neio3 = 3\n[nonsense]\n[server]\nshards = 1000\n";
    assert_eq!(
        problems(&file(text)),
        "trunkline.toml:2:15: limits.headers_max: must be between 8 and 256, got 1\n\
         trunkline.toml:4:8: socketio.eio3: must be true or false, got an integer\n\
         trunkline.toml:5:2: nonsense: unknown section\n\
         trunkline.toml:7:10: server.shards: must be between 0 and 64, got 1000"
    );
}

#[test]
fn the_choice_of_admission_has_to_be_made() {
    let mut sources = file("[server]\nshards = 2");
    sources.presets.clear();
    let meaning = "\"anonymous\" (anybody who reaches the public port is let in, without a user) or \
                   \"back_end\" (the back end is asked at every connect and may refuse: by a `[[webhook]]` that takes `session.connect`, or as a Rust program with Trunkline inside) or \
                   \"jwt\" (a token is asked for, which says who the client is and what it may do (`[auth.jwt]`))";
    assert_eq!(problems(&sources), format!("trunkline.toml: auth.mode: must be set: {meaning}"));
    sources.file = None;
    assert_eq!(problems(&sources), format!("configuration: auth.mode: must be set: {meaning}"));
}

#[test]
fn mistakes_in_variables_name_the_variable() {
    for (name, value, expected) in [
        (
            "TRUNKLINE_SOCKETIO__PING_INTERVAL_MS",
            "5",
            "socketio.ping_interval_ms: must be between 100 and 3600000, got 5",
        ),
        ("TRUNKLINE_SOCKETIO__PING", "5", "socketio.ping: unknown key"),
        ("TRUNKLINE_SERVER__SHARD", "5", "server.shard: unknown key; did you mean `server.shards`?"),
        ("TRUNKLINE_SERVER__SHARDS", "all", "server.shards: must be an integer, got \"all\""),
        ("TRUNKLINE_SOCKETIO__EIO3", "yes", "socketio.eio3: must be true or false, got \"yes\""),
        (
            "TRUNKLINE_CHANNEL__FILTER",
            "a",
            "channel.filter: can be set in a file only: `[[channel]]` is a list of tables",
        ),
        ("TRUNKLINE_PRIVATE__KEYS", "hunter2", "private.keys: must be at least 16 bytes long, got 7"),
    ] {
        let sources = Sources { environment: vec![(name.into(), value.into())], ..file("") };
        assert_eq!(problems(&sources), format!("environment {name}: {expected}"));
    }
}

#[test]
fn mistakes_in_arguments_name_the_argument_without_its_value() {
    let argument = |key: &str, value: &str| Argument {
        shown: format!("--set {key}"),
        key: key.into(),
        value: value.into(),
    };
    let sources = Sources { arguments: vec![argument("private.keys", "hunter2")], ..file("") };
    assert_eq!(problems(&sources), "--set private.keys: private.keys: must be at least 16 bytes long, got 7");
}
