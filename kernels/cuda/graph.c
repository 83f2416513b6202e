/* graph.c: paths as CUDA graphs. A path is run plainly the first time, so that products choose their algorithms, scratch memory
 * grows and kernels are loaded; recorded and launched the second time; launched from then on.
 *
 * What a graph has baked in beside what the path's hash stands for belongs to the stream and lives as long: scratch memory,
 * also what it was before it grew, cuBLASLt's work space, the faults. */
#include <stdlib.h>

#include "kernels/cuda/cuda.h"

enum { MAX_GRAPHS = 32 };

typedef enum { GRAPH_NEW, GRAPH_RUN_ONCE, GRAPH_RECORDED, GRAPH_REFUSED } graph_state;

typedef struct {
    uint64_t path;
    graph_state state;
    cudaGraphExec_t exec; /* RECORDED */
    uint64_t used;        /* when, in calls; 0 = the entry is free */
} graph;

struct cuda_graphs {
    graph all[MAX_GRAPHS];
    uint64_t calls;
    graph *now;     /* between begin and end; NULL: the path is not known */
    bool recording; /* between begin and end */
};

omnid_status cuda_graphs_open(cuda_stream *s, omnid_error *err)
{
    s->graphs = calloc(1, sizeof *s->graphs);
    return s->graphs ? OMNID_OK : omnid_fail(err, OMNID_NOMEM, "cuda backend: no memory for a table of graphs");
}

static void graph_forget(graph *g)
{
    if (g->state == GRAPH_RECORDED)
        cudaGraphExecDestroy(g->exec); /* what is under way ends first */
    *g = (graph){0};
}

void cuda_graphs_close(cuda_stream *s)
{
    for (int i = 0; s->graphs && i < MAX_GRAPHS; i++)
        graph_forget(&s->graphs->all[i]);
    free(s->graphs);
    s->graphs = NULL;
}

/* The entry of a path; NULL: there is none. */
static graph *graph_find(cuda_graphs *t, uint64_t path)
{
    for (int i = 0; i < MAX_GRAPHS; i++)
        if (t->all[i].used && t->all[i].path == path) {
            t->all[i].used = ++t->calls;
            return &t->all[i];
        }
    return NULL;
}

/* An entry for a new path: a free one, or the one that has not been used for longest. */
static graph *graph_add(cuda_graphs *t, uint64_t path)
{
    graph *oldest = &t->all[0];
    for (int i = 1; i < MAX_GRAPHS; i++)
        if (t->all[i].used < oldest->used)
            oldest = &t->all[i];
    graph_forget(oldest);
    *oldest = (graph){.path = path, .used = ++t->calls};
    return oldest;
}

bool cuda_replay(kernels_stream *s, uint64_t path)
{
    cuda_stream *stream = cuda_of(s);
    graph *g = cuda_begin(s) ? graph_find(stream->graphs, path) : NULL;
    if (!g || g->state != GRAPH_RECORDED)
        return false;
    if (cudaGraphLaunch(g->exec, stream->stream) == cudaSuccess)
        return true;
    cudaGetLastError(); /* running it plainly will tell, if the device is lost */
    graph_forget(g);
    return false;
}

void cuda_begin_capture(kernels_stream *s, uint64_t path)
{
    cuda_stream *stream = cuda_of(s);
    cuda_graphs *t = stream->graphs;
    t->now = NULL;
    t->recording = false;
    if (!cuda_begin(s))
        return;
    t->now = graph_find(t, path);
    if (!t->now)
        t->now = graph_add(t, path);
    if (t->now->state != GRAPH_RUN_ONCE)
        return;
    t->recording = cudaStreamBeginCapture(stream->stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess;
    if (!t->recording) {
        cudaGetLastError();
        t->now->state = GRAPH_REFUSED;
    }
}

/* Ends the recording: what has been recorded, launched. */
static cudaError_t graph_finish(cuda_stream *s, graph *g)
{
    cudaGraph_t recorded = NULL;
    cudaError_t error = cudaStreamEndCapture(s->stream, &recorded);
    if (error == cudaSuccess && s->base.error.status == OMNID_OK)
        error = cudaGraphInstantiate(&g->exec, recorded, 0);
    else if (error == cudaSuccess)
        error = cudaErrorStreamCaptureInvalidated;
    if (recorded)
        cudaGraphDestroy(recorded);
    if (error != cudaSuccess)
        return error;
    error = cudaGraphLaunch(g->exec, s->stream);
    if (error == cudaSuccess)
        g->state = GRAPH_RECORDED;
    else
        cudaGraphExecDestroy(g->exec);
    return error;
}

bool cuda_end_capture(kernels_stream *s, omnid_error *why)
{
    cuda_stream *stream = cuda_of(s);
    cuda_graphs *t = stream->graphs;
    graph *g = t->now;
    t->now = NULL;
    if (!g || !t->recording) {
        if (g && g->state == GRAPH_NEW && s->error.status == OMNID_OK)
            g->state = GRAPH_RUN_ONCE;
        return true;
    }
    t->recording = false;
    const omnid_status failed = s->error.status;
    cudaError_t error = graph_finish(stream, g);
    if (error == cudaSuccess)
        return true;
    if (failed != OMNID_OK && failed != OMNID_UNSUPPORTED) { /* work before it: the stream's failure, not the path's */
        g->state = GRAPH_RUN_ONCE;
        cudaGetLastError();
        return true;
    }
    g->state = GRAPH_REFUSED;
    if (kernels_stream_status(s, why) == OMNID_OK) /* else: the op that could not be recorded has said why */
        cuda_failed(why, error, "recording a graph");
    cudaGetLastError();
    return false;
}

bool cuda_recording(const cuda_stream *s)
{
    return s->graphs && s->graphs->recording;
}
