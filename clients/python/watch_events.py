#!/usr/bin/env python3
"""watch_events.py [TOPIC]: prints what omnid publishes, one line an event, until Ctrl-C. TOPIC: segment/, segment/door, …"""

import sys

import omnid

try:
    with omnid.Client() as client:
        for event in client.events(sys.argv[1] if len(sys.argv) > 1 else ""):
            name = event.pop("event")
            print(name, event.pop("camera", "-"), *(f"{key}={value}" for key, value in event.items()), flush=True)
except KeyboardInterrupt:
    pass
