#!/usr/bin/env python3
"""ask.py QUESTION [CAMERA]: writes the answer as it comes, then what it rests on."""

import sys

import omnid

if len(sys.argv) not in (2, 3):
    sys.exit(__doc__)
fields = {"camera": sys.argv[2]} if len(sys.argv) == 3 else {}
with omnid.Client() as client:
    for text in client.ask(sys.argv[1], **fields):
        print(text, end="", flush=True)
    print()
    for moment in client.result["evidence"]:
        print(f"  {moment['weight']:.0%} from {moment['t0']} to {moment['t1']}")
