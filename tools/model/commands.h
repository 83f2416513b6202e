/* commands.h: what omnid-model does. */
#ifndef OMNID_MODEL_COMMANDS_H
#define OMNID_MODEL_COMMANDS_H

#include "engine/omnid.h"
#include "tools/model/tool.h"

typedef struct {
    const char *name; /* as typed: qwen2.5-omni-3b, ORG/NAME, each with @REVISION */
    bool yes;         /* do not ask */
    int n_retries;
    double retry_delay_s;
    int stall_s;
} fetch_options;
model_exit fetch_run(const fetch_options *o, omnid_error *err);

typedef struct {
    const char *model; /* folder or name */
    bool hashes;       /* hash every file that was fetched */
    omnid_model_params params;
} check_options;
model_exit check_run(const check_options *o, omnid_error *err);
/* The plan is to be for one camera of a default window, too. *p points to constant memory afterwards. */
void check_plan_camera(omnid_model_params *p);
/* The lines about memory of a report, each after `indent` spaces, and whether it fits: MODEL_OK or MODEL_NO. */
model_exit check_print_memory(const omnid_model_report *r, bool chosen, int indent);

model_exit list_run(omnid_error *err);

#endif
