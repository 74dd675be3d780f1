"""Runs named checks one after another, prints what each gave, and ends with the counts that tests/run.sh adds up."""

import os
import sys
import traceback

URL = os.environ["THALWEG_URL"]
KEY = os.environ["THALWEG_KEY"]
ADMIN_KEY = os.environ.get("THALWEG_ADMIN_KEY")


def run(suite, checks):
    sys.exit(1 if count(suite, checks) else 0)


def count(suite, checks, quiet=False):
    """How many fail; `quiet` shows only those."""
    failed = 0
    for check in checks:
        try:
            check()
            if not quiet:
                print(f"ok      {suite}: {check.__name__}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED  {suite}: {check.__name__}\n{traceback.format_exc()}", flush=True)
    print(f"{suite}: {len(checks) - failed} passed, {failed} failed", flush=True)
    return failed


def expect(condition, *shown):
    if not condition:
        raise AssertionError(f"expected otherwise: {shown!r}")


def raises(kind, call):
    """What `call` raises, which must be exactly of this class."""
    try:
        call()
    except Exception as error:
        expect(type(error) is kind, type(error), error)
        return error
    raise AssertionError(f"no {kind.__name__}")
