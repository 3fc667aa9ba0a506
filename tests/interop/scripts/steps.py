"""What the foreign programs have in common: facts come in as one JSON line on stdin, steps go out as JSON lines on stdout.

Runs in the environments of the foreign clients, on Pythons from 3.11 on; may import nothing but the standard library.
"""

import base64
import hashlib
import json
import sys
from importlib.metadata import distribution


def facts():
    """What the test tells this program."""
    return json.loads(sys.stdin.readline())


def report(step, **values):
    """Tell the test that a step is done."""
    sys.stdout.write(json.dumps({"step": step, **values}) + "\n")
    sys.stdout.flush()


def report_installed(name):
    """Tell the version of an installed distribution and which of its files are not as its author published them.

    The wheel's RECORD has a hash of every file; a client that was patched in place shows up here.
    """
    installed = distribution(name)
    changed = []
    for file in installed.files:
        if file.hash is not None and file.suffix == ".py":
            digest = hashlib.new(file.hash.mode, file.locate().read_bytes()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != file.hash.value:
                changed.append(str(file))
    report("installed", version=installed.version, changed=changed)
