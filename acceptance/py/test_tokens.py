"""Tokens that PyJWT makes, as paho-mqtt and python-socketio show them."""

import json
import tempfile
import time
from pathlib import Path

import jwt
import requests
import socketio
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm
from paho.mqtt.packettypes import PacketTypes

from .sut import WAIT_S, ServerCase, ours
from .test_mqtt import Client, properties

SECRET = b"0123456789abcdef" * 4
RSA = rsa.generate_private_key(65537, 2048)
KEYS = {
    "HS256": SECRET,
    "HS512": SECRET,
    "RS256": RSA,
    "PS256": RSA,
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "ES384": ec.generate_private_key(ec.SECP384R1()),
    "ES512": ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}


def jwk(algorithm, key):
    """The JWK by which a verifier knows the key."""
    if isinstance(key, bytes):
        made = HMACAlgorithm.to_jwk(key, as_dict=True)
    else:
        kind = {"R": RSAAlgorithm, "P": RSAAlgorithm, "E": ECAlgorithm}[algorithm[0]] if algorithm != "EdDSA" else OKPAlgorithm
        made = kind.to_jwk(key.public_key(), as_dict=True)
    # PyJWT names all operations of a private or public key; the algorithm is what we say.
    return {**made, "kid": algorithm, "alg": algorithm}


def token(algorithm, **claims):
    body = {"sub": "u1", "exp": int(time.time()) + 600, **claims}
    return jwt.encode(body, KEYS[algorithm], algorithm=algorithm, headers={"kid": algorithm})


@ours
class Tokens(ServerCase):
    kind = "mqtt"

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        file = Path(cls.folder.name) / "keys.json"
        file.write_text(json.dumps({"keys": [jwk(*entry) for entry in KEYS.items()]}))
        cls.settings = {"authMode": "jwt", "jwtKeyFile": str(file)}
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        cls.folder.cleanup()

    def code(self, version, password):
        """The code of CONNACK."""
        client = Client(self, version)
        client.username_pw_set("any", password)
        client.connect(self.server["host"], self.server["port"])
        client.loop_start()
        return client.next("connect")[1].value

    def test_every_algorithm_over_both_protocols(self):
        for algorithm in KEYS:
            with self.subTest(algorithm):
                good = token(algorithm)
                self.assertEqual(self.code("5.0", good), 0)
                self.assertEqual(self.code("3.1.1", good), 0)
                client = socketio.Client(reconnection=False)
                self.addCleanup(client.disconnect)
                client.connect(self.url, auth={"token": good}, transports=["websocket"], wait_timeout=WAIT_S)
                self.assertTrue(client.connected)

    def test_refusals(self):
        for bad in (token("ES256", exp=int(time.time()) - 60), token("RS256")[:-4] + "AAAA", "no token", jwt.encode({"sub": "u1"}, None, algorithm="none")):
            with self.subTest(bad[:20]):
                self.assertEqual(self.code("5.0", bad), 0x86)
                client = socketio.Client(reconnection=False)
                with self.assertRaises(socketio.exceptions.ConnectionError):
                    client.connect(self.url, auth={"token": bad}, transports=["websocket"], wait_timeout=WAIT_S)
                client.disconnect()

    def test_a_revoked_token_ends_its_session(self):
        bad = token("ES256", jti="stolen")
        client = Client(self, "5.0")
        client.username_pw_set("any", bad)
        client.connect(self.server["host"], self.server["port"])
        client.loop_start()
        self.assertEqual(client.next("connect")[1].value, 0)
        key = self.server.get("key")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        body = {"until": int(time.time()) + 600}
        url = f"{self.server['privateUrl']}/v1/revocations/stolen"
        self.assertEqual(requests.put(url, json=body, headers=headers, timeout=WAIT_S).status_code, 204)
        self.assertEqual(client.next("disconnect"), 0x87)
        self.assertEqual(self.code("5.0", bad), 0x86)

    def test_mqtt_5_shows_a_token_by_a_method(self):
        """MQTT 5.0, 4.12: CONNACK names the method, and a token that is no good is refused as a password is."""
        for password, expected in ((token("EdDSA"), 0), ("no token", 0x86)):
            with self.subTest(expected):
                client = Client(self, "5.0")
                made = properties(PacketTypes.CONNECT, AuthenticationMethod="JWT", AuthenticationData=password.encode())
                client.connect(self.server["host"], self.server["port"], properties=made)
                client.loop_start()
                _, code, told = client.next("connect")
                self.assertEqual(code.value, expected)
                if not expected:
                    self.assertEqual(told.AuthenticationMethod, "JWT")
