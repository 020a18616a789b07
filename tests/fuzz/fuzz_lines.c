/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_lines.c - any bytes as a file of JSON lines, plain or zstd: read line by line with several limits, each line
 * parsed; refused with one line, and nothing kept.
 */
#include "internal.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

static void expect(int ok) {
    if (!ok) abort();
}

static void read_all(const char *path, int64_t longest) {
    kvb_lines *l = NULL;
    const char *line;
    int64_t n, lines = 0;
    kvb_diag_clear();
    kvb_status status = kvb_lines_open(path, longest, &l);
    while (status == KVB_OK && (status = kvb_lines_next(l, &line, &n)) == KVB_OK && line) {
        int64_t there = n < longest ? n : longest;
        expect(n >= 0 && line[there] == 0 && kvb_lines_number(l) == ++lines);
        kvb_json *value = NULL;
        if (kvb_json_parse(line, there, "line", &value) != KVB_OK) expect(!value && !strchr(kvb_diag_message(), '\n'));
        kvb_json_free(value);
    }
    if (status != KVB_OK) expect(kvb_diag_code() == status && *kvb_diag_message() && !strchr(kvb_diag_message(), '\n'));
    kvb_lines_close(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes) {
    char path[64];
    snprintf(path, sizeof path, "/dev/shm/kvb-fuzz-%d", (int)getpid());
    FILE *f = fopen(path, "wb");
    if (!f) return 0;
    expect(fwrite(data, 1, bytes, f) == bytes && fclose(f) == 0);
    int64_t before = kvb_memory_bytes(KVB_MEM_ALL);
    read_all(path, 1 << 20);
    read_all(path, 7);
    unlink(path);
    expect(kvb_memory_bytes(KVB_MEM_ALL) == before);
    return 0;
}
