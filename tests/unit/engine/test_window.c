/* test_window.c: a window that never saw the segments that left equals a fresh clip, however far the stream has come. */
#include "world.h"

#include <math.h>
#include <stdio.h>

typedef struct {
    const char *backend;
    omnid_mode mode;
} variant;

static const variant variants[] = {{"auto", OMNID_MODE_EAGER},
                                   {"auto", OMNID_MODE_DEFERRED},
                                   {"auto", OMNID_MODE_OFFLINE},
                                   {"reference", OMNID_MODE_EAGER},
                                   {"reference", OMNID_MODE_DEFERRED}};

/* The answer over five segments of which the first has number `first`; sound and picture by parts. */
static const world_answer *answer_at(world *w, omnid_mode mode, int64_t first, const int *parts)
{
    omnid_timeline_params tp = omnid_timeline_params_default();
    omnid_question_params q = omnid_question_params_default();
    tp.modes = mode;
    tp.first_segment = first;
    world_timeline(w, &tp);
    for (int s = 0; s < 5; s++)
        world_feed(w, w->timeline, 3, s, first + s, parts[s]);
    q.question = "What moves, and what do you hear?";
    q.max_tokens = 6;
    omnid_segment *now = world_segment(w, w->timeline, 3, 5, first + 5, 3);
    return world_ask(w, w->timeline, &q, &now);
}

static void far_equals_fresh(void **state)
{
    static const int64_t places[] = {1, 7, 32, 10000000};
    static const int whole[5] = {3, 3, 3, 3, 3}, gaps[5] = {3, 1, 0, 2, 3};
    (void)state;
    for (size_t v = 0; v < sizeof variants / sizeof *variants; v++) {
        world w;
        world_open(&w, "M1", variants[v].backend, NULL);
        for (int g = 0; g < 2; g++) {
            const world_answer *fresh = answer_at(&w, variants[v].mode, 0, g ? gaps : whole);
            for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
                const world_answer *far = answer_at(&w, variants[v].mode, places[i], g ? gaps : whole);
                double distance = world_distance(&w, fresh, far);
                if (!(distance < 1e-4))
                    fail_msg("%s %s at segment %lld: logits move by %g", variants[v].backend,
                             omnid_mode_name(variants[v].mode), (long long)places[i], distance);
                world_same_survivors(fresh, far);
                assert_int_equal(far->first_segment - fresh->first_segment, places[i]);
            }
        }
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(far_equals_fresh)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
