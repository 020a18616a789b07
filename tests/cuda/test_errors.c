/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_errors.c - what CUDA can answer, as lines that a user reads: no driver, an old one, a GPU that is too old,
 * missing, lost or full. Needs no GPU: the errors are made up (tests/e2e/device_test.lua has the rest, with a made-up
 * driver).
 */
#include "cuda_test.h"

/* The error's line has `line` in it and its hint `hint`; both are one line. */
static void says(kvb_status status, kvb_status wanted, const char *line, const char *hint) {
    check(status == wanted, "'%s': status %d, expected %d", line, status, wanted);
    check(strstr(kvb_diag_message(), line) != NULL, "'%s' has '%s'", kvb_diag_message(), line);
    check(strncmp(kvb_diag_hint(), "-> ", 3) == 0 && strstr(kvb_diag_hint(), hint), "'%s' has '%s'", kvb_diag_hint(),
          hint);
    check(!strchr(kvb_diag_message(), '\n') && !strchr(kvb_diag_hint(), '\n'), "one line each");
    kvb_diag_clear();
}

int main(void) {
    quiet = 1;
    says(kvb_cuda_check(cudaErrorMemoryAllocation, "an allocation of 5 bytes"), KVB_E_MEMORY,
         "out of memory: an allocation of 5 bytes failed on the GPU (", "fewer passages");
    says(kvb_cuda_check(cudaErrorNoDevice, "x"), KVB_E_UNSUPPORTED, "cuda: ", "--device cpu");
    says(kvb_cuda_check(cudaErrorInsufficientDriver, "x"), KVB_E_UNSUPPORTED, "cuda: ", "--device cpu");
    says(kvb_cuda_check(cudaErrorSystemDriverMismatch, "x"), KVB_E_UNSUPPORTED, "cuda: ", "--device cpu");
    says(kvb_cuda_check(cudaErrorNoKernelImageForDevice, "attention"), KVB_E_UNSUPPORTED,
         "attention has no code for this GPU (compute capability", "-DKVB_CUDA_ARCHS");
    static const cudaError_t lost[] = {cudaErrorECCUncorrectable, cudaErrorNvlinkUncorrectable, cudaErrorContained,
                                       cudaErrorUnknown, cudaErrorDevicesUnavailable};
    for (int i = 0; i < 5; i++)
        says(kvb_cuda_check(lost[i], "cudaEventSynchronize"), KVB_E_INTERNAL,
             "cuda:0 is lost or taken: cudaEventSynchronize failed: ", "stored answers are kept");
    says(kvb_cuda_check(cudaErrorIllegalAddress, "attention"), KVB_E_INTERNAL, "attention failed: ",
         getenv("KVB_SYNC") ? "report it" : "KVB_SYNC=1");
    check(kvb_cuda_check(cudaSuccess, "x") == KVB_OK, "success is no error");

    says(kvb_cuda_suits(1, "Tesla T4", 7, 5), KVB_E_UNSUPPORTED,
         "cuda:1 is a Tesla T4 with compute capability 7.5, 8.0 or newer is needed", "--device cpu");
    check(kvb_cuda_suits(0, "A100", 8, 0) == KVB_OK && kvb_cuda_suits(0, "H100", 9, 0) == KVB_OK, "newer ones suit");
    says(kvb_cuda_exists(9, 1), KVB_E_ARG, "cuda:9 does not exist: this machine has 1 GPU", "-> use cuda:0, or cpu");
    says(kvb_cuda_exists(9, 4), KVB_E_ARG, "cuda:9 does not exist: this machine has 4 GPUs", "cuda:0 and up");
    says(kvb_cuda_exists(-1, 4), KVB_E_ARG, "cuda:-1 does not exist", "cuda:0 and up");
    check(kvb_cuda_exists(3, 4) == KVB_OK, "cuda:3 of four exists");
    return closing_line();
}
