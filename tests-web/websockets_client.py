"""Python's `websockets` as a client.

LONGWIRE_URL       the running default server, http://127.0.0.1:PORT
LONGWIRE_ECHO_URL  the running `echo` example
"""

import asyncio
import os
import unittest

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

SERVER = os.environ["LONGWIRE_URL"].rstrip("/").replace("http", "ws", 1)
ECHO = os.environ["LONGWIRE_ECHO_URL"].rstrip("/").replace("http", "ws", 1)
LIMIT_S = 30
MEBIBYTE = 1 << 20


def line(url, **options):
    return connect(url, max_size=4 * MEBIBYTE, open_timeout=LIMIT_S, close_timeout=LIMIT_S, **options)


async def soon(awaitable):
    return await asyncio.wait_for(awaitable, LIMIT_S)


class Greeting(unittest.IsolatedAsyncioTestCase):

    async def test_ws_greets_and_answers_in_the_articles_words(self):
        async with line(SERVER + "/ws") as ws:
            self.assertEqual(await soon(ws.recv()), "✅ WebSocket 已连接")
            await ws.send("你好")
            self.assertEqual(await soon(ws.recv()), "你发送了：你好")

    async def test_an_unknown_path_is_refused_with_404(self):
        with self.assertRaises(InvalidStatus) as refused:
            await line(SERVER + "/no/such/path")
        self.assertEqual(refused.exception.response.status_code, 404)


class Echo(unittest.IsolatedAsyncioTestCase):

    async def echoes(self, ws, message):
        await ws.send(message)
        self.assertEqual(await soon(ws.recv()), message)

    async def test_messages_come_back_as_they_went(self):
        for compression in (None, "deflate"):
            with self.subTest(compression=compression):
                async with line(ECHO + "/echo", compression=compression) as ws:
                    names = [extension.name for extension in ws.protocol.extensions]
                    self.assertEqual(names, ["permessage-deflate"] if compression else [])
                    for text in ("", "a", "héllo 你好 🦀", "x" * 65536, "é" * (MEBIBYTE // 2)):
                        await self.echoes(ws, text)
                        await self.echoes(ws, text.encode())
                    await self.echoes(ws, os.urandom(MEBIBYTE))

    async def test_a_fragmented_message_comes_back_whole(self):
        for compression in (None, "deflate"):
            with self.subTest(compression=compression):
                async with line(ECHO + "/echo", compression=compression) as ws:
                    await ws.send(["Hel", "lo, ", "", "你", "好"])
                    self.assertEqual(await soon(ws.recv()), "Hello, 你好")
                    await ws.send([b"\x00", b"\xff" * 70000])
                    self.assertEqual(await soon(ws.recv()), b"\x00" + b"\xff" * 70000)

    async def test_a_ping_is_answered(self):
        async with line(ECHO + "/echo") as ws:
            await soon(await ws.ping(b"payload"))

    async def test_a_thousand_messages_come_back_in_their_order(self):
        async with line(ECHO + "/echo") as ws:
            texts = ["message %d" % i for i in range(1000)]
            sending = asyncio.ensure_future(self.send_all(ws, texts))
            self.assertEqual([await soon(ws.recv()) for _ in texts], texts)
            await sending

    async def send_all(self, ws, texts):
        for text in texts:
            await ws.send(text)

    async def test_a_close_is_answered_with_its_own_code(self):
        for code in (1000, 3000, 4999):
            with self.subTest(code=code):
                ws = await line(ECHO + "/echo")
                await soon(ws.close(code, "bye"))
                with self.assertRaises(ConnectionClosed) as closed:
                    await soon(ws.recv())
                self.assertEqual(closed.exception.rcvd.code, code)


if __name__ == "__main__":
    unittest.main()
