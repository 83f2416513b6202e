/* schedule.h: which slice runs next: first tokens, then ingest and decode steps in shares. */
#ifndef ENGINE_SCHEDULE_H
#define ENGINE_SCHEDULE_H

#include "engine/engine.h"

/* Whether a slice could run; under the lock. */
bool schedule_has_work(const omnid_engine *e);
/* New questions, cancellations and forgets reach the engine's thread. */
void schedule_take_new(omnid_engine *e);
/* Ends every open answer of a timeline (NULL = all) with a status and a sentence. */
void schedule_end_all(omnid_engine *e, const omnid_timeline *tl, omnid_status status, const char *sentence);
/* Keeps the memory of an answer that has been told, or was never queued, for the next one. Any thread. */
void schedule_keep_answer(omnid_engine *e, answer *a);
/* Gives up the segments of a timeline that are on their way. */
void schedule_abandon(omnid_engine *e, const omnid_timeline *tl);
/* AGAIN when there was nothing to do. */
omnid_status schedule_run_slice(omnid_engine *e, omnid_error *err);
/* Numbers other threads may read. */
void schedule_publish(omnid_engine *e);

#endif
