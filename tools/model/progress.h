/* progress.h: how far a fetch is, on stderr: one line that is drawn over and over on a terminal, else a line now and then. */
#ifndef OMNID_MODEL_PROGRESS_H
#define OMNID_MODEL_PROGRESS_H

#include "tools/model/tool.h"

enum { PROGRESS_SAMPLES = 32 };

typedef struct {
    bool terminal;
    int64_t total, done; /* bytes of all files; done falls when a part is thrown away */
    const char *what;    /* the file in hand; borrowed */
    int64_t start_us, drawn_us;
    struct {
        int64_t at_us, done;
    } samples[PROGRESS_SAMPLES]; /* one each half second, for the rate */
    int n_samples;               /* ever taken */
    bool shown;                  /* a line is on the terminal */
} progress;

void progress_begin(progress *p, int64_t total, int64_t done);
/* The file in hand changes. */
void progress_file(progress *p, const char *what);
void progress_add(progress *p, int64_t n);
/* Draws when it is time to; now: in any case. */
void progress_draw(progress *p, bool now);
/* A line of its own, above the bar. */
void progress_say(progress *p, const char *line);
/* Ends the bar's line. */
void progress_end(progress *p);

/* The bar as text of at most `width` columns (60..), without a line end: file (cut when it is narrow), bar, percent,
 * bytes, rate, time left.
 * rate in bytes a second; 0 = not known. */
void progress_text(char *out, size_t size, int width, const char *what, int64_t done, int64_t total, double rate);
/* Bytes a second over the last samples; 0 before they span 1.5 s: the first small files say nothing. */
double progress_rate(const progress *p);

#endif
