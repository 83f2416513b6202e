/* omnid_ask.c: the command line of omnid-ask. */
#include "ask.h"

#include <argp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

__attribute__((visibility("default"))) const char *argp_program_version = "omnid-ask " OMNID_VERSION;

enum {
    KEY_SOCKET = 256,
    KEY_MODE,
    KEY_POLICY,
    KEY_RETENTION,
    KEY_LAST,
    KEY_CHOICE,
    KEY_HISTORY,
    KEY_NO_NOW,
    KEY_STATUS,
    KEY_SOURCES,
    KEY_TIMELINE,
    KEY_FORGET,
    KEY_PAUSE,
    KEY_RESUME,
    KEY_FRAME,
    KEY_FRAMES,
    KEY_AGO,
    KEY_AT,
    KEY_WIDTH,
    KEY_TIMINGS,
    KEY_MAX,
    KEY_STOP,
    KEY_SEED,
    KEY_TEMPERATURE
};

static const struct argp_option options[] = {
    {"camera", 'c', "NAME", 0, "The camera asked about; needed when the daemon has several", 0},
    {"json", 'j', 0, 0, "Write the daemon's events as they come, one JSON object a line", 0},
    {"timings", KEY_TIMINGS, 0, 0, "After the answer write times, retention and evidence to standard error", 0},
    {"socket", KEY_SOCKET, "PATH", 0, "The daemon's ask.sock, instead of looking for it", 0},
    {"timeout", 't', "S", 0, "Give up after so many seconds without a word from the daemon (30)", 0},
    {"mode", KEY_MODE, "MODE", 0, "eager, deferred or offline", 1},
    {"policy", KEY_POLICY, "NAME", 0, "omnidrop, random or none", 1},
    {"retention", KEY_RETENTION, "R", 0, "none, a percentage or share, or p_init,p_final,t_mid,tds_start[,lambda]", 1},
    {"last", KEY_LAST, "S", 0, "Only the newest seconds", 1},
    {"no-now", KEY_NO_NOW, 0, 0, "Only whole segments, not the one that is open", 1},
    {"choice", KEY_CHOICE, "TEXT", 0, "Score this answer instead of writing one; at least twice", 1},
    {"history", KEY_HISTORY, "FILE", 0, "Earlier turns: a JSON list of {\"question\", \"answer\"}", 1},
    {"max-tokens", KEY_MAX, "N", 0, "The longest answer, in tokens", 1},
    {"temperature", KEY_TEMPERATURE, "T", 0, "0 (default): always the likeliest token", 1},
    {"seed", KEY_SEED, "N", 0, "Of sampling and of policy random", 1},
    {"stop", KEY_STOP, "TEXT", 0, "The answer ends before this text", 1},
    {"status", KEY_STATUS, 0, 0, "Instead of asking: the daemon's state", 2},
    {"sources", KEY_SOURCES, 0, 0, "Instead of asking: its sources", 2},
    {"timeline", KEY_TIMELINE, 0, 0, "Instead of asking: what the camera's timeline holds", 2},
    {"forget", KEY_FORGET, 0, 0, "Instead of asking: wipe the camera's timeline and frames", 2},
    {"pause", KEY_PAUSE, "WHAT", OPTION_ARG_OPTIONAL,
     "Instead of asking: let go of the camera's picture, its sound or both (video, audio, both; default both)", 2},
    {"resume", KEY_RESUME, "WHAT", OPTION_ARG_OPTIONAL, "Instead of asking: open them again", 2},
    {"frames", KEY_FRAMES, "DIR", 0,
     "Save what omnid saw as JPEG files in DIR: with a question the moments that its answer rests on, without one the "
     "whole "
     "window",
     3},
    {"frame", KEY_FRAME, "FILE", 0, "Instead of asking: save the newest frame as FILE; - is standard output", 3},
    {"ago", KEY_AGO, "S", 0, "With --frame: the frame of so many seconds ago", 3},
    {"at", KEY_AT, "TIME", 0, "With --frame: the frame of that moment, 2026-11-21T10:31:28Z", 3},
    {"width", KEY_WIDTH, "PX", 0, "With --frame or --frames: scaled down to at most so many columns", 3},
    {0}};

static double number_of(const char *text, double low, struct argp_state *state)
{
    char *end = NULL;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < low)
        argp_error(state, "want a number of at least %g, found '%s'", low, text);
    return value;
}

static void add_to(const char **list, int *n, const char *value, struct argp_state *state)
{
    if (*n == ASK_MAX_LIST)
        argp_error(state, "at most %d of them", ASK_MAX_LIST);
    list[(*n)++] = value;
}

static void add_word(ask_arguments *a, const char *word)
{
    size_t n = a->question ? strlen(a->question) + 1 : 0;
    char *joined = realloc(a->question, n + strlen(word) + 1);
    if (!joined)
        exit(ASK_ERROR);
    if (n > 0)
        joined[n - 1] = ' ';
    strcpy(joined + n, word);
    a->question = joined;
}

/* Options that do not go with each other. */
static void check_together(ask_arguments *a, struct argp_state *state)
{
    bool asks = strcmp(a->op, "ask") == 0;
    if (asks && !a->question && !a->frames)
        argp_error(state, "no question");
    if (!asks && a->question)
        argp_error(state, "--%s takes no question", a->op);
    if (!asks && a->frames)
        argp_error(state, "--frames does not go with --%s", a->op);
    if ((a->ago_s >= 0 || a->at) && !a->frame)
        argp_error(state, "--ago and --at go with --frame only");
    if (a->ago_s >= 0 && a->at)
        argp_error(state, "want one of --ago and --at, found both");
    if (a->width > 0 && !a->frame && !a->frames)
        argp_error(state, "--width goes with --frame and --frames only");
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    ask_arguments *a = state->input;
    switch (key) {
    case 'c':
        a->camera = value;
        return 0;
    case 'j':
        a->json = true;
        return 0;
    case 't':
        a->timeout_s = number_of(value, 0.001, state);
        return 0;
    case KEY_TIMINGS:
        a->timings = true;
        return 0;
    case KEY_SOCKET:
        a->socket = value;
        return 0;
    case KEY_MODE:
        a->mode = value;
        return 0;
    case KEY_POLICY:
        a->policy = value;
        return 0;
    case KEY_RETENTION:
        a->retention = value;
        return 0;
    case KEY_LAST:
        a->last_s = number_of(value, 0.1, state);
        return 0;
    case KEY_NO_NOW:
        a->no_now = true;
        return 0;
    case KEY_CHOICE:
        add_to(a->choices, &a->n_choices, value, state);
        return 0;
    case KEY_STOP:
        add_to(a->stop, &a->n_stop, value, state);
        return 0;
    case KEY_HISTORY:
        a->history = value;
        return 0;
    case KEY_MAX:
        a->max_tokens = (long)number_of(value, 1, state);
        return 0;
    case KEY_SEED:
        a->seed = (long)number_of(value, 0, state);
        return 0;
    case KEY_TEMPERATURE:
        a->temperature = number_of(value, 0, state);
        return 0;
    case KEY_STATUS:
        a->op = "status";
        return 0;
    case KEY_SOURCES:
        a->op = "sources";
        return 0;
    case KEY_TIMELINE:
        a->op = "timeline";
        return 0;
    case KEY_FORGET:
        a->op = "forget";
        return 0;
    case KEY_PAUSE:
    case KEY_RESUME:
        a->op = key == KEY_PAUSE ? "pause" : "resume";
        a->what = value;
        return 0;
    case KEY_FRAMES:
        a->frames = value;
        return 0;
    case KEY_FRAME:
        a->op = "frame";
        a->frame = value;
        return 0;
    case KEY_AGO:
        a->ago_s = number_of(value, 0, state);
        return 0;
    case KEY_AT:
        a->at = value;
        return 0;
    case KEY_WIDTH:
        a->width = (long)number_of(value, 16, state);
        return 0;
    case ARGP_KEY_ARG:
        add_word(a, value);
        return 0;
    case ARGP_KEY_END:
        check_together(a, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* "-": the question is what standard input holds, without the last line's end. */
static bool read_standard_input(ask_arguments *a)
{
    size_t n = 0, size = 0;
    char *text = NULL;
    for (;;) {
        if (n + 4096 > size) {
            char *more = realloc(text, size = n + 65536);
            if (!more || size > (16u << 20)) {
                free(more ? more : text);
                return false;
            }
            text = more;
        }
        size_t got = fread(text + n, 1, 4095, stdin);
        n += got;
        if (got == 0)
            break;
    }
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == '\r'))
        n--;
    text[n] = '\0';
    free(a->question);
    a->question = text;
    return n > 0;
}

/* The whole conversation: the question or op, then the files it leads to. */
static int talk(const ask_arguments *a, void *socket, const json_t *request)
{
    json_t *last = NULL;
    if (a->frame)
        return ask_frames_one(a, socket, request);
    if (!a->question && a->frames)
        return ask_frames_window(a, socket);
    int code = ask_talk(a, socket, request, &last);
    if (code == ASK_OK && a->frames)
        code = ask_frames_evidence(a, socket, last);
    json_decref(last);
    return code;
}

static int run(const ask_arguments *a)
{
    char path[256], address[272], problem[512];
    json_t *request = ask_request_make(a, problem, sizeof problem);
    if (!request) {
        fprintf(stderr, "omnid-ask: %s\n", problem);
        return ASK_USAGE;
    }
    int code = ask_socket_find(a->socket, path, sizeof path);
    if (code == ASK_OK) {
        int zero = 0;
        void *context = zmq_ctx_new(), *socket = context ? zmq_socket(context, ZMQ_DEALER) : NULL;
        snprintf(address, sizeof address, "ipc://%s", path);
        ask_talk_catch_signals();
        if (socket && zmq_setsockopt(socket, ZMQ_LINGER, &zero, sizeof zero) == 0 &&
            zmq_connect(socket, address) == 0) {
            code = talk(a, socket, request);
        } else {
            fprintf(stderr, "omnid-ask: %s: %s\n", path, zmq_strerror(zmq_errno()));
            code = ASK_NO_DAEMON;
        }
        if (socket)
            zmq_close(socket);
        if (context)
            zmq_ctx_term(context);
    }
    json_decref(request);
    return code;
}

int main(int argc, char **argv)
{
    ask_arguments a = {.op = "ask", .timeout_s = 30, .temperature = -1, .max_tokens = -1, .seed = -1, .ago_s = -1};
    const struct argp argp = {
        options,
        parse_option,
        "QUESTION…",
        "Asks omnid about what it sees and hears. QUESTION - is read from standard input.\v"
        "Exit status: 0 answered, 1 the daemon's error, 2 usage, 3 no daemon, 4 no permission, 5 timeout, "
        "130 interrupted.",
        NULL,
        NULL,
        NULL};
    argp_err_exit_status = ASK_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, &a);
    int code = ASK_USAGE;
    if (a.question && strcmp(a.question, "-") == 0 && !read_standard_input(&a))
        fputs("omnid-ask: standard input holds no question\n", stderr);
    else
        code = run(&a);
    free(a.question);
    return code;
}
