"""The echo/broadcast contract on FastAPI and uvicorn, the way FastAPI's documentation broadcasts: one `await` for each client."""

import sys
from collections import defaultdict

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
channels: defaultdict[str, set[WebSocket]] = defaultdict(set)


@app.websocket("/echo")
async def echo(line: WebSocket) -> None:
    await line.accept()
    while (message := await line.receive())["type"] == "websocket.receive":
        if (text := message.get("text")) is not None:
            await line.send_text(text)
        else:
            await line.send_bytes(message["bytes"])


@app.websocket("/sub/{name}")
async def subscribe(line: WebSocket, name: str) -> None:
    await line.accept()
    channels[name].add(line)
    try:
        while (await line.receive())["type"] == "websocket.receive":
            pass
    finally:
        channels[name].discard(line)


@app.websocket("/pub/{name}")
async def publish(line: WebSocket, name: str) -> None:
    await line.accept()
    try:
        while True:
            text = await line.receive_text()
            for subscriber in list(channels[name]):
                await subscriber.send_text(text)
    except WebSocketDisconnect:
        pass


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: fastapi_server.py HOST:PORT")
    host, _, port = sys.argv[1].rpartition(":")
    uvicorn.run(
        app,
        host=host,
        port=int(port),
        workers=1,
        backlog=4096,
        log_level="warning",
        ws_per_message_deflate=False,
    )
