/* omnid.h: the engine's one public header (library libomnid).
 *
 * Four nouns. A model is weights and tokenizer: immutable once open, shared. An engine owns the work: it runs slices of
 * ingest and of questions on one thread, the caller's, and tells by callback. A timeline is what one camera has shown and
 * sounded so far: the system prompt and the window's segments with their KV. An answer is one question under way.
 *
 * The engine never exits, never prints (it logs through base.h) and never keeps the caller's memory: strings and arrays
 * given are copied during the call unless a comment says "takes". Functions say which threads may call them.
 * Every number's meaning is in docs/semantics.md. */
#ifndef OMNID_H
#define OMNID_H

#include "base/base.h"

typedef struct omnid_model omnid_model;
typedef struct omnid_engine omnid_engine;
typedef struct omnid_timeline omnid_timeline; /* owned by its engine; the handle may be used from any thread */
typedef struct omnid_segment omnid_segment;   /* 2 s of picture and sound on their way into a timeline */
typedef struct omnid_tokenizer omnid_tokenizer;

/* ------------------------------------------------------------------ model */

typedef struct omnid_engine_params omnid_engine_params;     /* below */
typedef struct omnid_timeline_params omnid_timeline_params; /* below */

typedef enum { OMNID_PRECISION_AUTO, OMNID_PRECISION_F32, OMNID_PRECISION_BF16 } omnid_precision;
/* AUTO: matrices in the model's precision, the embedding as the checkpoint has it. INT8: 8 bits a number and a scale for each 128
 * (docs/models.md); activations and KV keep the model's precision. */
typedef enum { OMNID_WEIGHTS_AUTO, OMNID_WEIGHTS_INT8 } omnid_weights;

/* "auto", "int8"; and back, with a sentence. */
OMNID_API const char *omnid_weights_name(omnid_weights w);
OMNID_API omnid_status omnid_weights_parse(omnid_weights *out, const char *name, omnid_error *err);

typedef struct {
    const char *backend;       /* "auto", "cpu", "reference", … */
    omnid_precision precision; /* activations, packed weights and KV; AUTO = bf16 where the machine has it, else f32 */
    omnid_weights weights;     /* how matrices and the embedding are held */
    int n_threads;         /* of the backend; 0 = all the process may use, but 1 for models below 100 M parameters */
    uint64_t memory_limit; /* bytes; a model that needs more is refused before it is loaded; 0 = what there is */
    /* What will run on it, so that its memory is planned with the model's, and on a device of its own held from the start.
     * Read during the call. No timelines: weights and work space are planned, and nothing is held. */
    const omnid_timeline_params *timelines; /* [n_timelines] */
    int n_timelines;
    const omnid_engine_params *engine;            /* NULL = default */
    void (*on_progress)(void *user, double done); /* 0..1 while weights are packed; may be NULL */
    void *user;
} omnid_model_params;

OMNID_API omnid_model_params omnid_model_params_default(void);

/* Opens a folder with config.json, (sharded) safetensors and tokenizer.json. Any thread. On failure *out is NULL:
 * NOT_FOUND, FORMAT, SHAPE, UNSUPPORTED, LIMIT (would not fit, with the numbers) or NOMEM. */
OMNID_API omnid_status omnid_model_open(omnid_model **out, const char *folder, const omnid_model_params *p,
                                        omnid_error *err);

/* A model of random weights with the dimensions of a config.json ("3b" and "7b" name the published ones; anything else is
 * a path). It has a byte-level tokenizer with the special tokens and nothing more. For measurements. */
OMNID_API omnid_status omnid_model_create_random(omnid_model **out, const char *shape, uint64_t seed,
                                                 const omnid_model_params *p, omnid_error *err);
OMNID_API void omnid_model_destroy(omnid_model **m); /* *m may be NULL; after every engine of it is destroyed */

typedef struct {
    const char *name;          /* omnid.json's name, else the folder's; borrowed from the model */
    const char *backend;       /* "cpu", … */
    omnid_precision precision; /* never AUTO */
    omnid_weights weights;
    int n_layers, hidden, n_heads, n_kv_heads, head_dim, intermediate, vocabulary;
    int max_positions;
    int max_pixels; /* largest frame after resizing, in pixels */
    int n_threads;
    uint64_t n_parameters;       /* of the thinker */
    uint64_t weight_bytes;       /* as packed */
    uint64_t kv_bytes_per_token; /* all layers */
} omnid_model_info;
OMNID_API omnid_model_info omnid_model_get_info(const omnid_model *m);

/* Memory by what it is for, planned before anything large is allocated. Bytes. */
typedef struct {
    char device[96];      /* whose memory the backend computes in: "this machine", or a GPU's name */
    bool own;             /* that is a device's own memory: the program and its files are elsewhere */
    int n_timelines;      /* that were planned for */
    uint64_t weights;     /* packed matrices, vectors, the embedding */
    uint64_t kv;          /* of the timelines' windows when they are full */
    uint64_t work;        /* encoders, decoder, segments on their way, eight usual questions at once */
    uint64_t driver;      /* own: kept free for what its driver loads late; else 0 */
    uint64_t need;        /* all of that at its highest; of a machine's memory the program, too */
    bool limited;         /* by params' memory_limit */
    uint64_t limit;       /* that, else what is free on a device, or what the machine has. It fits: need <= limit */
    uint64_t total, free; /* of the device's memory when it was asked */
    uint64_t host_need, host_total; /* own: of the machine's memory, beside the device's; else 0 */
} omnid_memory_plan;

/* The plan that a model was opened with. */
OMNID_API omnid_memory_plan omnid_model_get_plan(const omnid_model *m);

/* What opening a folder would take. Bytes as this machine and backend would hold them. */
typedef struct {
    char name[65];
    const char *backend;       /* "cpu", … */
    const char *dtype;         /* of the matrices in the files: "bf16", … */
    omnid_precision precision; /* what the params ask for; never AUTO */
    omnid_weights weights;     /* what the params ask for */
    int n_layers, hidden, vocabulary, max_pixels;
    int n_tensors;          /* of the thinker in the files */
    int n_unused;           /* of them: the engine has no use for */
    char first_unused[128]; /* the first of those by name; "" = none */
    uint64_t n_parameters;
    omnid_memory_plan plan;      /* at `precision` and `weights`, with the timelines of the params */
    uint64_t need_bytes;         /* plan.need */
    uint64_t f32_bytes;          /* the same at each precision */
    uint64_t bf16_bytes;         /* … */
    uint64_t int8_bytes;         /* the same with int8 weights */
    uint64_t limit_bytes;        /* plan.limit */
    uint64_t kv_bytes_per_token; /* all layers, at `precision` */
    double tokens_per_segment;   /* kept of the largest frames and full sound by a timeline of default params */
} omnid_model_report;

/* Checks a folder as omnid_model_open would, without loading weights: config, tokenizer, special tokens, and name, shape and
 * dtype of every tensor, all of which are counted before the first is named. Whether it fits is asked apart, and is no
 * error. Any thread. Errors as omnid_model_open's but LIMIT. */
OMNID_API omnid_status omnid_model_inspect(omnid_model_report *out, const char *folder, const omnid_model_params *p,
                                           omnid_error *err);
/* OK, or the LIMIT with which omnid_model_open would refuse: the numbers, and what would make it fit. */
OMNID_API omnid_status omnid_model_fits(const omnid_model_report *r, omnid_error *err);
/* The same from n bytes of config.json alone, for a model that is not here yet: its tensors are taken to be all there in
 * bf16. Nothing is known of files and tokenizer: n_tensors is 0 and the name "". FORMAT, SHAPE, UNSUPPORTED, LIMIT, NOMEM. */
OMNID_API omnid_status omnid_model_estimate(omnid_model_report *out, const char *config, size_t n,
                                            const omnid_model_params *p, omnid_error *err);

/* ------------------------------------------------------------------ tokenizer */

OMNID_API omnid_status omnid_tokenizer_open(omnid_tokenizer **out, const char *tokenizer_json, omnid_error *err);
OMNID_API void omnid_tokenizer_destroy(omnid_tokenizer **t);
/* Ids of n bytes of UTF-8 (invalid bytes: FORMAT); special tokens are not parsed, other added tokens are. *ids is malloc'ed
 * for the caller (free). */
OMNID_API omnid_status omnid_tokenizer_encode(const omnid_tokenizer *t, const char *text, size_t n, int32_t **ids,
                                              size_t *n_ids, omnid_error *err);
OMNID_API const omnid_tokenizer *omnid_model_get_tokenizer(const omnid_model *m); /* borrowed */

/* ------------------------------------------------------------------ engine */

/* One slice of work, as on_slice reports it after it has run: one layer x at most 256 rows, or one encoder call. Where a
 * backend can record its work, all layers of a question or of a decode step, and the head. */
typedef enum { OMNID_SLICE_ENCODE, OMNID_SLICE_INGEST, OMNID_SLICE_QUESTION, OMNID_SLICE_DECODE } omnid_slice_kind;
typedef struct {
    omnid_slice_kind kind;
    const omnid_timeline *timeline;
    uint64_t answer; /* 0 for ingest */
    int64_t segment; /* stream number of the segment; -1 for questions */
    int layer;       /* the first of n_layers; -1: front end, encoder, embedding or head */
    int n_layers;    /* of the decoder; 0 with layer -1 */
    int n_rows;
    int64_t start_us, end_us; /* omnid_clock_us */
} omnid_slice;

typedef struct omnid_result omnid_result;
typedef struct omnid_segment_report omnid_segment_report;

/* All on the thread that calls omnid_engine_step; they must not block and must not call into the engine but for submit,
 * cancel and status functions. Any may be NULL. */
typedef struct {
    void *user;
    void (*on_text)(void *user, uint64_t answer, const char *text,
                    size_t n);                                           /* whole UTF-8 characters; valid in the call */
    void (*on_done)(void *user, uint64_t answer, const omnid_result *r); /* once an answer; r valid in the call */
    void (*on_error)(void *user, uint64_t answer, const omnid_error *err);             /* instead of on_done */
    void (*on_segment)(void *user, omnid_timeline *tl, const omnid_segment_report *r); /* a segment became visible */
    void (*on_slice)(void *user, const omnid_slice *s);
} omnid_callbacks;

struct omnid_engine_params {
    int max_open_questions;  /* in all; more: LIMIT. 1..1024 */
    int max_question_bytes;  /* of question and history together, 64 added for each turn; of one choice. More: LIMIT */
    int max_queued_segments; /* a timeline; more: BUSY and the segment stays the caller's. Not with mel_clip */
    int slice_rows;          /* rows of one slice; 1..4096 */
    bool deterministic;      /* fixed buckets, no batching of answers, nothing chosen by the time it takes: tests */
    bool graphs;             /* record the work of questions and decode steps and replay it, where the backend can */
};
OMNID_API omnid_engine_params omnid_engine_params_default(void);

OMNID_API omnid_status omnid_engine_create(omnid_engine **out, const omnid_model *m, const omnid_engine_params *p,
                                           const omnid_callbacks *callbacks, omnid_error *err);
/* Ends all open answers with CANCELLED. No other thread may use the engine any more. */
OMNID_API void omnid_engine_destroy(omnid_engine **e);

/* Runs one slice, after waiting at most timeout_ms for work. OK: a slice ran, or answers have ended by on_error. AGAIN:
 * nothing to do. Other: a segment could not be taken in (out of memory or device; *err names it): it is lost, becomes a gap
 * when the next one is in, and the engine goes on when it is called again. A clip whose reference could not be taken stays
 * in its queue. Once the device is lost all answers end with DEVICE and every step returns it: status.lost. Only one thread,
 * always the same. */
OMNID_API omnid_status omnid_engine_step(omnid_engine *e, int timeout_ms, omnid_error *err);
/* Makes a waiting step return AGAIN. Any thread. */
OMNID_API void omnid_engine_wake(omnid_engine *e);

/* Where a device loads, chooses or records when work is done for the first time, has that done: made-up segments and questions
 * run through a timeline of these parameters until its window is full, or at_most_ms have passed (to the end of what is in
 * hand). Callbacks and status hear nothing of it. Else returns at once. Before any timeline is there, on the thread that steps.
 * Errors are those of the first that failed; the engine can be used nevertheless, unless its device is lost. */
OMNID_API omnid_status omnid_engine_warm_up(omnid_engine *e, const omnid_timeline_params *p, int at_most_ms,
                                            omnid_error *err);

typedef struct {
    int n_timelines, n_open_answers, n_queued_segments;
    uint64_t memory_bytes; /* weights, KV, work space held now; of them: */
    uint64_t kv_bytes;     /* timelines' windows; plan.kv is planned for */
    uint64_t work_bytes;   /* all but these and the weights; what the backend's streams take is not in it */
    uint64_t free_bytes;   /* of the device's memory, about when the last segment became visible */
    int64_t
        oldest_work_us; /* how long the slice in hand has run, or a question waited unseen; 0 = neither (the watchdog's
                               question: it grows without end only where the engine hangs) */
    double ttft_p50_ms, ttft_p95_ms; /* of the last 256 answers; 0 before the first */
    uint64_t n_answers;
    bool lost; /* the device has gone, or has failed for good: only a new process may find it, or another backend */
} omnid_engine_status;
OMNID_API omnid_engine_status omnid_engine_get_status(omnid_engine *e); /* any thread */

/* ------------------------------------------------------------------ timeline */

typedef enum { OMNID_MODE_EAGER = 1, OMNID_MODE_DEFERRED = 2, OMNID_MODE_OFFLINE = 4 } omnid_mode;
OMNID_API const char *omnid_mode_name(omnid_mode m);
OMNID_API omnid_status omnid_mode_parse(omnid_mode *out, const char *name, omnid_error *err);

struct omnid_timeline_params {
    const char *system;        /* system text; NULL = "You are a helpful assistant." */
    bool has_video, has_audio; /* what the stream has: fixes openers and closers, not what a segment holds */
    int window_segments;       /* W: a question sees at most so many segments. 1..43200 */
    int hop_segments;          /* so many leave at once; 0 = max(2, 2 floor(W/8)) */
    unsigned modes; /* OMNID_MODE_… or'ed: the modes questions may ask for. What each costs in memory a token: eager
                             KV of all layers, deferred KV of half of them and a hidden row, offline a hidden row */
    bool intra;     /* section 4 at ingest; false only with retention none */
    double rho_a, rho_v; /* shares of audio and video tokens that leave there */
    bool mel_clip;  /* reference maximum over the whole clip: segments are encoded when omnid_timeline_end is called */
    int max_pixels; /* 0 = the model's */
    int64_t
        first_segment; /* stream number of the first segment that will be submitted; > 0: as if all before it had left.
                             Stream numbers go to 2^40 */
};
OMNID_API omnid_timeline_params omnid_timeline_params_default(void);

/* Any thread. */
OMNID_API omnid_status omnid_timeline_create(omnid_timeline **out, omnid_engine *e, const omnid_timeline_params *p,
                                             omnid_error *err);
/* Its open answers end with CANCELLED. Only between steps (from the thread that steps, or after stepping ended). */
OMNID_API void omnid_timeline_destroy(omnid_timeline **tl);
/* Wipes what was seen and heard: all segments, queued ones too; answers asked before end with CANCELLED; the next segment's
 * number may be anything, and a clip that had ended may begin anew. Needs no memory. Any thread; done before the next slice,
 * and asking finds it EMPTY at once. */
OMNID_API void omnid_timeline_forget(omnid_timeline *tl);

/* One frame, 8 bits a channel, RGB. */
typedef struct {
    const uint8_t *rgb;
    int width, height;
    int stride; /* bytes from row to row; >= 3 * width */
} omnid_frame;

/* How a segment is taken in, where that is cheaper than what its timeline says: for a caller that falls behind. All zero: as
 * the timeline says. */
typedef struct {
    double rho_v;       /* share of video tokens that leave; the larger of this and the timeline's counts. 0..1 */
    double pixel_share; /* of the pixels that a frame would have after resizing; 0 = 1. 0..1 */
    bool one_grid;      /* four frames make one grid, of those at 0.5 and 1.5 s, in the first one's place */
} omnid_segment_load;

typedef struct {
    int64_t index;         /* s: stream number; later ones only (a skipped number is a gap) */
    int64_t wall_us;       /* CLOCK_REALTIME of its start, for evidence; 0 = unknown */
    omnid_frame frames[4]; /* at 0.0, 0.5, 1.0 and 1.5 s; n_frames of them; 0 = no picture in this segment */
    int n_frames;          /* 1..3 only in a clip's last segment or an open one */
    const float *samples;  /* 16 kHz mono, -1..1; NULL = no sound in this segment (missing) */
    int n_samples; /* 0..32040: 2 s and the 40 awaited from the next segment; fewer at a clip's end or when open */
    omnid_segment_load load;
} omnid_segment_params;

/* Copies and resizes the frames to tl's size (on this thread), so that the engine's thread need not. Any thread. */
OMNID_API omnid_status omnid_segment_create(omnid_segment **out, const omnid_timeline *tl,
                                            const omnid_segment_params *p, omnid_error *err);
OMNID_API void omnid_segment_destroy(omnid_segment **s);

/* Queues a segment; any thread. Takes *seg: OMNID_OK sets it to NULL; after an error it is still the caller's. BUSY: the
 * queue is full. ARGUMENT: its number is not later than the last one's. */
OMNID_API omnid_status omnid_timeline_submit(omnid_timeline *tl, omnid_segment **seg, omnid_error *err);
/* A clip has ended: with mel_clip its segments are encoded now; later segments are refused. Never fails. Any thread. */
OMNID_API omnid_status omnid_timeline_end(omnid_timeline *tl, omnid_error *err);

/* What became of a segment. */
struct omnid_segment_report {
    int64_t index, wall_us;
    int width, height, n_grids;         /* of its frames after resizing; 0 = no picture */
    double rho_v;                       /* share of a later grid's tokens that left; 0 without intra */
    int n_video_tokens, n_audio_tokens; /* before section 4 */
    int n_video_kept, n_audio_kept;
    int encoder_calls;                         /* of the vision and audio encoders */
    int rows_prefilled;                        /* token rows run through the decoder's layers, summed over the layers */
    int64_t queued_us, started_us, visible_us; /* omnid_clock_us */
    int64_t encode_us, prefill_us;             /* time spent in slices */
};

typedef struct {
    int64_t first_segment; /* stream number of the oldest segment in the window */
    int64_t next_segment;  /* stream number after the newest visible one */
    int n_segments, n_queued;
    int64_t n_left;                      /* segments that have left since the start */
    int64_t n_gaps;                      /* numbers skipped or without picture and sound that the stream should have */
    int n_tokens;                        /* audio and video tokens in the window */
    uint64_t memory_bytes;               /* KV and kept rows */
    int64_t first_wall_us, last_wall_us; /* start of the oldest, end of the newest visible segment; 0 = none */
    double lag_s;                        /* age of the oldest queued segment */
    double real_time_factor;             /* ingest seconds a second of stream, running mean; 0 before the first */
} omnid_timeline_status;
OMNID_API omnid_timeline_status omnid_timeline_get_status(omnid_timeline *tl); /* any thread */

/* Reports of the visible segments, oldest first; at most n; returns how many there are. Any thread. */
OMNID_API int omnid_timeline_get_segments(omnid_timeline *tl, omnid_segment_report *out, int n);

/* ------------------------------------------------------------------ questions */

typedef struct {
    const char *question, *answer;
} omnid_turn;

typedef struct {
    const char *question;
    const omnid_turn *history; /* earlier turns, oldest first */
    int n_history;
    omnid_mode mode;    /* one of the timeline's; 0 = the timeline's first (eager before deferred before offline) */
    const char *policy; /* "none", "omnidrop", "random"; NULL = omnidrop */
    const char *
        retention; /* "none", "30", "20", any percentage or share, or "p_init,p_final,t_mid,tds_start[,λ]"; NULL = "30" */
    int first_prune;                               /* no token leaves after a layer below this one */
    uint64_t seed;                                 /* of sampling and of policy random */
    int max_tokens;                                /* 1..4096 */
    double temperature, top_p, repetition_penalty; /* 0 = greedy; 1; 1 */
    int64_t deadline_us;     /* omnid_clock_us after which the answer ends with DEADLINE; 0 = none */
    double last_s;           /* only the newest seconds; 0 = the whole window */
    const char *const *stop; /* n_stop strings that end the answer (not part of it) */
    int n_stop;
    const char *const *choices; /* score these answers instead of writing one: 2..64 */
    int n_choices;
    bool trace; /* fill omnid_result's trace */
} omnid_question_params;
OMNID_API omnid_question_params omnid_question_params_default(void);

/* Queues a question; any thread. now: the open segment, taken as omnid_timeline_submit takes one, or NULL (or *now NULL).
 * *answer gets a number that is never 0 and never used again. Errors: ARGUMENT, LIMIT, EMPTY (no segment yet and no now). */
OMNID_API omnid_status omnid_timeline_ask(omnid_timeline *tl, const omnid_question_params *p, omnid_segment **now,
                                          uint64_t *answer, omnid_error *err);
/* Ends an answer with CANCELLED before its next slice; unknown numbers are ignored. Needs no memory. Any thread. */
OMNID_API void omnid_engine_cancel(omnid_engine *e, uint64_t answer);

/* A moment the answer rests on (section 8). */
typedef struct {
    int64_t segment;    /* stream number */
    int64_t wall_us;    /* its start; + 2 s = its end */
    double weight;      /* of all evidence: 0..1 */
    double audio_share; /* of this moment's weight */
} omnid_evidence;

/* What one layer did: token rows of KV that attention read. */
typedef struct {
    int n;                   /* audio and video tokens that entered */
    int k;                   /* of them left after it */
    int64_t kv_rows_prefill; /* rows of prefix, audio, video and text read by the question's rows (each once) */
    int64_t kv_rows_decode;  /* the same for the first decode step; 0 = there was none */
} omnid_layer_report;

/* For programs that compare with another implementation (omnid-run --trace). Arrays belong to the result. */
typedef struct {
    const int32_t *input_ids;    /* [n_ids] before any pruning */
    const int64_t *position_ids; /* [3][n_ids] */
    int n_ids;
    struct omnid_trace_segment {
        int n_video, n_audio, n_video_kept, n_audio_kept;
        const int32_t *video_kept, *audio_kept; /* inside the segment's own tokens */
    } const *segments;
    int n_segments;
    const int32_t *const *survivors; /* [n_layers][layers[l].n] among the tokens that entered the decoder */
    const float *logits;             /* [vocabulary] of the first generated position */
} omnid_trace;

typedef struct {
    int64_t queued_us, started_us, first_token_us, done_us; /* omnid_clock_us */
    int64_t encode_us, prefill_us, decode_us; /* time spent in slices; a decode step counts for each answer in it */
    int encoder_calls, rows_prefilled; /* done for this question: 0 and query rows x layers in eager mode without now */
    int replays;                       /* slices of this answer that were replayed from a recording */
} omnid_timings;

struct omnid_result {
    uint64_t answer;
    const char *text;
    const int32_t *tokens;
    int n_tokens;
    const char *stop_reason; /* "end", "length", "stop", "choices" */
    omnid_mode mode;
    const char *policy;
    double retained; /* mean over layers of n_l / tokens before any pruning */
    const omnid_layer_report *layers;
    int n_layers;
    const omnid_evidence *evidence; /* heaviest first */
    int n_evidence;
    const double
        *choice_logprobs; /* [n_choices] log-probability of each choice's tokens and the end after them, summed */
    int n_choices, best_choice;
    int64_t first_segment, last_segment; /* stream numbers it could see; -1 = only now */
    int64_t newest_wall_us;              /* wall clock of the end of the newest data it saw */
    omnid_timings timings;
    const omnid_trace *trace; /* NULL unless asked for */
};

#endif
