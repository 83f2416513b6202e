/* run.h: what the files of omnid-run share. omnid-run is the engine without the daemon: one clip, one question (or many).
 * It knows the engine by engine/omnid.h and, for --video, capture by capture/capture.h; nothing else of theirs. */
#ifndef RUN_H
#define RUN_H

#include "engine/omnid.h"

/* Exit codes. */
enum { RUN_OK = 0, RUN_FAILED = 1, RUN_USAGE = 2 };

/* A segment's parts that a live source lost (--gaps). */
enum { GAP_VIDEO = 1, GAP_AUDIO = 2 };
typedef struct {
    int64_t segment;
    int parts; /* GAP_… or'ed */
} run_gap;

typedef struct {
    const char *model, *video, *frames, *audio; /* paths; strings are borrowed from argv */
    const char *question, *questions, *system, *history, *choices;
    const char *mode, *retention, *policy, *precision, *weights, *backend, *mel_reference;
    const char *stream, *gaps, *trace, *tokenizer, *tokenize;
    int first_prune, max_tokens, n_threads;
    int64_t seed;
    double temperature, top_p, repetition_penalty, last_s;
    double ask_at; /* seconds of the clip; < 0 = its end */
    bool timings;
    /* worked out from the strings above */
    omnid_mode mode_value;
    omnid_precision precision_value;
    omnid_weights weights_value;
    bool mel_clip;
    bool is_stream;
    int window_segments, hop_segments; /* 0 = default hop */
    run_gap *gap_list;                 /* malloc'ed */
    int n_gaps;
} run_options;

/* Fills o from the command line; exits with RUN_USAGE (or 0 for --help) as argp does. options_free releases its lists. */
void options_parse(run_options *o, int argc, char **argv);
void options_free(run_options *o);
/* Parts of segment s that --gaps takes away: GAP_… or'ed. */
int options_gap(const run_options *o, int64_t s);

/* A clip gives its segments one after the other, as a live source would close them. */
typedef struct clip clip;
struct clip {
    bool has_video, has_audio;
    int max_pixels;     /* of the timeline, so that frames stay as they are; 0 = the model's */
    int64_t n_segments; /* -1 = not known before its end */
    /* The next segment (its 40 awaited samples included where the clip has them); what it points to is valid until the
     * next call. OMNID_END after the last. */
    omnid_status (*next)(clip *c, omnid_segment_params *out, omnid_error *err);
    void (*close)(clip *c);
};
/* frames (NPY) and audio (WAV) are paths, either may be NULL. */
omnid_status clip_open_files(clip **out, const char *frames, const char *audio, omnid_error *err);
/* Any file GStreamer reads. UNSUPPORTED in a build without the daemon's parts. */
omnid_status clip_open_video(clip **out, const char *path, omnid_error *err);
void clip_close(clip **c); /* *c may be NULL */

/* A whole file in memory; *data is malloc'ed and has a 0 after its last byte. */
omnid_status file_read(const char *path, char **data, size_t *n, omnid_error *err);

/* uint8 [n][height][width][3] */
typedef struct {
    char *file; /* owns the memory */
    const uint8_t *data;
    int64_t n, height, width;
} npy_frames;
/* NumPy's format 1 to 3, uint8, C order, four dimensions, the last 3, height and width multiples of 28. FORMAT otherwise. */
omnid_status npy_read(npy_frames *out, const char *path, omnid_error *err);
void npy_free(npy_frames *f);

typedef struct {
    float *samples; /* [n] -1..1 */
    int64_t n;
} wav_sound;
/* RIFF with 16-bit PCM, one channel, 16 kHz. FORMAT otherwise. */
omnid_status wav_read(wav_sound *out, const char *path, omnid_error *err);
void wav_free(wav_sound *w);

/* Reports of all segments that became visible, in order. */
typedef struct {
    omnid_segment_report *items; /* malloc'ed */
    int n, capacity;
} run_reports;

/* Writes the trace of an answer (its keys: tools/run/README.md). vocabulary: number of logits. */
omnid_status trace_write(const char *path, const omnid_result *r, const run_reports *reports, int vocabulary,
                         omnid_error *err);
/* One line of JSON on stdout for --questions. */
omnid_status trace_print_answer(const char *question, const omnid_result *r, omnid_error *err);

/* Earlier turns out of a JSON list of {"question", "answer"}; *turns and its strings are malloc'ed (turns_free). */
omnid_status turns_read(omnid_turn **turns, int *n, const char *path, omnid_error *err);
void turns_free(omnid_turn *turns, int n);

/* --tokenize: one JSON list of ids a line. */
omnid_status tokenize_file(const char *tokenizer, const char *path, omnid_error *err);

/* A line on stderr, at most one in two seconds and none in the first two: `omnid-run: WHAT`. */
void progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Everything but tokenizing: opens, feeds, asks, prints. */
omnid_status session_run(const run_options *o, omnid_error *err);

#endif
