/* keep.cu     kept = all of 0 .. n - 1 but the k with the lowest score; ties: the earlier leaves first     score: F32 [n]
 * A NaN counts as higher than every number. One block. */
#include "kernels/cuda/rank.cuh"

static __global__ void __launch_bounds__(RANK_MANY) keep_kernel(int32_t *kept, const float *score, int n, int k)
{
    cuda_carve shared;
    rank_room *room = shared.take<rank_room>(1);
    auto value_of = [&](int i, uint32_t *value) {
        *value = rank_order(score[i]);
        return true;
    };
    rank_part part = rank_read(n, 0, value_of);
    rank_cut cut = {0, 0};
    if (k > 0)
        cut = rank_find(room, &part, n, k, value_of);
    rank_walk(room, &part, n, cut, value_of, [&](const rank_part &at, unsigned leaves, int number) {
        for (int j = 0; j < at.n; j++)
            if (!(leaves >> j & 1))
                kept[number++] = at.first + j;
    });
}

void cuda_keep(kernels_stream *s, tensor *kept, const tensor *score, int64_t k)
{
    if (!cuda_begin(s) || !check_keep(s, kept, score, k) || cuda_nothing(kept))
        return;
    cuda_launch(s, "keep", keep_kernel, 1, rank_threads(score->dim[0]), cuda_shared<rank_room>(1),
                cuda_data<int32_t>(kept), cuda_data<float>(score), (int)score->dim[0], (int)k);
}
