/* plan.h: what the engine is to run, as the configuration says it: for opening the model, for making the timelines, and for
 * saying before either what memory that takes. */
#ifndef OMNID_DAEMON_PLAN_H
#define OMNID_DAEMON_PLAN_H

#include "daemon/settings.h"

typedef struct {
    omnid_model_params model; /* points to the two below */
    omnid_engine_params engine;
    omnid_timeline_params *timelines; /* [n_cameras] with picture and sound as far as configured */
} plan;

/* FORMAT: modes. The settings stay the caller's and have to outlive *out, which plan_clear frees. */
omnid_status plan_make(plan *out, const settings *s, omnid_error *err);
void plan_clear(plan *p);
/* One camera's timeline. */
omnid_status plan_timeline(omnid_timeline_params *out, const options_camera *c, const options_daemon *o,
                           omnid_error *err);

#endif
