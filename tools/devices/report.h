/* report.h: the list of devices as text and as JSON. */
#ifndef OMNID_TOOLS_DEVICES_REPORT_H
#define OMNID_TOOLS_DEVICES_REPORT_H

#include "capture/devices.h"

#include <stdio.h>

/* Devices that omnid can use, and with `all` those that it cannot, with the reason. A kind of which there is none gets a
 * sentence that says what /dev has and what to do. */
void report_text(FILE *to, const capture_device *devices, int n, bool all);

/* {"cameras":[…],"microphones":[…]}; each with uri, path, name, bus, serial, usable, choice, why. False: out of memory or
 * not written. */
bool report_json(FILE *to, const capture_device *devices, int n, bool all);

/* How many can be used. */
int report_count(const capture_device *devices, int n);

#endif
