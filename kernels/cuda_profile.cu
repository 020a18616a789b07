/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cuda_profile.cu - events between the groups of a step's launches, added up when somebody reads.
 *
 * One process profiles one device at a time; events are recycled after each reading. Rejected: CUPTI (a library more,
 * and nothing to say about groups that are ours).
 */
#include "cuda_profile.h"
#include <vector>

struct mark {
    cudaEvent_t at;
    int part;
};

static bool active;
static std::vector<mark> marks;
static std::vector<cudaEvent_t> idle;
static double total[KVB_PARTS];

/* Adds the spans between marks to their parts and gives the events back. */
static kvb_status settle(void) {
    KVB_TRY(kvb_cuda_wait("profiling"));
    for (size_t i = 0; i < marks.size(); i++) {
        float milliseconds = 0;
        if (i > 0 && marks[i].part != KVB_PART_ALL) {
            KVB_CUDA_TRY(cudaEventElapsedTime(&milliseconds, marks[i - 1].at, marks[i].at));
            total[marks[i].part] += milliseconds / 1e3;
            total[KVB_PART_ALL] += milliseconds / 1e3;
        }
        idle.push_back(marks[i].at);
    }
    marks.clear();
    return KVB_OK;
}

kvb_status kvb_cuda_profile_set(kvb_model *, bool on) {
    KVB_TRY(settle());
    active = on;
    for (double &t : total) t = 0;
    return KVB_OK;
}

kvb_status kvb_cuda_profile_read(kvb_model *, double *seconds) {
    KVB_TRY(settle());
    for (int i = 0; i < KVB_PARTS; i++) seconds[i] = total[i], total[i] = 0;
    return KVB_OK;
}

kvb_status kvb_cuda_profile_mark(int part) {
    if (!active) return KVB_OK;
    if (marks.size() > 20000) KVB_TRY(settle());
    mark m = {NULL, part};
    if (idle.empty())
        KVB_CUDA_TRY(cudaEventCreate(&m.at));
    else {
        m.at = idle.back();
        idle.pop_back();
    }
    KVB_CUDA_TRY(cudaEventRecord(m.at, kvb_cuda_stream()));
    marks.push_back(m);
    return KVB_OK;
}
