/* memory_plan.h: what an engine with its timelines will hold at most, by kind, before any of it is allocated. */
#ifndef ENGINE_MEMORY_PLAN_H
#define ENGINE_MEMORY_PLAN_H

#include "engine/model.h"

/* Bytes of one timeline: prefix, a full window and what open questions keep of it, in all its modes. */
uint64_t memory_plan_kv(const omnid_model *m, const omnid_timeline_params *t);
/* Bytes of work space: encoders, decoder, segments and questions under way, what the backend's streams take. */
uint64_t memory_plan_work(const omnid_model *m, const kernels_memory *device, const omnid_engine_params *p,
                          const omnid_timeline_params *timelines, int n_timelines);

#endif
