/* progress.c: the bar. Rate and time left come from the last 16 s, so that a pause shows and an early burst is forgotten. */
#include "tools/model/progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum {
    DRAW_US = 200000,
    LINE_US = 10000000,
    SAMPLE_US = 500000,
    RATE_US = 1500000,
    MAX_BAR = 30,
    MIN_BAR = 12,
    MIN_NAME = 8
};

static int columns(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col >= 40 ? w.ws_col - 1 : 79;
}

void progress_text(char *out, size_t size, int width, const char *what, int64_t done, int64_t total, double rate)
{
    char tail[160], bar[MAX_BAR + 1];
    double share = total > 0 ? (double)done / (double)total : 1;
    share = share < 0 ? 0 : share > 1 ? 1 : share;
    int n = snprintf(tail, sizeof tail, " %3d%%  %s of %s", (int)(share * 100), tool_size_text((uint64_t)done).text,
                     tool_size_text((uint64_t)total).text);
    if (rate > 0 && done < total)
        snprintf(tail + n, sizeof tail - (size_t)n, "  %s/s  %s left", tool_size_text((uint64_t)rate).text,
                 tool_time_text((double)(total - done) / rate).text);
    int n_name = (int)strlen(what), room = width - (int)strlen(tail) - 3; /* of name and bar beside " [" and "]" */
    bool cut = n_name > room - MIN_BAR;
    if (cut)
        n_name = room - MIN_BAR - 1; /* and "…" */
    if (n_name < MIN_NAME && cut) {
        snprintf(out, size, "%s", tail + 1);
        return;
    }
    int n_bar = room - n_name - cut;
    n_bar = n_bar > MAX_BAR ? MAX_BAR : n_bar;
    int full = (int)(share * n_bar + 0.5);
    for (int i = 0; i < n_bar; i++)
        bar[i] = i < full ? '#' : '.';
    bar[n_bar] = '\0';
    snprintf(out, size, "%.*s%s [%s]%s", n_name, what, cut ? "…" : "", bar, tail);
}

double progress_rate(const progress *p)
{
    int n = p->n_samples < PROGRESS_SAMPLES ? p->n_samples : PROGRESS_SAMPLES;
    if (n < 2)
        return 0;
    int last = (p->n_samples - 1) % PROGRESS_SAMPLES, first = (p->n_samples - n) % PROGRESS_SAMPLES;
    int64_t us = p->samples[last].at_us - p->samples[first].at_us;
    int64_t bytes = p->samples[last].done - p->samples[first].done;
    return us >= RATE_US && bytes > 0 ? (double)bytes * 1e6 / (double)us : 0;
}

static void take_sample(progress *p, int64_t now_us)
{
    if (p->n_samples && now_us - p->samples[(p->n_samples - 1) % PROGRESS_SAMPLES].at_us < SAMPLE_US)
        return;
    p->samples[p->n_samples % PROGRESS_SAMPLES].at_us = now_us;
    p->samples[p->n_samples % PROGRESS_SAMPLES].done = p->done;
    p->n_samples++;
}

void progress_begin(progress *p, int64_t total, int64_t done)
{
    *p = (progress){.terminal = isatty(STDERR_FILENO), .total = total, .done = done, .what = ""};
    p->start_us = p->drawn_us = omnid_clock_us();
    take_sample(p, p->start_us);
}

void progress_file(progress *p, const char *what)
{
    p->what = what;
    progress_draw(p, p->terminal);
}

void progress_add(progress *p, int64_t n)
{
    p->done += n;
    if (n < 0) /* a part was thrown away: what came before says nothing about the rate */
        p->n_samples = 0;
    progress_draw(p, false);
}

void progress_draw(progress *p, bool now)
{
    char text[512];
    int64_t now_us = omnid_clock_us();
    take_sample(p, now_us);
    if (!now && now_us - p->drawn_us < (p->terminal ? DRAW_US : LINE_US))
        return;
    p->drawn_us = now_us;
    progress_text(text, sizeof text, p->terminal ? columns() : 120, p->what, p->done, p->total, progress_rate(p));
    if (p->terminal)
        fprintf(stderr, "\r\033[K%s", text);
    else
        fprintf(stderr, "%s\n", text);
    p->shown = p->terminal;
    fflush(stderr);
}

void progress_say(progress *p, const char *line)
{
    fprintf(stderr, "%somnid-model: %s\n", p->shown ? "\r\033[K" : "", line);
    if (p->shown)
        progress_draw(p, true);
}

void progress_end(progress *p)
{
    if (p->shown)
        fputc('\n', stderr);
    p->shown = false;
}
