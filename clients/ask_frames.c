/* ask_frames.c: asks for frames one by one and writes them as files. */
#include "ask.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the comment in every file begins with. */
static const char mark[] = "omnid: ";

enum { FRAMES_A_SEGMENT = 4, JPEG_COMMENT = 0xfe, JPEG_APP0 = 0xe0 };

/* ------------------------------------------------------------------ files */

/* Bytes of the header (SOI, and the JFIF part, which must come first) behind which a comment may stand; 0 = no JPEG. */
static size_t header_length(const unsigned char *p, size_t n)
{
    if (n < 6 || p[0] != 0xff || p[1] != 0xd8 || p[2] != 0xff)
        return 0;
    size_t n_jfif = p[3] == JPEG_APP0 ? 2 + ((size_t)p[4] << 8 | p[5]) : 0;
    return 2 + n_jfif <= n ? 2 + n_jfif : 0;
}

/* Whether the file is one that this program wrote. */
static bool is_ours(const char *path)
{
    unsigned char start[256];
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(start, 1, sizeof start, file) : 0;
    if (file)
        fclose(file);
    size_t at = header_length(start, n);
    return at > 0 && at + 4 + sizeof mark - 1 <= n && start[at] == 0xff && start[at + 1] == JPEG_COMMENT &&
           memcmp(start + at + 4, mark, sizeof mark - 1) == 0;
}

static bool write_parts(FILE *file, const unsigned char *jpeg, size_t n, const char *comment)
{
    size_t n_header = header_length(jpeg, n), n_comment = strlen(comment);
    const unsigned char head[4] = {0xff, JPEG_COMMENT, (unsigned char)((n_comment + 2) >> 8),
                                   (unsigned char)(n_comment + 2)};
    bool good = fwrite(jpeg, 1, n_header, file) == n_header;
    if (n_header > 0)
        good = good && fwrite(head, 1, 4, file) == 4 && fwrite(comment, 1, n_comment, file) == n_comment;
    return good && fwrite(jpeg + n_header, 1, n - n_header, file) == n - n_header;
}

/* Writes a file that is whole or not there; 0 or errno. */
static int write_file(const char *path, const unsigned char *jpeg, size_t n, const char *comment)
{
    char part[4200];
    snprintf(part, sizeof part, "%s.%ld.part", path, (long)getpid());
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    FILE *file = fd >= 0 ? fdopen(fd, "wb") : NULL;
    if (!file)
        return errno;
    bool good = write_parts(file, jpeg, n, comment);
    int error = good ? 0 : errno;
    if (fclose(file) != 0 && !error)
        error = errno;
    if (!error && rename(part, path) != 0)
        error = errno;
    if (error)
        unlink(part);
    return error;
}

/* Writes the frame that a reply tells of as `path`, and says so. */
static int save(const ask_arguments *a, json_t *event, const unsigned char *jpeg, size_t n, const char *path)
{
    char comment[256];
    snprintf(comment, sizeof comment, "%scamera %s, segment %.0f, frame %.0f, %s", mark, ask_talk_text(event, "camera"),
             ask_talk_number(event, "segment"), ask_talk_number(event, "frame"), ask_talk_text(event, "t"));
    if (strlen(path) > 4096) {
        fprintf(stderr, "omnid-ask: the path is too long: %.60s…\n", path);
        return ASK_USAGE;
    }
    struct stat st;
    if (stat(path, &st) == 0 && !is_ours(path)) {
        fprintf(stderr, "omnid-ask: %s is there already and was not made by omnid-ask: not overwritten\n", path);
        return ASK_ERROR;
    }
    int error = write_file(path, jpeg, n, comment);
    if (error) {
        fprintf(stderr, "omnid-ask: cannot write %s: %s\n", path, strerror(error));
        return ASK_ERROR;
    }
    if (a->json) {
        json_object_set_new(event, "file", json_string(path));
        ask_talk_print(a, event, false);
    } else {
        fprintf(a->question ? stderr : stdout, "%s\n", path); /* an answer has standard output to itself */
    }
    return ASK_OK;
}

static int save_or_print(const ask_arguments *a, json_t *event, const unsigned char *jpeg, size_t n, const char *path)
{
    if (strcmp(path, "-") != 0)
        return save(a, event, jpeg, n, path);
    if (fwrite(jpeg, 1, n, stdout) == n && fflush(stdout) == 0)
        return ASK_OK;
    fprintf(stderr, "omnid-ask: cannot write standard output: %s\n", strerror(errno));
    return ASK_ERROR;
}

/* ------------------------------------------------------------------ frames */

/* DIR/2026-11-21T10-31-28.500Z-door-s000143-2.jpg, which sorts by time; without a clock DIR/door-s000143-2.jpg. */
static void make_path(const ask_arguments *a, const json_t *event, char *path, size_t n)
{
    char t[64], camera[80];
    snprintf(t, sizeof t, "%s", ask_talk_text(event, "t"));
    snprintf(camera, sizeof camera, "%s", ask_talk_text(event, "camera"));
    for (char *p = t; *p; p++)
        *p = *p == ':' ? '-' : *p; /* not every file system has colons */
    for (char *p = camera; *p; p++)
        *p = *p == '/' ? '_' : *p;
    snprintf(path, n, "%s/%s%s%s-s%06.0f-%.0f.jpg", a->frames, t, t[0] ? "-" : "", camera,
             ask_talk_number(event, "segment"), ask_talk_number(event, "frame"));
}

static json_t *frame_request(const ask_arguments *a, double segment, int frame)
{
    json_t *request =
        json_pack("{s:s, s:i, s:I, s:i}", "op", "frame", "id", 2, "segment", (json_int_t)segment, "frame", frame);
    if (a->camera)
        json_object_set_new(request, "camera", json_string(a->camera));
    if (a->width > 0)
        json_object_set_new(request, "max_width", json_integer(a->width));
    return request;
}

/* Sends the request and saves what comes: as `path`, or (NULL) under a name of its own. *there: false when the daemon has no
 * such frame, which is no error then; NULL: it is one. */
static int fetch(const ask_arguments *a, void *socket, const json_t *request, const char *path, bool *there)
{
    char own[4400];
    zmq_msg_t jpeg;
    zmq_msg_init(&jpeg);
    json_t *event = ask_talk_send(socket, request) ? ask_talk_receive(socket, a->timeout_s, &jpeg) : NULL;
    int code = ASK_OK;
    if (!event) {
        code = ask_talk_silent(a, socket);
    } else if (strcmp(ask_talk_text(event, "event"), "frame") == 0) {
        if (!path)
            make_path(a, event, own, sizeof own);
        code = save_or_print(a, event, zmq_msg_data(&jpeg), zmq_msg_size(&jpeg), path ? path : own);
    } else if (there && (strcmp(ask_talk_text(event, "code"), "not_there") == 0 ||
                         strcmp(ask_talk_text(event, "code"), "empty") == 0)) {
        *there = false;
    } else {
        ask_talk_print(a, event, false);
        code = ASK_ERROR;
    }
    zmq_msg_close(&jpeg);
    json_decref(event);
    return code;
}

int ask_frames_one(const ask_arguments *a, void *socket, const json_t *request)
{
    return fetch(a, socket, request, a->frame, NULL);
}

static int make_folder(const ask_arguments *a)
{
    struct stat st;
    if (mkdir(a->frames, 0777) == 0 || (errno == EEXIST && stat(a->frames, &st) == 0 && S_ISDIR(st.st_mode)))
        return ASK_OK;
    fprintf(stderr, "omnid-ask: cannot make the folder %s: %s\n", a->frames, strerror(errno));
    return ASK_ERROR;
}

/* The frames of one segment; *n_saved grows by those that are there. */
static int fetch_segment(const ask_arguments *a, void *socket, double segment, int *n_saved)
{
    int code = ASK_OK;
    bool there = true;
    for (int i = 0; i < FRAMES_A_SEGMENT && there && code == ASK_OK; i++) {
        json_t *request = frame_request(a, segment, i);
        code = fetch(a, socket, request, NULL, &there);
        json_decref(request);
        *n_saved += there && code == ASK_OK;
    }
    return code;
}

int ask_frames_window(const ask_arguments *a, void *socket)
{
    json_t *request = json_pack("{s:s, s:i}", "op", "timeline", "id", 1);
    if (a->camera)
        json_object_set_new(request, "camera", json_string(a->camera));
    json_t *timeline = ask_talk_send(socket, request) ? ask_talk_receive(socket, a->timeout_s, NULL) : NULL;
    json_decref(request);
    int n_saved = 0, code = timeline ? make_folder(a) : ask_talk_silent(a, socket);
    if (timeline && strcmp(ask_talk_text(timeline, "event"), "timeline") != 0) {
        ask_talk_print(a, timeline, false);
        code = ASK_ERROR;
    }
    size_t i;
    json_t *segment;
    json_array_foreach(json_object_get(timeline, "segments"), i, segment) if (code == ASK_OK) code =
        fetch_segment(a, socket, ask_talk_number(segment, "segment"), &n_saved);
    if (code == ASK_OK) /* the one that is open, or was a moment ago */
        code = fetch_segment(a, socket, ask_talk_number(timeline, "next_segment"), &n_saved);
    json_decref(timeline);
    if (code == ASK_OK && n_saved == 0) {
        fputs("omnid-ask: there is no frame in the window yet\n", stderr);
        return ASK_ERROR;
    }
    return code;
}

int ask_frames_evidence(const ask_arguments *a, void *socket, const json_t *done)
{
    size_t i;
    json_t *moment;
    int code = make_folder(a);
    json_array_foreach(json_object_get(done, "evidence"), i, moment)
    {
        int n_saved = 0;
        double segment = ask_talk_number(moment, "segment");
        if (code == ASK_OK)
            code = fetch_segment(a, socket, segment, &n_saved);
        if (code == ASK_OK && n_saved == 0)
            fprintf(stderr, "omnid-ask: of segment %.0f no frame is kept\n", segment);
    }
    return code;
}
