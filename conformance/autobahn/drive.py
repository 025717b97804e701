"""Picks cases, runs fuzzers side by side, follows them, judges. run.sh calls it."""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import cases
import verdict

HERE = os.path.dirname(os.path.abspath(__file__))
USAGE_ERROR = 64
# A fuzzer ends itself at its limit; this much later it counts as hanging.
GRACE_S = 30


def options(argv):
    p = argparse.ArgumentParser(prog="run.sh", description="Autobahn conformance, see README.md.")
    p.add_argument("mode", choices=["server", "client", "cases", "echo", "testee"])
    p.add_argument("words", nargs="*", metavar="ARG", help="what the mode wants, then CASES")
    p.add_argument("--full", action="store_true", help="all 517 cases, not the ordinary selection")
    p.add_argument("--jobs", type=int, default=2, help="so many fuzzers side by side (default 2)")
    p.add_argument("--limit", type=float, help="give up after so many seconds (default 600, with --full 3600)")
    p.add_argument("--agent", default="longwire", help="name of the peer under test in the report")
    p.add_argument("--out", help="folder of the report (default .cache/autobahn/reports/AGENT-MODE)")
    p.add_argument("--verbose", action="store_true", help="print a line for every case")
    command = []
    if "--" in argv:
        at = argv.index("--")
        argv, command = argv[:at], argv[at + 1:]
    # A pattern such as -9.3 would read as an option: argparse sees it as text behind a blank.
    argv = [" " + a if a[:1] == "-" and a[1:2].isdigit() else a for a in argv]
    o = p.parse_intermixed_args(argv)
    o.words = [w.strip() for w in o.words]
    o.limit = o.limit or (3600 if o.full else 600)
    o.command = command
    return o


def selected(o, patterns):
    """(ids, the name of their set in expected.json or None, expected.json itself)."""
    with open(os.path.join(HERE, "expected.json"), encoding="utf-8") as f:
        expected = json.load(f)
    ids = cases.known()
    if patterns:
        return cases.pick(patterns, ids), None, expected
    if o.full:
        return ids, "full", expected
    return cases.pick(expected["selection"], ids), "ordinary", expected


class Fuzzer:
    """A fuzzer process with its share of the cases, and the client it serves, if it does."""

    def __init__(self, out, number, ids):
        self.ids = ids
        self.out = os.path.join(out, "fuzzer%d" % number)
        self.log = os.path.join(out, "fuzzer%d.log" % number)
        self.client_log = os.path.join(out, "client%d.log" % number)
        self.seen = 0
        self.client = None
        os.makedirs(self.out)

    def spawn(self, words, fds=()):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", os.path.join(HERE, "fuzzer.py")] + words,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, pass_fds=fds)

    def attack(self, url, agent, limit):
        self.spawn(["attack", self.out, str(limit), url, agent] + self.ids)

    def serve(self, command, agent, limit):
        """Listen here and hand the socket over: the client may connect at once."""
        with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
            listener.setblocking(False)   # Twisted accepts until there is no more
            port = listener.getsockname()[1]
            self.spawn(["serve", self.out, str(limit), str(listener.fileno()), str(port)] + self.ids,
                       fds=(listener.fileno(),))
        with open(self.client_log, "wb") as log:
            self.client = subprocess.Popen(command + ["ws://127.0.0.1:%d" % port, agent],
                                           stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)

    def running(self):
        """Whether there is more to come. A client that has ended ends its fuzzing server."""
        if self.client and self.client.poll() is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.poll() is None

    def news(self):
        """The whole lines that the log got since the last call."""
        with open(self.log, "rb") as f:
            f.seek(self.seen)
            chunk = f.read()
        chunk = chunk[:chunk.rfind(b"\n") + 1]
        self.seen += len(chunk)
        return chunk.decode("utf-8", "replace").splitlines()

    def kill(self):
        for p in (self.client, self.process):
            if p and p.poll() is None:
                p.kill()
                p.wait()

    def results(self):
        """What the fuzzer wrote at its end. What went wrong with it or its client is printed and counted."""
        r = {"errors": 0, "cases": {}}
        client_failed = self.client is not None and self.client.returncode != 0
        if client_failed:
            print("autobahn: the client ended with %s; the end of %s:" % (self.client.returncode, self.client_log))
            print(tail(self.client_log, 15), end="")
        try:
            with open(os.path.join(self.out, "results.json"), encoding="utf-8") as f:
                r = json.load(f)
            if r["end"] != "all done":
                print("autobahn: " + r["end"])
        except (OSError, ValueError):
            if not client_failed:
                print("autobahn: a fuzzer died (exit %s); the end of %s:" % (self.process.returncode, self.log))
                print(tail(self.log, 15), end="")
                r["errors"] += 1
        r["errors"] += client_failed
        return r


def tail(path, lines):
    with open(path, encoding="utf-8", errors="replace") as f:
        return "".join("    " + line for line in f.readlines()[-lines:])


def run(o, start, ids, selection, expected):
    """Share the cases out, start(fuzzer) each share, follow them to the end; the exit code."""
    began = time.monotonic()
    out = o.out or os.path.join(os.environ["AUTOBAHN_REPORTS"], "%s-%s" % (o.agent, o.mode))
    clear(out)
    jobs = max(1, min(o.jobs, len(ids)))
    print("autobahn %s: %d cases, %d at a time; report in %s" % (o.mode, len(ids), jobs, out), flush=True)

    # Dealt out in turn, so that each gets its share of the slow ones.
    fuzzers = [Fuzzer(out, j, ids[j::jobs]) for j in range(jobs)]

    def stop(number, _frame):
        for f in fuzzers:
            f.kill()
        sys.exit(128 + number)

    try:
        for f in fuzzers:
            start(f)
        signal.signal(signal.SIGINT, stop)
        signal.signal(signal.SIGTERM, stop)
        follow(fuzzers, len(ids), o.verbose, began, o.limit + GRACE_S)
    finally:
        for f in fuzzers:
            if hasattr(f, "process"):
                f.kill()

    merged = {"errors": 0, "cases": {}}
    for f in fuzzers:
        r = f.results()
        merged["errors"] += r["errors"]
        merged["cases"].update(r["cases"])
    with open(os.path.join(out, "results.json"), "w", encoding="utf-8") as f:
        json.dump(merged, f, indent=1, sort_keys=True)
    return verdict.judge(o.mode, merged, ids, expected, selection, time.monotonic() - began)


def clear(out):
    """Make out an empty folder; one that isn't a report is left alone."""
    if os.path.isdir(out) and os.listdir(out):
        if not os.path.exists(os.path.join(out, "fuzzer0.log")):
            raise ValueError("%s exists and is not a report: choose another --out" % out)
        shutil.rmtree(out)
    os.makedirs(out, exist_ok=True)


def follow(fuzzers, total, verbose, began, limit):
    done, shown = 0, 0
    while True:
        alive = any([f.running() for f in fuzzers])
        for line in (line for f in fuzzers for line in f.news()):
            if line.startswith("RESULT "):
                done += 1
                if verbose or " FAILED " in line:
                    print("  " + line[7:], flush=True)
            elif line.startswith("FUZZER ERROR"):
                print("  " + line, flush=True)
        if done >= shown + 50:
            shown = done
            print("  %d of %d cases, %.0f s" % (done, total, time.monotonic() - began), flush=True)
        if not alive:
            return
        if time.monotonic() - began > limit:
            print("autobahn: a fuzzer hangs and is killed")
            for f in fuzzers:
                f.kill()
        time.sleep(0.1)


def testee(mode, words):
    """Autobahn's own echo server (PORT) or client (URL AGENT)."""
    import warnings

    warnings.simplefilter("ignore")
    import txaio

    txaio.use_twisted()
    from twisted.internet import reactor
    from autobahn.twisted.websocket import connectWS, listenWS
    from autobahntestsuite import testee as own

    if mode == "echo":
        listenWS(own.TesteeServerFactory("ws://127.0.0.1:%d" % int(words[0])), interface="127.0.0.1")
    else:
        own.reactor = reactor
        connectWS(own.TesteeClientFactory(words[0], ident=words[1]))
    reactor.run()


def main(argv):
    o = options(argv)
    arguments = {"echo": 1, "testee": 2, "server": 1}.get(o.mode, 0)
    if len(o.words) < arguments or (o.mode == "client") != bool(o.command):
        print("autobahn: '%s' wants other arguments; the head of run.sh lists them" % o.mode, file=sys.stderr)
        return USAGE_ERROR
    if o.mode in ("echo", "testee"):
        return testee(o.mode, o.words)
    try:
        ids, selection, expected = selected(o, o.words[arguments:])
        if o.mode == "cases":
            print("\n".join(ids))
            return 0
        if o.mode == "server":
            url = o.words[0]
            return run(o, lambda f: f.attack(url, o.agent, o.limit), ids, selection, expected)
        return run(o, lambda f: f.serve(o.command, o.agent, o.limit), ids, selection, expected)
    except ValueError as e:
        print("autobahn: %s" % e, file=sys.stderr)
        return USAGE_ERROR


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
