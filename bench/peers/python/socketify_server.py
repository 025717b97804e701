"""The echo/broadcast contract on socketify (uWebSockets under Python), with its own publish/subscribe for fan-out.

uWebSockets corks a line by itself while its message handler runs, which is all the corking that echo can use.
"""

import sys

from socketify import App, CompressOptions, OpCode

PAYLOAD_BYTES_MAX = 64 * 1024 * 1024
# Never drop a message for back-pressure: a lost delivery would look like a cheap one.
BACKPRESSURE_BYTES_MAX = 1024 * 1024 * 1024


def behavior(**handlers):
    return {
        "compression": CompressOptions.DISABLED,
        "max_payload_length": PAYLOAD_BYTES_MAX,
        "max_backpressure": BACKPRESSURE_BYTES_MAX,
        **handlers,
    }


def upgrade(response, request, context):
    response.upgrade(
        request.get_header("sec-websocket-key"),
        request.get_header("sec-websocket-protocol"),
        request.get_header("sec-websocket-extensions"),
        context,
        request.get_parameter(0),
    )


def main(address: str) -> None:
    host, _, port = address.rpartition(":")
    app = App()

    def echo(line, message, opcode):
        line.send(message, opcode)

    def subscribe(line):
        line.subscribe(line.get_user_data())

    def publish(line, message, opcode):
        if opcode == OpCode.TEXT:
            app.publish(line.get_user_data(), message, OpCode.TEXT)

    app.ws("/echo", behavior(message=echo))
    app.ws("/sub/:name", behavior(upgrade=upgrade, open=subscribe, message=lambda line, message, opcode: None))
    app.ws("/pub/:name", behavior(upgrade=upgrade, message=publish))
    app.listen({"host": host, "port": int(port)})
    app.run()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: socketify_server.py HOST:PORT")
    main(sys.argv[1])
