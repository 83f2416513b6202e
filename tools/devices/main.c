/* omnid-devices: lists cameras and microphones, with what omnid would choose of each and why. */
#include "report.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_NONE = 1, EXIT_USAGE = 2, EXIT_FAILED = 3 };

static const char help[] =
    "omnid-devices: lists the cameras and microphones of this machine, what omnid would choose of each, and why.\n"
    "\n"
    "  omnid-devices [--all] [--json]\n"
    "  omnid-devices --modes DEVICE\n"
    "\n"
    "  -a, --all           also nodes that omnid cannot use, with the reason\n"
    "  -j, --json          as JSON: {\"cameras\": [...], \"microphones\": [...]}\n"
    "  -m, --modes DEVICE  everything that one camera offers: formats, sizes, rates, controls (for a report)\n"
    "  -h, --help          this text\n"
    "  -V, --version\n"
    "\n"
    "The first line of each device is the URI for the configuration: video = v4l2:/dev/video0, audio = mic:NAME. A "
    "camera's\n"
    "mode can be set behind it: v4l2:/dev/video0,size=1280x720,fps=5,format=MJPG.\n"
    "\n"
    "Exit status: 0 something can be used, 1 nothing, 2 wrong usage, 3 the list could not be made.\n";

typedef struct {
    bool all, json;
    const char *modes;
} options;

/* Reads the options; returns -1 to go on, else the exit status. */
static int read_options(options *o, int argc, char **argv)
{
    static const struct option names[] = {{"all", no_argument, NULL, 'a'},         {"json", no_argument, NULL, 'j'},
                                          {"modes", required_argument, NULL, 'm'}, {"help", no_argument, NULL, 'h'},
                                          {"version", no_argument, NULL, 'V'},     {NULL, 0, NULL, 0}};
    for (int c; (c = getopt_long(argc, argv, "ajm:hV", names, NULL)) != -1;)
        switch (c) {
        case 'a':
            o->all = true;
            break;
        case 'j':
            o->json = true;
            break;
        case 'm':
            o->modes = optarg;
            break;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        case 'V':
            puts("omnid-devices " OMNID_VERSION);
            return EXIT_SUCCESS;
        default:
            fputs("omnid-devices: 'omnid-devices --help' lists the options\n", stderr);
            return EXIT_USAGE;
        }
    if (optind == argc && !(o->modes && (o->all || o->json)))
        return -1;
    if (optind < argc)
        fprintf(stderr, "omnid-devices: '%s' is too much; 'omnid-devices --help' tells the usage\n", argv[optind]);
    else
        fputs("omnid-devices: --modes goes with no other option\n", stderr);
    return EXIT_USAGE;
}

static int fail(const omnid_error *err)
{
    fprintf(stderr, "omnid-devices: %s\n", err->text);
    return err->status == OMNID_NOT_FOUND ? EXIT_NONE : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    options o = {0};
    int status = read_options(&o, argc, argv);
    if (status >= 0)
        return status;
    omnid_error err;
    omnid_log_set(OMNID_LOG_ERROR, NULL, NULL);
    if (o.modes)
        return omnid_devices_print_modes(stdout, o.modes, &err) == OMNID_OK ? EXIT_SUCCESS : fail(&err);
    capture_device *devices;
    int n;
    if (omnid_devices_list(&devices, &n, &err) != OMNID_OK)
        return fail(&err);
    bool written = true;
    if (o.json)
        written = report_json(stdout, devices, n, o.all);
    else
        report_text(stdout, devices, n, o.all);
    status = report_count(devices, n) ? EXIT_SUCCESS : EXIT_NONE;
    free(devices);
    if (!written || fflush(stdout)) {
        fputs("omnid-devices: the list could not be written\n", stderr);
        return EXIT_FAILED;
    }
    return status;
}
