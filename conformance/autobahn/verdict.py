"""What the results of a run come to, held against what is expected.

A case passes when both its behaviour and its close are OK. INFORMATIONAL passes only for
the cases that expected.json lists, since the suite has no opinion there. Everything else
fails: FAILED, NON-STRICT, UNIMPLEMENTED, and a close that is UNCLEAN or has the WRONG CODE.
"""

from collections import Counter

from cases import order, section

OK, FAILED, NOT_RUN, BROKEN = 0, 1, 2, 3
SHOWN = 30


def judge(who, results, wanted, expected, selection, seconds):
    """Print the summary of a run; its exit code.

    selection names the set of expected.json that was run, or is None for cases picked by hand.
    """
    cases = results["cases"]
    missing = [c for c in wanted if c not in cases]
    counts = tally(cases)
    failures = {c: why for c in sorted(cases, key=order)
                if (why := fault(c, cases[c], expected["informational"]))}
    differences = [] if selection is None else compare(counts, expected[selection])

    whole = sum((Counter(n) for n in counts.values()), Counter())
    words = ["%d %s" % (n, word) for word, n in whole.most_common()]
    print("autobahn %s: %d of %d cases run in %.1f s: %s"
          % (who, len(cases), len(wanted), seconds, ", ".join(words) or "none"))
    for c in list(failures)[:SHOWN]:
        print("  %s %s" % (c, failures[c]))
    if len(failures) > SHOWN:
        print("  and %d more" % (len(failures) - SHOWN))
    if failures:
        print("  failed: " + " ".join(failures))
    if missing:
        print("  not run: " + " ".join(missing))
    for line in differences:
        print("  not as expected.json has it: " + line)
    if results["errors"]:
        print("  %d errors outside the cases: above, or in the logs of the report" % results["errors"])

    if results["errors"]:
        return BROKEN
    if missing:
        return NOT_RUN
    return FAILED if failures or differences else OK


def fault(case_id, case, informational):
    """Why a case fails, or None."""
    behavior, close = case["behavior"], case["behaviorClose"]
    allowed = {"OK", "INFORMATIONAL"} if case_id in informational else {"OK"}
    if behavior in allowed and close in allowed:
        return None
    parts = ["%s / close %s" % (behavior, close)]
    if behavior != "OK" and not str(case["result"]).startswith("Actual events match"):
        parts.append(str(case["result"]))
    if close != "OK":
        parts.append("%s (code received: %s)" % (case["resultClose"], case["remoteCloseCode"]))
    if not case["wasClean"] and case["wasNotCleanReason"]:
        parts.append(str(case["wasNotCleanReason"]))
    return " | ".join(parts)


def tally(cases):
    """How often each behaviour came up, by section: {'1': {'OK': 16}}."""
    counts = {}
    for c in sorted(cases, key=order):
        counts.setdefault(section(c), Counter())[cases[c]["behavior"]] += 1
    return {s: dict(n) for s, n in counts.items()}


def compare(got, want):
    """A line for every section in which got and want differ."""
    return ["section %s: expected %s, got %s" % (s, words(want.get(s)), words(got.get(s)))
            for s in sorted(set(got) | set(want), key=int) if got.get(s) != want.get(s)]


def words(counts):
    return ", ".join("%d %s" % (n, b) for b, n in sorted((counts or {}).items())) or "nothing"
