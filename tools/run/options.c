/* options.c: the command line, from one table. */
#include "tools/run/run.h"

#include <argp.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum { TEXT, COUNT, WIDE, REAL, FLAG } kind;

typedef struct {
    const char *name, *value; /* value: its name in --help; NULL = flag */
    kind kind;
    size_t offset; /* in run_options */
    double min, max;
    const char *doc;
} row;

#define AT(field) offsetof(run_options, field)
static const row rows[] = {
    {"model", "DIR", TEXT, AT(model), 0, 0, "Model folder: config.json, safetensors, tokenizer.json"},
    {"video", "FILE", TEXT, AT(video), 0, 0, "Clip: any file GStreamer reads, with picture, sound or both"},
    {"frames", "F.npy", TEXT, AT(frames), 0, 0,
     "Clip's picture: uint8 [n,H,W,3] at 2 frames a second, H and W multiples of 28, used as they are"},
    {"audio", "A.wav", TEXT, AT(audio), 0, 0, "Clip's sound: 16-bit, 16 kHz, mono"},
    {"question", "Q", TEXT, AT(question), 0, 0, "The question"},
    {"questions", "FILE", TEXT, AT(questions), 0, 0,
     "Many questions about the same clip, one a line; prints one JSON object a line"},
    {"system", "S", TEXT, AT(system), 0, 0, "System text (You are a helpful assistant.)"},
    {"history", "FILE", TEXT, AT(history), 0, 0,
     "Earlier turns: JSON list of {\"question\", \"answer\"}, oldest first"},
    {"choices", "A|B", TEXT, AT(choices), 0, 0, "Score these answers instead of writing one"},
    {"mode", "M", TEXT, AT(mode), 0, 0, "eager, deferred or offline (eager)"},
    {"retention", "R", TEXT, AT(retention), 0, 0,
     "none, 30, 20, another percentage, or p_init,p_final,t_mid,tds_start[,λ] (30)"},
    {"policy", "P", TEXT, AT(policy), 0, 0, "none, omnidrop or random (omnidrop)"},
    {"first-prune", "N", COUNT, AT(first_prune), 0, 10000, "No token leaves after a layer below N (0)"},
    {"precision", "f32|bf16", TEXT, AT(precision), 0, 0,
     "Of activations, weights and KV (what the machine does fastest)"},
    {"weights", "auto|int8", TEXT, AT(weights), 0, 0, "int8: 8 bits a weight, whatever the precision (auto)"},
    {"backend", "NAME", TEXT, AT(backend), 0, 0, "auto, cuda, cpu, reference (auto)"},
    {"threads", "N", COUNT, AT(n_threads), 0, 4096, "Threads; 0 = all the process may use (0)"},
    {"max-tokens", "N", COUNT, AT(max_tokens), 1, 4096, "Longest answer (128)"},
    {"temperature", "X", REAL, AT(temperature), 0, 100, "0 = the likeliest token each time (0)"},
    {"top-p", "X", REAL, AT(top_p), 1e-6, 1, "Draw from the likeliest tokens of this share (1)"},
    {"repetition-penalty", "X", REAL, AT(repetition_penalty), 0.01, 100, "1 = none (1)"},
    {"seed", "N", WIDE, AT(seed), 0, 9e18, "Of sampling and of policy random (0)"},
    {"last-s", "SECONDS", REAL, AT(last_s), 0, 1e9, "Only the newest seconds; 0 = all (0)"},
    {"mel-reference", "clip|running", TEXT, AT(mel_reference), 0, 0,
     "Loudness that counts as full: of the whole clip, or of the last 15 segments (clip; with --stream: running)"},
    {"stream", "W[,HOP]", TEXT, AT(stream), 0, 0, "Feed the clip as a live source into a window of W segments"},
    {"gaps", "3:v,5:va", TEXT, AT(gaps), 0, 0, "With --stream: segments that lost their video (v), audio (a) or both"},
    {"ask-at", "SECONDS", REAL, AT(ask_at), 0, 1e9,
     "With --stream: ask when this much of the clip has been fed (its end); at a multiple of 2 s that segment is "
     "closed "
     "first, otherwise the open segment goes in too"},
    {"trace", "OUT.json", TEXT, AT(trace), 0, 0, "Write what the answer was made of"},
    {"timings", NULL, FLAG, AT(timings), 0, 0, "Tell on stderr how long the parts took"},
    {"tokenizer", "TOKENIZER.json", TEXT, AT(tokenizer), 0, 0, "With --tokenize: the tokenizer"},
    {"tokenize", "FILE", TEXT, AT(tokenize), 0, 0,
     "Print a JSON list of ids for each line of FILE, a JSON string each"},
};
enum { N_ROWS = sizeof rows / sizeof *rows, FIRST_KEY = 256 };

static double number(const struct argp_state *state, const row *r, const char *arg)
{
    char *end;
    errno = 0;
    double v = strtod(arg, &end);
    if (end == arg || *end || errno || !isfinite(v) || v < r->min || v > r->max)
        argp_error(state, "--%s: want a number from %g to %g, found '%s'", r->name, r->min, r->max, arg);
    if (r->kind != REAL && v != floor(v))
        argp_error(state, "--%s: want a whole number, found '%s'", r->name, arg);
    return v;
}

static void store(const struct argp_state *state, const row *r, char *arg, void *field)
{
    switch (r->kind) {
    case TEXT:
        *(const char **)field = arg;
        break;
    case COUNT:
        *(int *)field = (int)number(state, r, arg);
        break;
    case WIDE:
        number(state, r, arg);
        *(int64_t *)field = strtoll(arg, NULL, 10);
        break;
    case REAL:
        *(double *)field = number(state, r, arg);
        break;
    case FLAG:
        *(bool *)field = true;
        break;
    }
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    run_options *o = state->input;
    if (key == ARGP_KEY_ARG)
        argp_error(state, "'%s': want only options", arg);
    if (key < FIRST_KEY || key >= FIRST_KEY + N_ROWS)
        return ARGP_ERR_UNKNOWN;
    const row *r = &rows[key - FIRST_KEY];
    store(state, r, arg, (char *)o + r->offset);
    return 0;
}

/* ---- what the strings mean ---- */

/* Reads a whole number from min to max at *p and moves *p behind it. */
static bool scan(const char **p, int64_t min, int64_t max, int64_t *out)
{
    char *end;
    if (**p < '0' || **p > '9')
        return false;
    errno = 0;
    *out = strtoll(*p, &end, 10);
    *p = end;
    return !errno && *out >= min && *out <= max;
}

static bool read_stream(run_options *o)
{
    const char *p = o->stream;
    int64_t w, hop = 0;
    if (!scan(&p, 1, 43200, &w) || (*p == ',' && (p++, !scan(&p, 1, w, &hop))) || *p)
        return false;
    o->is_stream = true;
    o->window_segments = (int)w;
    o->hop_segments = (int)hop;
    return true;
}

static bool read_gap(const char **p, run_gap *g)
{
    if (!scan(p, 0, INT64_C(1) << 40, &g->segment) || *(*p)++ != ':')
        return false;
    for (g->parts = 0; **p == 'v' || **p == 'a'; (*p)++)
        g->parts |= **p == 'v' ? GAP_VIDEO : GAP_AUDIO;
    return g->parts != 0;
}

static bool read_gaps(run_options *o)
{
    size_t most = 1;
    for (const char *p = o->gaps; *p; p++)
        most += *p == ',';
    o->gap_list = calloc(most, sizeof *o->gap_list);
    if (!o->gap_list)
        return false;
    for (const char *p = o->gaps;; p++) {
        if (!read_gap(&p, &o->gap_list[o->n_gaps++]))
            return false;
        if (*p != ',')
            return *p == 0;
    }
}

int options_gap(const run_options *o, int64_t s)
{
    int parts = 0;
    for (int i = 0; i < o->n_gaps; i++)
        parts |= o->gap_list[i].segment == s ? o->gap_list[i].parts : 0;
    return parts;
}

/* NULL, or what is wrong with the choice of options. */
static const char *check_sources(const run_options *o)
{
    if (o->tokenize || o->tokenizer)
        return o->tokenize && o->tokenizer ? NULL : "--tokenizer and --tokenize go together";
    if (!o->model)
        return "--model is missing";
    if (o->video ? o->frames || o->audio : !o->frames && !o->audio)
        return "want --video FILE, or --frames F.npy and/or --audio A.wav";
    if (!o->question == !o->questions)
        return "want --question Q or --questions FILE";
    if (!o->stream && (o->gaps || o->ask_at >= 0))
        return "--gaps and --ask-at need --stream";
    if (o->questions && o->trace)
        return "--trace is of one question, not of --questions";
    return NULL;
}

static void check_precision(run_options *o, struct argp_state *state)
{
    if (!o->precision || strcmp(o->precision, "auto") == 0)
        o->precision_value = OMNID_PRECISION_AUTO;
    else if (strcmp(o->precision, "f32") == 0)
        o->precision_value = OMNID_PRECISION_F32;
    else if (strcmp(o->precision, "bf16") == 0)
        o->precision_value = OMNID_PRECISION_BF16;
    else
        argp_error(state, "--precision: want f32, bf16 or auto, found '%s'", o->precision);
}

static void check_mel(run_options *o, struct argp_state *state)
{
    const char *mel = o->mel_reference ? o->mel_reference : o->is_stream ? "running" : "clip";
    if (strcmp(mel, "clip") != 0 && strcmp(mel, "running") != 0)
        argp_error(state, "--mel-reference: want clip or running, found '%s'", mel);
    o->mel_clip = strcmp(mel, "clip") == 0;
    if (o->mel_clip && o->is_stream)
        argp_error(state, "--mel-reference clip: a live source does not know its end; want running with --stream");
}

static void check(run_options *o, struct argp_state *state)
{
    omnid_error err = {0};
    const char *wrong = check_sources(o);
    if (wrong)
        argp_error(state, "%s", wrong);
    if (o->stream && !read_stream(o))
        argp_error(state, "--stream: want W or W,HOP with 1 <= HOP <= W <= 43200, found '%s'", o->stream);
    if (o->gaps && !read_gaps(o))
        argp_error(state, "--gaps: want a list like 3:v,5:va, found '%s'", o->gaps);
    if (omnid_mode_parse(&o->mode_value, o->mode, &err) != OMNID_OK)
        argp_error(state, "--mode: %s", err.text);
    check_precision(o, state);
    if (o->weights && omnid_weights_parse(&o->weights_value, o->weights, &err) != OMNID_OK)
        argp_error(state, "--%s", err.text);
    check_mel(o, state);
}

static error_t parse_key(int key, char *arg, struct argp_state *state)
{
    if (key == ARGP_KEY_SUCCESS) {
        check(state->input, state);
        return 0;
    }
    return parse_option(key, arg, state);
}

void options_parse(run_options *o, int argc, char **argv)
{
    struct argp_option table[N_ROWS + 1] = {{0}};
    for (int i = 0; i < N_ROWS; i++)
        table[i] =
            (struct argp_option){.name = rows[i].name, .key = FIRST_KEY + i, .arg = rows[i].value, .doc = rows[i].doc};
    const struct argp parser = {.options = table,
                                .parser = parse_key,
                                .doc = "Asks one clip one question, without the daemon.\vExit status: 0 answered, 1 "
                                       "failed, 2 wrong command line."};
    *o = (run_options){
        .mode = "eager", .max_tokens = 128, .temperature = 0, .top_p = 1, .repetition_penalty = 1, .ask_at = -1};
    argp_program_version = "omnid-run " OMNID_VERSION;
    argp_err_exit_status = RUN_USAGE;
    argp_parse(&parser, argc, argv, 0, NULL, o);
}

void options_free(run_options *o)
{
    free(o->gap_list);
    o->gap_list = NULL;
}
