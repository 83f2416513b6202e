/* vm-events SOCKET: writes what omnid publishes, one event a line: seconds of CLOCK_BOOTTIME (as in /proc/uptime), JSON.
 *
 * A script that polls status would see a change up to some seconds late where starting a program takes that long. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

static double uptime_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: vm-events SOCKET\n");
        return 2;
    }
    char endpoint[256];
    snprintf(endpoint, sizeof endpoint, "ipc://%s", argv[1]);
    void *context = zmq_ctx_new();
    void *socket = zmq_socket(context, ZMQ_SUB);
    if (zmq_setsockopt(socket, ZMQ_SUBSCRIBE, "", 0) != 0 || zmq_connect(socket, endpoint) != 0) {
        fprintf(stderr, "vm-events: %s: %s\n", endpoint, zmq_strerror(zmq_errno()));
        return 1;
    }
    char text[65536];
    for (;;) {
        /* The first frame is the topic; what the JSON lacks of it is nothing. */
        int n = zmq_recv(socket, text, sizeof text - 1, 0);
        int more = 0;
        size_t size = sizeof more;
        if (n < 0 || zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) != 0)
            return 1;
        if (more)
            continue;
        text[n < (int)sizeof text ? n : (int)sizeof text - 1] = '\0';
        printf("%.3f %s\n", uptime_s(), text);
        fflush(stdout);
    }
}
