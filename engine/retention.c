/* retention.c: from a name, a share or a schedule to the number of tokens in every layer. */
#include "engine/retention.h"

#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double BETA = 20.0, LAMBDA = 0.2;

/* ------------------------------------------------------------------ a full window */

retention_window retention_window_default(void)
{
    return (retention_window){.n_segments = 32, .video_tokens = 288, .audio_tokens = 50, .rho_v = 0.8, .rho_a = 0.3};
}

int64_t retention_window_kept(const retention_window *w)
{
    int64_t grid = w->video_tokens / 2;
    int64_t later = grid - (int64_t)floor((double)grid * w->rho_v);
    int64_t audio = w->audio_tokens - (int64_t)floor(w->audio_tokens * w->rho_a);
    int64_t kept = 0;
    for (int g = 0; g < 2 * w->n_segments; g++)
        kept += g % 4 == 0 ? grid : later;
    return kept + w->n_segments * audio;
}

/* ------------------------------------------------------------------ the schedule */

double retention_p(const retention_plan *p, int layer)
{
    if (!p->prune || layer < 0 || layer > p->n_layers - 2)
        return 0.0;
    double x = (double)layer / (double)(p->n_layers - 2);
    if (p->exponential)
        return p->p_init * pow(p->p_final / p->p_init, x);
    return p->p_init + (p->p_final - p->p_init) / (1.0 + exp(-p->beta * (x - p->t_mid)));
}

void retention_counts(const retention_plan *p, int64_t n_0, int first_prune, int64_t *n, int64_t *k)
{
    int64_t left = n_0;
    for (int l = 0; l < p->n_layers; l++) {
        int64_t leave = l < first_prune ? 0 : (int64_t)floor((double)left * retention_p(p, l));
        leave = leave < 0 ? 0 : leave > left ? left : leave;
        n[l] = left;
        if (k)
            k[l] = leave;
        left -= leave;
    }
}

/* Mean over layers of n_l / n before any pruning when the share `start` enters and every share leaves exactly. */
static double mean_share(const retention_plan *p, double start)
{
    double sum = 0.0, share = start;
    for (int l = 0; l < p->n_layers; l++) {
        sum += share;
        share *= 1.0 - retention_p(p, l);
    }
    return sum / p->n_layers;
}

/* p_final by bisection for the mean share r; mean_share falls as p_final rises. */
static omnid_status solve(retention_plan *p, double r, const retention_window *w, omnid_error *err)
{
    double before = (double)w->n_segments * (w->video_tokens + w->audio_tokens);
    double start = (double)retention_window_kept(w) / before, low = 0.0, high = 1.0;
    p->p_init = 0.0;
    p->t_mid = 0.5;
    p->p_final = high;
    double least = mean_share(p, start);
    if (r > start + 1e-12 || r < least)
        return omnid_fail(err, OMNID_ARGUMENT,
                          "retention %s: want %.4g .. %.4g %% for %d layers; the nearest is %.4g %%", p->name,
                          ceil(least * 1e4) / 1e2, floor(start * 1e4) / 1e2, p->n_layers,
                          r > start ? floor(start * 1e4) / 1e2 : ceil(least * 1e4) / 1e2);
    for (int i = 0; i < 200 && low < high; i++) {
        p->p_final = low + (high - low) / 2;
        if (p->p_final == low || p->p_final == high)
            break;
        if (mean_share(p, start) > r)
            low = p->p_final;
        else
            high = p->p_final;
    }
    return OMNID_OK;
}

/* ------------------------------------------------------------------ names */

static int default_tds_start(int n_layers)
{
    return n_layers == 36 ? 19 : n_layers / 2;
}

/* "30" and "20" where the model names no schedule of its own: the paper's values for 28 and 36 layers, the 28-layer ones
 * for every other depth. */
static void use_default(retention_plan *p, bool twenty)
{
    bool deep = p->n_layers == 36;
    p->p_init = twenty ? 0.02 : 0.0;
    p->p_final = twenty ? 0.5 : deep ? 0.15 : 0.2;
    p->t_mid = twenty && deep ? 0.55 : 0.5;
}

static bool same(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

/* strtod with a decimal point whatever the program's locale is. */
static double point_number(const char *text, char **end)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    double value = c ? strtod_l(text, end, c) : strtod(text, end);
    if (c)
        freelocale(c);
    return value;
}

/* A number that ends where the text does (or at a %); false: it is none. */
static bool parse_number(const char *text, double *value)
{
    char *end;
    *value = point_number(text, &end);
    return end != text && *end == '\0' && isfinite(*value) && text[0] != ' ';
}

/* "35", "35%", "0.35" -> 35. */
static bool parse_percent(const char *spec, double *percent)
{
    char digits[32];
    size_t n = strlen(spec);
    if (n == 0 || n >= sizeof digits)
        return false;
    memcpy(digits, spec, n + 1);
    bool sign = digits[n - 1] == '%';
    if (sign)
        digits[n - 1] = '\0';
    if (!parse_number(digits, percent))
        return false;
    if (!sign && *percent < 1.0)
        *percent *= 100.0;
    return *percent > 0.0 && *percent < 100.0;
}

static const retention_named *find_named(const retention_named *named, int n_named, const char *spec)
{
    double percent, own;
    for (int i = 0; i < n_named; i++)
        if (strcmp(named[i].name, spec) == 0)
            return &named[i];
    for (int i = 0; i < n_named && parse_percent(spec, &percent); i++)
        if (parse_percent(named[i].name, &own) && same(own, percent))
            return &named[i];
    return NULL;
}

/* ------------------------------------------------------------------ the explicit form */

static omnid_status use_explicit(retention_plan *p, const char *spec, omnid_error *err)
{
    double v[5] = {0, 0, 0, 0, LAMBDA};
    int n = 0;
    const char *at = p->exponential ? spec + 4 : spec;
    for (char *end; n < 5; at = end + 1) {
        v[n] = point_number(at, &end);
        bool last = *end == '\0';
        if (end == at || (!last && *end != ',') || !isfinite(v[n]))
            return omnid_fail(err, OMNID_ARGUMENT, "retention %.40s: \"%.32s\" is not a number", spec, at);
        n++;
        if (last)
            break;
        if (n == 5)
            return omnid_fail(err, OMNID_ARGUMENT, "retention %.40s: want at most five numbers", spec);
    }
    if (n < 4)
        return omnid_fail(err, OMNID_ARGUMENT,
                          "retention %.40s: want p_init,p_final,t_mid,tds_start[,lambda], found %d numbers", spec, n);
    if (v[0] < 0 || v[0] > 1 || v[1] < 0 || v[1] > 1)
        return omnid_fail(err, OMNID_ARGUMENT, "retention %.40s: want p_init and p_final of 0 .. 1", spec);
    if (p->exponential && v[0] <= 0)
        return omnid_fail(err, OMNID_ARGUMENT, "retention %.40s: an exponential schedule wants p_init above 0", spec);
    if (fabs(v[2]) > 1000 || v[3] != floor(v[3]) || v[3] < 0 || v[3] >= p->n_layers || v[4] < 0 || v[4] > 1e6)
        return omnid_fail(err, OMNID_ARGUMENT, "retention %.40s: want tds_start a layer of 0 .. %d, lambda of 0 .. 1e6",
                          spec, p->n_layers - 1);
    p->p_init = v[0];
    p->p_final = v[1];
    p->t_mid = v[2];
    p->tds_start = (int)v[3];
    p->lambda = v[4];
    return OMNID_OK;
}

omnid_status retention_parse(retention_plan *out, const char *spec, int n_layers, const retention_named *named,
                             int n_named, const retention_window *window, omnid_error *err)
{
    spec = spec ? spec : "30";
    *out = (retention_plan){.intra = true, .prune = true, .beta = BETA, .lambda = LAMBDA, .n_layers = n_layers};
    if (n_layers < 3)
        return omnid_fail(err, OMNID_ARGUMENT, "retention: want a model of at least 3 layers, found %d", n_layers);
    if (strlen(spec) >= sizeof out->name)
        return omnid_fail(err, OMNID_ARGUMENT, "retention: want at most %zu characters, found %zu",
                          sizeof out->name - 1, strlen(spec));
    memcpy(out->name, spec, strlen(spec) + 1);
    out->tds_start = default_tds_start(n_layers);
    if (strcmp(spec, "none") == 0) {
        out->intra = out->prune = false;
        return OMNID_OK;
    }
    const retention_named *own = find_named(named, n_named, spec);
    if (own) {
        out->p_init = own->p_init;
        out->p_final = own->p_final;
        out->t_mid = own->t_mid;
        out->tds_start = own->tds_start;
        return OMNID_OK;
    }
    out->exponential = strncmp(spec, "exp:", 4) == 0;
    if (strchr(spec, ',') || out->exponential)
        return use_explicit(out, spec, err);
    double percent;
    if (!parse_percent(spec, &percent))
        return omnid_fail(err, OMNID_ARGUMENT,
                          "retention: want none, a share or percentage between 0 and 100, or "
                          "p_init,p_final,t_mid,tds_start[,lambda], "
                          "found \"%.40s\"",
                          spec);
    if (same(percent, 30) || same(percent, 20))
        use_default(out, same(percent, 20));
    else if (same(percent, 45))
        out->prune = false;
    else
        return solve(out, percent / 100.0, window, err);
    return OMNID_OK;
}
