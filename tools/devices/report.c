/* report.c: what omnid-devices prints. */
#include "report.h"

#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

int report_count(const capture_device *devices, int n)
{
    int n_usable = 0;
    for (int i = 0; i < n; i++)
        n_usable += devices[i].usable;
    return n_usable;
}

/* ---- text ---- */

static void print_device(FILE *to, const capture_device *d)
{
    fprintf(to, "  %s", d->usable ? d->uri : *d->path ? d->path : "-");
    fprintf(to, "\n      %s", d->name);
    if (d->usable && *d->path)
        fprintf(to, " (%s)", d->path);
    if (d->usable)
        fprintf(to, ": %s", d->choice);
    fprintf(to, "\n      %s\n", d->why);
}

/* "video0, video1": the names in a folder that begin like that. */
static void list_names(char *out, size_t size, const char *folder, const char *prefix)
{
    struct dirent **entries = NULL;
    int n = scandir(folder, &entries, NULL, versionsort);
    size_t used = 0;
    *out = '\0';
    for (int i = 0; i < n; i++) {
        if (!strncmp(entries[i]->d_name, prefix, strlen(prefix)) && used + 40 < size)
            used += (size_t)snprintf(out + used, size - used, "%s%.30s", used ? ", " : "", entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
}

/* any: nodes that cannot be used were printed, each with its reason. */
static void print_none(FILE *to, bool video, bool any)
{
    char have[400];
    list_names(have, sizeof have, video ? "/dev" : "/dev/snd", video ? "video" : "pcm");
    const char *what = video ? "camera" : "microphone", *group = video ? "video" : "audio";
    if (any)
        fprintf(to, "  no %s can be used; each line above says why\n", what);
    else if (*have)
        fprintf(to,
                "  no %s, though /dev has %s\n"
                "  Is this user in the group '%s'? ('groups' tells; 'sudo usermod -aG %s USER', then log in again.)\n",
                what, have, group, group);
    else
        fprintf(to,
                "  no %s: there is no %s; is one plugged in? (A virtual machine or a container has to be given the "
                "device.)\n",
                what, video ? "/dev/video*" : "/dev/snd/pcm*");
}

static void print_kind(FILE *to, const capture_device *devices, int n, bool video, bool all)
{
    int n_usable = 0, n_printed = 0;
    for (int i = 0; i < n; i++)
        n_usable += devices[i].video == video && devices[i].usable;
    fprintf(to, "%s\n", video ? "Cameras" : "Microphones");
    for (int i = 0; i < n; i++) {
        const capture_device *d = &devices[i];
        if (d->video != video || !(d->usable || all || !n_usable))
            continue;
        print_device(to, d);
        n_printed++;
    }
    if (!n_usable)
        print_none(to, video, n_printed > 0);
}

void report_text(FILE *to, const capture_device *devices, int n, bool all)
{
    print_kind(to, devices, n, true, all);
    print_kind(to, devices, n, false, all);
}

/* ---- JSON ---- */

static json_t *json_of(const capture_device *d)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:s, s:s}", "uri", d->uri, "path", d->path, "name", d->name, "bus",
                     d->bus, "serial", d->serial, "usable", (int)d->usable, "choice", d->choice, "why", d->why);
}

/* A driver's name may be no UTF-8: what is not ASCII becomes '?'. */
static void make_ascii(char *text)
{
    for (; *text; text++)
        if (*text & 0x80)
            *text = '?';
}

static json_t *json_of_utf8(const capture_device *d)
{
    json_t *object = json_of(d);
    if (object)
        return object;
    capture_device plain = *d;
    char *const texts[] = {plain.uri, plain.path, plain.name, plain.bus, plain.serial, plain.choice, plain.why};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        make_ascii(texts[i]);
    return json_of(&plain);
}

bool report_json(FILE *to, const capture_device *devices, int n, bool all)
{
    json_t *kinds[] = {json_array(), json_array()};
    bool ok = true;
    for (int i = 0; i < n; i++)
        if (devices[i].usable || all)
            ok = json_array_append_new(kinds[!devices[i].video], json_of_utf8(&devices[i])) == 0 && ok;
    json_t *root = json_pack("{s:o, s:o}", "cameras", kinds[0], "microphones", kinds[1]);
    ok = ok && root && json_dumpf(root, to, JSON_INDENT(2)) == 0 && fputc('\n', to) != EOF;
    json_decref(root);
    return ok;
}
