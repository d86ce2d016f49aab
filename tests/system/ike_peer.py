"""A small IKEv2 initiator (RFC 7296) with a pre-shared key: it makes and reads messages, others carry them.

It speaks AES-CBC-256, HMAC-SHA2-256, Curve25519 and asks for one ESP SA of the same; it announces
neither fragmentation of IKE nor NAT traversal, and can make its messages as long as a test needs.
"""
import hashlib
import hmac
import os
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SA, KE, IDI, IDR, AUTH, NONCE, NOTIFY, VENDOR_ID, TSI, TSR, SK = 33, 34, 35, 36, 39, 40, 41, 43, 44, 45, 46
SA_INIT, IKE_AUTH = 34, 35
INITIATOR, RESPONSE = 0x08, 0x20
ICV_LEN = 16


def prf(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def prf_plus(key, seed, length):
    out = last = b""
    while len(out) < length:
        last = prf(key, last + seed + bytes([len(out) // 32 + 1]))
        out += last
    return out[:length]


def transform(more, kind, number, key_bits=None):
    attribute = struct.pack(">HH", 0x800E, key_bits) if key_bits else b""
    return struct.pack(">BBHBBH", 3 if more else 0, 0, 8 + len(attribute), kind, 0, number) + attribute


def proposal(protocol, spi, *rows):
    body = b"".join(transform(n + 1 < len(rows), *row) for n, row in enumerate(rows))
    return struct.pack(">BBHBBBB", 0, 0, 8 + len(spi) + len(body), 1, protocol, len(spi), len(rows)) + spi + body


def chain(payloads):
    """(type, body) pairs as bytes, each naming the next."""
    out = b""
    for n, (_, body) in enumerate(payloads):
        following = payloads[n + 1][0] if n + 1 < len(payloads) else 0
        out += struct.pack(">BBH", following, 0, 4 + len(body)) + body
    return out


def unchain(first, data):
    payloads = {}
    while first:
        following, _, length = struct.unpack_from(">BBH", data)
        payloads.setdefault(first, []).append(data[4:length])
        first, data = following, data[length:]
    return payloads


def padding(size):
    """Vendor IDs of at least `size` bytes in all, headers included."""
    out = []
    while size > 0:
        length = min(1000, max(16, size - 4))
        out.append((VENDOR_ID, os.urandom(length)))
        size -= 4 + length
    return out


def selector(network, last):
    start, end = (bytes(map(int, a.split("."))) for a in (network, last))
    return b"\x01\0\0\0" + struct.pack(">BBHHH", 7, 0, 16, 0, 65535) + start + end


class Initiator:
    def __init__(self, name, secret, near, far):
        """name: the FQDN it says it is; near and far: (first, last) address of the selectors."""
        self.name, self.secret, self.near, self.far = name.encode(), secret.encode(), near, far
        self.spi, self.peer_spi = os.urandom(8), bytes(8)
        self.esp_spi = os.urandom(4)
        self.key = X25519PrivateKey.generate()
        self.nonce = os.urandom(32)
        self.first = None

    def header(self, following, exchange, message_id, length):
        return self.spi + self.peer_spi + struct.pack(">BBBBII", following, 0x20, exchange, INITIATOR, message_id,
                                                      length)

    def sa_init(self, size=0):
        """The IKE_SA_INIT request, of at least `size` bytes."""
        public = self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        payloads = [(SA, proposal(1, b"", (1, 12, 256), (2, 5), (3, 12), (4, 31))),
                    (KE, struct.pack(">HH", 31, 0) + public), (NONCE, self.nonce)]
        body = chain(payloads + padding(size - 28 - len(chain(payloads))))
        self.first = self.header(SA, SA_INIT, 0, 28 + len(body)) + body
        return self.first

    def read_sa_init(self, message):
        assert message[18] == SA_INIT and message[19] & RESPONSE, message[:28]
        self.peer_spi, self.first_answer = message[8:16], message
        answer = unchain(message[16], message[28:])
        peer_nonce = answer[NONCE][0]
        shared = self.key.exchange(X25519PublicKey.from_public_bytes(answer[KE][0][4:]))
        seed = prf(self.nonce + peer_nonce, shared)
        keys = prf_plus(seed, self.nonce + peer_nonce + self.spi + self.peer_spi, 7 * 32)
        (self.sk_d, self.sk_ai, self.sk_ar, self.sk_ei, self.sk_er, self.sk_pi,
         self.sk_pr) = (keys[n:n + 32] for n in range(0, len(keys), 32))
        self.peer_nonce = peer_nonce

    def auth_value(self, message, nonce, key, identity):
        return prf(prf(self.secret, b"Key Pad for IKEv2"), message + nonce + prf(key, identity))

    def auth(self, size=0):
        """The IKE_AUTH request, of at least `size` bytes."""
        me = b"\x02\0\0\0" + self.name
        payloads = [(IDI, me),
                    (AUTH, b"\x02\0\0\0" + self.auth_value(self.first, self.peer_nonce, self.sk_pi, me)),
                    (SA, proposal(3, self.esp_spi, (1, 12, 256), (3, 12), (5, 0))),
                    (TSI, selector(*self.near)), (TSR, selector(*self.far))]
        text = chain(payloads + padding(size - 28 - len(chain(payloads))))
        return self.seal(IKE_AUTH, 1, IDI, text)

    def seal(self, exchange, message_id, following, text):
        pad = -(len(text) + 1) % 16
        text += bytes(pad) + bytes([pad])
        iv = os.urandom(16)
        cipher = Cipher(algorithms.AES(self.sk_ei), modes.CBC(iv)).encryptor()
        body = iv + cipher.update(text) + cipher.finalize()
        message = (self.header(SK, exchange, message_id, 28 + 4 + len(body) + ICV_LEN) +
                   struct.pack(">BBH", following, 0, 4 + len(body) + ICV_LEN) + body)
        return message + prf(self.sk_ai, message)[:ICV_LEN]

    def read_auth(self, message):
        """The payloads of the IKE_AUTH answer, whose AUTH is checked."""
        assert message[18] == IKE_AUTH and message[19] & RESPONSE and message[16] == SK, message[:28]
        assert hmac.compare_digest(prf(self.sk_ar, message[:-ICV_LEN])[:ICV_LEN], message[-ICV_LEN:])
        cipher = Cipher(algorithms.AES(self.sk_er), modes.CBC(message[32:48])).decryptor()
        text = cipher.update(message[48:-ICV_LEN]) + cipher.finalize()
        answer = unchain(message[28], text[:-1 - text[-1]])
        assert AUTH in answer, f"no AUTH but {[p.hex() for p in answer.get(NOTIFY, [])]}"
        proof = self.auth_value(self.first_answer, self.nonce, self.sk_pr, answer[IDR][0])
        assert hmac.compare_digest(answer[AUTH][0][4:], proof)
        return answer
