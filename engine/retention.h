/* retention.h: how many audio and video tokens leave after each layer (docs/semantics.md, section 5). */
#ifndef ENGINE_RETENTION_H
#define ENGINE_RETENTION_H

#include "base/base.h"

/* A schedule a model folder names in omnid.json ("30": [p_init, p_final, t_mid, tds_start]). */
typedef struct {
    char name[16];
    double p_init, p_final, t_mid;
    int tds_start;
} retention_named;

/* What a full window holds, for a retention that has to be solved for. */
typedef struct {
    int n_segments;
    int video_tokens, audio_tokens; /* of one full segment, before section 4; video: two grids */
    double rho_v, rho_a;
} retention_window;

/* 32 segments of 336 x 336 with sound, ρ_v 0.8, ρ_a 0.3. */
retention_window retention_window_default(void);
/* n_0 of it: tokens left by section 4, grids in groups of four from the window's start. */
int64_t retention_window_kept(const retention_window *w);

typedef struct {
    char name[48];    /* as asked for: "30", "none", "0.35", "0.05,0.6,0.4,2" */
    bool intra;       /* section 4 runs at ingest; false only for "none" */
    bool prune;       /* section 5 runs; false: k_l = 0 everywhere */
    bool exponential; /* p_init (p_final / p_init)^(l / (L - 2)) instead of the sigmoid */
    double p_init, p_final, t_mid, beta, lambda;
    int tds_start; /* first layer with the temporal diversity term; also evidence's first layer */
    int n_layers;
} retention_plan;

/* spec: "none"; a name of the model's schedules; "30" or "20"; "45" (section 4 only); another share ("0.35") or
 * percentage ("35", "35%": numbers of 1 and more are percentages); "p_init,p_final,t_mid,tds_start[,lambda]", and the same
 * after "exp:" for the exponential schedule (t_mid is not used). NULL = "30".
 * n_layers >= 3. ARGUMENT: not one of these, or a share no schedule reaches (the nearest is named). */
omnid_status retention_parse(retention_plan *out, const char *spec, int n_layers, const retention_named *named,
                             int n_named, const retention_window *window, omnid_error *err);

/* p_l in float64; 0 for the last layer and where nothing is pruned. */
double retention_p(const retention_plan *p, int layer);

/* n[l] = tokens that enter layer l, k[l] of them leave after it, l = 0 .. n_layers - 1, from n_0 tokens.
 * first_prune: k_l = 0 below it. n, k: [n_layers]; k may be NULL. */
void retention_counts(const retention_plan *p, int64_t n_0, int first_prune, int64_t *n, int64_t *k);

#endif
