"""Which cases the suite has, and which of them a run asks for."""

import re


def order(case_id):
    """Sorting key: 9.2 before 9.10."""
    return [int(part) for part in case_id.split(".")]


def section(case_id):
    """The chapter a case counts under: '7' for 7.1.6."""
    return case_id.split(".")[0]


def known():
    """The ids of all cases of the suite, in order."""
    from autobahntestsuite.case import Cases

    return sorted((c.__name__[len("Case"):].replace("_", ".") for c in Cases), key=order)


def pick(patterns, ids):
    """The ids that patterns name: '1.1.1', '7.*', '12' (as '12.*'), '-9.3' (without these).

    Raises ValueError for a pattern that names nothing, so that a typing error can't
    quietly shrink a run.
    """

    def matching(pattern):
        if pattern in ids:
            return {pattern}
        text = re.escape(pattern).replace(r"\*", ".*") + r"(\..*)?"
        found = {c for c in ids if re.fullmatch(text, c)}
        if not found:
            raise ValueError("no case matches '%s'" % pattern)
        return found

    wanted = [p for p in patterns if not p.startswith("-")] or ["*"]
    unwanted = [p[1:] for p in patterns if p.startswith("-")]
    left = set().union(*map(matching, wanted)) - set().union(*map(matching, unwanted))
    if not left:
        raise ValueError("no case is left of '%s'" % " ".join(patterns))
    return sorted(left, key=order)
