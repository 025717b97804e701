"""One fuzzer: a process of its own that runs cases and writes their results.

    fuzzer.py attack OUT LIMIT URL AGENT CASE...      be the client of a server under test
    fuzzer.py serve  OUT LIMIT FD PORT CASE...        be the server of a client under test,
                                                      on the listening socket FD

drive.py starts it. For each finished case it prints a line `RESULT id behavior close time`
and writes the full record, wire log included, to OUT/ID.json; at its end OUT/results.json.
Being a server it ends at SIGTERM; LIMIT seconds end both.
"""

import json
import os
import sys
import warnings

NEVER_OPEN = "The WebSocket opening handshake was never completed!"
FIRST_HANDSHAKES = 10

# What of a case's record goes into results.json.
KEPT = ("behavior", "behaviorClose", "result", "resultClose", "duration", "wasClean",
        "wasNotCleanReason", "remoteCloseCode")


class Results:
    """Collects what the cases came to, and errors in the fuzzer itself."""

    def __init__(self, out):
        self.out = out
        self.cases = {}
        self.opened = 0
        self.errors = 0
        self.end = None

    def add(self, record):
        never_open = record["resultClose"] == NEVER_OPEN
        self.opened += not never_open
        self.cases[record["id"]] = {k: record[k] for k in KEPT}
        with open(os.path.join(self.out, record["id"] + ".json"), "w", encoding="utf-8") as f:
            json.dump(record, f, indent=1, default=repr)
        took = "never opened" if never_open else "%d ms" % record["duration"]
        print("RESULT %s %s / %s %s" % (record["id"], record["behavior"], record["behaviorClose"], took),
              flush=True)

    def observe(self, event):
        """A log observer: an error that nobody handled means a verdict can't be trusted."""
        from twisted.logger import LogLevel, formatEvent

        if event.get("log_level") in (LogLevel.error, LogLevel.critical) or event.get("log_failure"):
            self.errors += 1
            print("FUZZER ERROR: %s" % formatEvent(event), flush=True)
            if event.get("log_failure"):
                event["log_failure"].printTraceback(file=sys.stdout)
                sys.stdout.flush()
        elif "handshake" in (event.get("log_format") or ""):
            print(formatEvent(event), flush=True)

    def write(self):
        path = os.path.join(self.out, "results.json")
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"end": self.end or "all done", "errors": self.errors, "cases": self.cases}, f, indent=1)


def prepare(results):
    """Twisted's reactor, with its log going to results."""
    warnings.simplefilter("ignore")
    import txaio

    txaio.use_twisted()
    from twisted.internet import reactor
    from twisted.logger import globalLogBeginner

    globalLogBeginner.beginLoggingTo([results.observe], redirectStandardIO=False, discardBuffer=True)
    return reactor


def stop_after(reactor, results, seconds):
    def late():
        results.end = "stopped after %g s" % seconds
        reactor.stop()

    reactor.callLater(seconds, late)


def attack(out, limit, url, agent, ids):
    """Run the cases, one after the other, against the echo server at url."""
    results = Results(out)
    reactor = prepare(results)
    from autobahntestsuite import fuzzing

    class Factory(fuzzing.FuzzingClientFactory):

        def logCase(self, record):
            super().logCase(record)
            results.add(record)
            if results.opened == 0 and len(results.cases) >= FIRST_HANDSHAKES:
                results.end = "stopped: the first %d opening handshakes all failed" % FIRST_HANDSHAKES
                reactor.stop()

        def clientConnectionLost(self, connector, reason):
            if results.end is None:
                super().clientConnectionLost(connector, reason)

        def clientConnectionFailed(self, connector, reason):
            if results.end is None:
                results.end = "cannot connect to %s: %s" % (url, reason.getErrorMessage())
                reactor.stop()

        def createReports(self, produceHtml=True, produceJson=True):
            """Results has it all."""

    Factory({"outdir": out, "cases": ids, "exclude-cases": [], "exclude-agent-cases": {},
             "servers": [{"agent": agent, "url": url}]})
    stop_after(reactor, results, limit)
    reactor.run()
    results.write()


def serve(out, limit, fd, port, ids):
    """Offer the cases to whoever connects, until SIGTERM."""
    import socket

    results = Results(out)
    reactor = prepare(results)
    from autobahntestsuite import fuzzing

    class Factory(fuzzing.FuzzingServerFactory):

        def logCase(self, record):
            super().logCase(record)
            results.add(record)

        def createReports(self, produceHtml=True, produceJson=True):
            """Results has it all."""

    factory = Factory({"url": "ws://127.0.0.1:%d" % port, "outdir": out, "cases": ids,
                       "exclude-cases": [], "exclude-agent-cases": {}})
    reactor.adoptStreamPort(fd, socket.AF_INET, factory)
    stop_after(reactor, results, limit)
    reactor.run()
    results.write()


def main(args):
    if args[:1] == ["attack"] and len(args) > 5:
        attack(args[1], float(args[2]), args[3], args[4], args[5:])
    elif args[:1] == ["serve"] and len(args) > 5:
        serve(args[1], float(args[2]), int(args[3]), int(args[4]), args[5:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
