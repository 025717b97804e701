"""Python's python-socketio as a client: the one with threads, and the one on asyncio.

LONGWIRE_SOCKETIO_URL  the running example `socketio_contract`, http://127.0.0.1:PORT
"""

import asyncio
import os
import queue
import unittest

import engineio.payload
import socketio

# A client that takes no more than 16 packets at once, as this one does by itself, breaks off in a burst at any server.
engineio.payload.Payload.max_decode_packets = 1000

URL = os.environ["LONGWIRE_SOCKETIO_URL"]
LIMIT_S = 10
BURST = 200
WAYS = {"polling": ["polling"], "websocket": ["websocket"], "upgrade": ["polling", "websocket"]}
AUTH = {"token": "geheim 你好", "list": [1, {"two": True}]}
ARGUMENTS = [
    ("", "text", "héllo 你好 🦀 \u2028"),
    (0, -1, 1.5, 9007199254740991),
    (True, False, None),
    ([], {}, [[["deep"]]], {"a": {"b": [1, "two", None]}}),
    (b"\x01\x02\xff",),
    (b"",),
    ("before", "你好".encode(), {"inside": [b"\x00", "x", {"deeper": b"\x07" * 20000}]}),
    ("x" * 100000, b"\x01" * 100000),
]


class Threads(unittest.TestCase):
    """socketio.Client, on requests and websocket-client."""

    def open(self, way, namespaces=("/",), auth=None):
        client = socketio.Client(reconnection=False)
        heard = queue.Queue()
        for namespace in namespaces:
            for event in ("auth", "message-back"):
                client.on(event, lambda *args, event=event: heard.put((event, args)), namespace=namespace)
        client.connect(URL, transports=WAYS[way], namespaces=list(namespaces), auth=auth, wait_timeout=LIMIT_S)
        self.addCleanup(client.disconnect)
        for _ in namespaces:
            self.assertEqual(heard.get(timeout=LIMIT_S), ("auth", (auth or {},)))
        return client, heard

    def test_connects_with_auth_and_ends_on_the_right_transport(self):
        for way, transports in WAYS.items():
            with self.subTest(way=way):
                client, _ = self.open(way, namespaces=("/", "/custom"), auth=AUTH)
                self.assertEqual(client.transport(), transports[-1])
                self.assertNotEqual(client.get_sid("/"), client.get_sid("/custom"))

    def test_events_come_back_with_each_kind_of_argument(self):
        for way in WAYS:
            with self.subTest(way=way):
                client, heard = self.open(way)
                for args in ARGUMENTS:
                    client.emit("message", args)
                    self.assertEqual(heard.get(timeout=LIMIT_S), ("message-back", args))

    def test_acknowledgements_carry_each_kind_of_argument(self):
        for way in WAYS:
            with self.subTest(way=way):
                client, _ = self.open(way)
                for args in ARGUMENTS:
                    answer = client.call("message-with-ack", args, timeout=LIMIT_S)
                    self.assertEqual(answer, args if len(args) > 1 else args[0])

    def test_what_nobody_answers_runs_into_its_time_out(self):
        client, _ = self.open("websocket")
        with self.assertRaises(socketio.exceptions.TimeoutError):
            client.call("nobody-is-here", timeout=0.2)

    def test_a_namespace_that_there_is_not_is_refused(self):
        for way in WAYS:
            with self.subTest(way=way):
                client = socketio.Client(reconnection=False)
                self.addCleanup(client.disconnect)
                with self.assertRaises(socketio.exceptions.ConnectionError):
                    client.connect(URL, transports=WAYS[way], namespaces=["/random"], wait_timeout=LIMIT_S)

    def test_a_burst_comes_back_whole_and_in_order(self):
        for way in WAYS:
            with self.subTest(way=way):
                client, heard = self.open(way)
                for number in range(BURST):
                    client.emit("message", (number, bytes([number])))
                back = [heard.get(timeout=LIMIT_S)[1] for _ in range(BURST)]
                self.assertEqual(back, [(number, bytes([number])) for number in range(BURST)])

    def test_stays_through_heartbeats(self):
        for way in WAYS:
            with self.subTest(way=way):
                client, heard = self.open(way)
                client.sleep(1.5)
                client.emit("message", "here")
                self.assertEqual(heard.get(timeout=LIMIT_S), ("message-back", ("here",)))


class Asyncio(unittest.IsolatedAsyncioTestCase):
    """socketio.AsyncClient, on aiohttp."""

    async def open(self, way, auth=None):
        client = socketio.AsyncClient(reconnection=False)
        heard = asyncio.Queue()
        for event in ("auth", "message-back"):
            client.on(event, lambda *args, event=event: heard.put_nowait((event, args)))
        await client.connect(URL, transports=WAYS[way], auth=auth, wait_timeout=LIMIT_S)
        self.addAsyncCleanup(client.disconnect)
        self.assertEqual(await self.next(heard), ("auth", (auth or {},)))
        return client, heard

    async def next(self, heard):
        return await asyncio.wait_for(heard.get(), LIMIT_S)

    async def test_events_and_acknowledgements(self):
        for way, transports in WAYS.items():
            with self.subTest(way=way):
                client, heard = await self.open(way, auth=AUTH)
                self.assertEqual(client.transport(), transports[-1])
                for args in ARGUMENTS:
                    await client.emit("message", args)
                    self.assertEqual(await self.next(heard), ("message-back", args))
                    answer = await client.call("message-with-ack", args, timeout=LIMIT_S)
                    self.assertEqual(answer, args if len(args) > 1 else args[0])

    async def test_a_burst_comes_back_whole_and_in_order(self):
        for way in WAYS:
            with self.subTest(way=way):
                client, heard = await self.open(way)
                for number in range(BURST):
                    await client.emit("message", (number, bytes([number])))
                back = [(await self.next(heard))[1] for _ in range(BURST)]
                self.assertEqual(back, [(number, bytes([number])) for number in range(BURST)])


if __name__ == "__main__":
    unittest.main()
