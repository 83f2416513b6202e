/* v4l2_fixture.h: recorded lists of cameras (cameras/NAME.txt, the form of omnid-devices --modes) as structs. */
#ifndef OMNID_TESTS_V4L2_FIXTURE_H
#define OMNID_TESTS_V4L2_FIXTURE_H

#include "capture/v4l2_list.h"

/* Reads a list; a line that it does not understand fails the test. Free with v4l2_list_clear. */
v4l2_camera fixture_read(const char *name);

#endif
