/* SPDX-License-Identifier: Apache-2.0 */
/*
 * driver.c - main() for the fuzz targets: each file of a corpus as it is, then deterministic mutations of it.
 *
 *   fuzz_x [--mutations N] [--seconds S] [--seed N] [--only K] [--dump FILE] FILE-or-FOLDER...
 *
 * Mutation K of a file depends only on the file's bytes, the seed and K, so that a failure named by its K can be
 * repeated with --only K (and written out with --dump). A crash or an input that takes longer than 10 s is reported
 * with its K and ends the run as a failure. Rejected: libFuzzer (needs clang; a test that must run on any machine
 * should not explore at random; the targets have its entry point and can be linked to it).
 */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);
void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

enum { INPUT_SECONDS = 10, MAX_FILES = 4096 };

static struct {
    char *paths[MAX_FILES];
    int n_paths;
    long mutations, only;
    double seconds;
    uint64_t seed;
    const char *dump;
} opt = {.mutations = 300, .only = -1, .seconds = 20, .seed = 1};

static volatile long passed, current;
static const char *volatile current_path = "";

/* ---- reporting what ended the process; only async-signal-safe calls ------------------------------------------ */

static void put(const char *s) {
    if (write(STDOUT_FILENO, s, strlen(s)) < 0) _exit(3);
}

static void put_number(long n) {
    char digits[24], *p = digits + sizeof digits - 1;
    *p = 0;
    do *--p = (char)('0' + n % 10);
    while (n /= 10);
    put(p);
}

static void report_death(const char *what) {
    put("FAIL ");
    put(current_path);
    put(": ");
    put(what);
    put(" at mutation ");
    put_number(current);
    put(" (repeat with --only ");
    put_number(current);
    put(")\n");
    put_number(passed);
    put(" passed, 1 failed\n");
}

static void on_sanitizer(void) { report_death("sanitizer error"); }

static void on_signal(int number) {
    report_death(number == SIGALRM ? "took more than 10 s" : "crashed");
    _exit(1);
}

/* ---- mutating ------------------------------------------------------------------------------------------------ */

static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static uint64_t random_state;
static uint64_t next_random(void) { return random_state = mix(random_state); }
static size_t below(size_t n) { return n ? (size_t)(next_random() % n) : 0; }

typedef struct input {
    uint8_t *data;
    size_t n, room;
} input;

static void flip_bits(input *in) {
    for (size_t k = 1 + below(8); k && in->n; k--) in->data[below(in->n)] ^= (uint8_t)(1u << below(8));
}

static void truncate_input(input *in) { in->n = below(in->n + 1); }

/* A number that breaks size arithmetic, written over the file as binary. */
static void write_number(input *in) {
    static const uint64_t numbers[] = {0,
                                       1,
                                       0x7f,
                                       0xff,
                                       0x7fff,
                                       0xffff,
                                       0x7fffffff,
                                       0x80000000,
                                       0xffffffff,
                                       1ull << 40,
                                       1ull << 62,
                                       0x7fffffffffffffff,
                                       0x8000000000000000,
                                       0xffffffffffffffff};
    uint64_t number = numbers[below(sizeof numbers / sizeof *numbers)];
    size_t width = (size_t)1 << below(4);
    if (in->n < width) return;
    memcpy(in->data + below(in->n - width + 1), &number, width);
}

static void insert(input *in, size_t at, const void *bytes, size_t n) {
    if (n > in->room - in->n) n = in->room - in->n;
    memmove(in->data + at + n, in->data + at, in->n - at);
    memcpy(in->data + at, bytes, n);
    in->n += n;
}

/* Pieces that mean something in the text formats read here. */
static void insert_text(input *in) {
    static const char *const texts[] = {"0",
                                        "-1",
                                        "1099511627776",
                                        "9223372036854775808",
                                        "1e309",
                                        "null",
                                        "true",
                                        "[]",
                                        "{}",
                                        "\"\"",
                                        ",",
                                        ":",
                                        "\"",
                                        "[[[[[[[[",
                                        "}",
                                        "\\u0000",
                                        "\\ud800",
                                        "\xff",
                                        "\xc0\x80",
                                        " "};
    const char *text = texts[below(sizeof texts / sizeof *texts)];
    insert(in, below(in->n + 1), text, strlen(text));
}

/* Replaces the digits at some place by others: ids and counts in JSON. */
static void change_digits(input *in) {
    size_t start = below(in->n);
    for (size_t i = 0; i < in->n; i++) {
        size_t at = (start + i) % in->n;
        if (in->data[at] < '0' || in->data[at] > '9') continue;
        in->data[at] = (uint8_t)('0' + below(10));
        return;
    }
}

static void copy_block(input *in) {
    if (in->n < 2) return;
    uint8_t block[256];
    size_t n = 1 + below(in->n < sizeof block ? in->n : sizeof block), from = below(in->n - n + 1),
           to = below(in->n - n + 1);
    memcpy(block, in->data + from, n);
    if (next_random() & 1)
        memcpy(in->data + to, block, n);
    else
        insert(in, to, block, n);
}

static void remove_block(input *in) {
    if (!in->n) return;
    size_t n = 1 + below(in->n < 256 ? in->n : 256), from = below(in->n - n + 1);
    memmove(in->data + from, in->data + from + n, in->n - from - n);
    in->n -= n;
}

static void splice(input *in, const input *other) {
    if (!other->n) return;
    size_t from = below(other->n), n = other->n - from, at = below(in->n + 1);
    if (n > in->room - at) n = in->room - at;
    memcpy(in->data + at, other->data + from, n);
    in->n = at + n;
}

static void mutate(input *in, const input *other) {
    for (size_t k = 1 + below(4); k; k--) {
        switch (below(8)) {
        case 0:
            flip_bits(in);
            break;
        case 1:
            if (below(4) == 0) truncate_input(in);
            break;
        case 2:
            write_number(in);
            break;
        case 3:
            insert_text(in);
            break;
        case 4:
            change_digits(in);
            break;
        case 5:
            copy_block(in);
            break;
        case 6:
            remove_block(in);
            break;
        default:
            if (below(4) == 0) splice(in, other);
            break;
        }
    }
}

/* ---- running ------------------------------------------------------------------------------------------------- */

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int read_file(const char *path, input *out) {
    FILE *f = fopen(path, "rb");
    if (!f) return 0;
    fseek(f, 0, SEEK_END);
    long bytes = ftell(f);
    rewind(f);
    out->n = bytes > 0 ? (size_t)bytes : 0;
    out->room = out->n;
    out->data = malloc(out->n + 1);
    int ok = out->data && fread(out->data, 1, out->n, f) == out->n;
    fclose(f);
    return ok;
}

static void write_dump(const input *in) {
    FILE *f = fopen(opt.dump, "wb");
    if (!f || fwrite(in->data, 1, in->n, f) != in->n) fprintf(stderr, "cannot write '%s'\n", opt.dump);
    if (f) fclose(f);
}

/* A block of exactly the input's size, so that a sanitizer sees a read one byte too far. */
static int run_one(const input *in) {
    uint8_t *exact = malloc(in->n ? in->n : 1);
    if (!exact) return 1;
    memcpy(exact, in->data, in->n);
    alarm(INPUT_SECONDS);
    int result = LLVMFuzzerTestOneInput(exact, in->n);
    alarm(0);
    free(exact);
    return result;
}

static long run_file(const char *path, const input *file, const input *other, double until) {
    long failed = 0;
    input work = {.room = file->n + other->n + 4096};
    work.data = malloc(work.room);
    if (!work.data) return 1;
    current_path = path;
    for (long k = opt.only >= 0 ? opt.only : 0; k <= opt.mutations || opt.only >= 0; k++) {
        if (k > 0 && opt.only < 0 && now() > until) break;
        memcpy(work.data, file->data, file->n);
        work.n = file->n;
        random_state = mix(opt.seed ^ mix((uint64_t)k) ^ file->n);
        if (k > 0) mutate(&work, other);
        current = k;
        if (opt.dump) write_dump(&work);
        if (run_one(&work) == 0)
            passed++;
        else {
            failed++;
            printf("FAIL %s: mutation %ld was refused by the target\n", path, k);
        }
        if (opt.only >= 0) break;
    }
    free(work.data);
    return failed;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static void add_path(const char *path) {
    struct stat info;
    DIR *dir = stat(path, &info) == 0 && S_ISDIR(info.st_mode) ? opendir(path) : NULL;
    if (!dir) {
        if (opt.n_paths < MAX_FILES) opt.paths[opt.n_paths++] = strdup(path);
        return;
    }
    int first = opt.n_paths;
    for (struct dirent *entry; (entry = readdir(dir));) {
        char name[4096];
        if (entry->d_name[0] == '.' || opt.n_paths == MAX_FILES) continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (stat(name, &info) == 0 && S_ISREG(info.st_mode)) opt.paths[opt.n_paths++] = strdup(name);
    }
    closedir(dir);
    qsort(opt.paths + first, (size_t)(opt.n_paths - first), sizeof *opt.paths, by_name);
}

static int parse_arguments(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (strncmp(argv[i], "--", 2) != 0) {
            add_path(argv[i]);
            continue;
        }
        if (!value) return fprintf(stderr, "%s needs a value\n", argv[i]), 0;
        if (strcmp(argv[i], "--mutations") == 0)
            opt.mutations = atol(value);
        else if (strcmp(argv[i], "--seconds") == 0)
            opt.seconds = atof(value);
        else if (strcmp(argv[i], "--seed") == 0)
            opt.seed = strtoull(value, NULL, 10);
        else if (strcmp(argv[i], "--only") == 0)
            opt.only = atol(value);
        else if (strcmp(argv[i], "--dump") == 0)
            opt.dump = value;
        else
            return fprintf(stderr, "unknown option %s\n", argv[i]), 0;
        i++;
    }
    if (!opt.n_paths) fprintf(stderr, "no corpus -> name files or folders\n");
    return opt.n_paths > 0;
}

int main(int argc, char **argv) {
    if (!parse_arguments(argc, argv)) return 2;
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(on_sanitizer);
    else
        for (int i = 0; i < 5; i++) signal((int[]){SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}[i], on_signal);
    signal(SIGALRM, on_signal);
    input files[2] = {{0}, {0}}; /* the file and the one before it, which is spliced in */
    long failed = 0;
    double begin = now();
    for (int i = 0; i < opt.n_paths; i++) {
        free(files[1].data);
        files[1] = files[0];
        files[0] = (input){0};
        if (!read_file(opt.paths[i], &files[0])) {
            printf("FAIL %s: cannot be read\n", opt.paths[i]);
            failed++;
            continue;
        }
        /* the time is shared out evenly, so that the last files get theirs */
        failed += run_file(opt.paths[i], &files[0], &files[1], begin + opt.seconds * (i + 1) / opt.n_paths);
    }
    free(files[0].data);
    free(files[1].data);
    for (int i = 0; i < opt.n_paths; i++) free(opt.paths[i]);
    printf("%ld passed, %ld failed\n", passed, failed);
    return failed ? 1 : 0;
}
